"""The official Python client against a node: `client.py URL`. Raises at the first thing that is not as it should be."""

import re
import sys

import httpx
from postgrest import APIError, CountMethod, SyncPostgrestClient

# What the cache said about each answer, which the client does not show.
told = []
hooks = {"response": [lambda answer: told.append(answer.headers.get("cache-status"))]}
url = f"{sys.argv[1]}/rest/v1"
http = httpx.Client(base_url=url, event_hooks=hooks)
client = SyncPostgrestClient(url, schema="shop", http_client=http)


def read(question):
    """Asks three times; the answers are the same, and the last one is a hit."""
    answers = [question().execute() for _ in range(3)]
    for answer in answers[1:]:
        assert_equal((answer.data, answer.count), (answers[0].data, answers[0].count))
    assert re.fullmatch(r"transom; hit; detail=l1; ttl=\d+", told[-1]), told[-1]
    return answers[0]


def assert_equal(left, right):
    assert left == right, f"{left!r} is not {right!r}"


def refused(question, code):
    try:
        answer = question.execute()
    except APIError as error:
        assert_equal(error.code, code)
        return error
    raise AssertionError(f"{answer!r} is no error")


# Filters, order, limits.
def things(columns="id"):
    return client.from_("things").select(columns)


assert_equal(read(lambda: things("id, name").eq("id", 1)).data, [{"id": 1, "name": "one"}])
answer = read(lambda: things().gt("id", 1).lte("id", 4).neq("id", 3).order("id", desc=True))
assert_equal(answer.data, [{"id": 4}, {"id": 2}])
assert_equal(read(lambda: things().in_("id", [1, 2, 5]).like("name", "%o%").order("id")).data, [{"id": 1}, {"id": 2}])
assert_equal(read(lambda: things().is_("name", "null")).data, [{"id": 4}])
assert_equal(read(lambda: things().or_("id.eq.1,and(id.gt.4,yes.is.true)").order("id")).data, [{"id": 1}, {"id": 5}])
assert_equal(read(lambda: things().contains("ints", [1, 2])).data, [{"id": 1}])
assert_equal(read(lambda: things().not_.is_("uid", "null").order("id")).data, [{"id": 1}, {"id": 2}, {"id": 5}])
assert_equal(read(lambda: things().match({"id": 1, "name": "one"})).data, [{"id": 1}])

# Counts, ranges, singular answers.
answer = read(lambda: client.from_("things").select("id", count=CountMethod.exact).order("id").range(1, 2))
assert_equal((answer.data, answer.count), ([{"id": 2}, {"id": 3}], 5))
assert_equal(read(lambda: client.from_("clients").select("name").eq("id", 1).single()).data, {"name": "Acme"})

# Related resources.
answer = read(
    lambda: client.from_("projects")
    .select("name, owner:clients!client_id(name), tasks(title)")
    .eq("id", 1)
    .order("id", foreign_table="tasks")
    .limit(2, foreign_table="tasks")
)
assert_equal(
    answer.data, [{"name": "Anvil", "owner": {"name": "Acme"}, "tasks": [{"title": "plan"}, {"title": "build"}]}]
)
answer = read(lambda: client.from_("users").select("name, tasks!inner(title)").eq("tasks.title", "sell"))
assert_equal(answer.data, [{"name": "Cid", "tasks": [{"title": "sell"}]}])

# Functions.
assert_equal(read(lambda: client.rpc("add", {"a": 1, "b": 2}, get=True)).data, 3)
assert_equal(client.rpc("add", {"a": 5}).execute().data, 15)
assert_equal(client.rpc("get_tasks", {"project": 3}).execute().data[0]["title"], "sell")


# Writes, each seen by the next read.
def names():
    return read(lambda: client.from_("items").select("name").gte("id", 8000).order("id")).data


assert_equal(names(), [])
rows = client.from_("items").insert([{"id": 8000, "name": "a"}, {"id": 8001, "name": "b"}]).execute().data
assert_equal([row["id"] for row in rows], [8000, 8001])
assert_equal(names(), [{"name": "a"}, {"name": "b"}])
client.from_("items").upsert({"id": 8001, "name": "B"}, on_conflict="id").execute()
client.from_("items").upsert({"id": 8001, "name": "ignored"}, on_conflict="id", ignore_duplicates=True).execute()
assert_equal(names(), [{"name": "a"}, {"name": "B"}])
assert_equal(client.from_("items").update({"name": "A"}, count=CountMethod.exact).eq("id", 8000).execute().count, 1)
assert_equal(names(), [{"name": "A"}, {"name": "B"}])
assert_equal(len(client.from_("items").delete().gte("id", 8000).execute().data), 2)
assert_equal(names(), [])

# Errors.
refused(client.from_("nosuch").select("*"), "42P01")
refused(client.from_("items").insert({"id": 1, "name": "there"}), "23505")
refused(client.from_("clients").select("name").single(), "PGRST116")
refused(client.from_("projects").select("*, clients(*)"), "PGRST201")
error = refused(client.rpc("fail", {"code": "P0001", "message": "refused"}), "P0001")
assert_equal((error.message, error.details, error.hint), ("refused", "a detail", "a hint"))

# Other schemas: the last, because the client changes itself.
odd = client.schema("odd")
assert_equal(read(lambda: odd.from_("clients").select("id, odd").order("id")).data, [{"id": 1, "odd": True}, {"id": 9, "odd": False}])
refused(client.schema("nosuch").from_("clients").select("*"), "PGRST106")
