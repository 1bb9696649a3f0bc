//! Scans for rows that are not there: answered from memory as Postgres would, and never once the row has come.

use std::time::{Duration, Instant};

use transom_tests::{Database, Lease, Node, NodeBuilder, Postgres, Redis, Request, Response, eventually};

const SOON: Duration = Duration::from_secs(60);
const MAX_STALENESS: Duration = Duration::from_secs(4);
const TABLES: &str = "create table things (id bigint primary key, name text not null);
    insert into things select n, 'thing ' || n from generate_series(1, 30000) n;
    create table parts (id uuid primary key, thing bigint references things (id));
    create table words (word text primary key);
    create table secrets (id int primary key, owner text);
    alter table secrets enable row level security;
    create policy own on secrets using (owner = current_user);
    grant select, insert, update, delete on things, parts, words, secrets to public;";
const SETTINGS: &str = "[tables.\"public.things\"]\nabsent_filter = true\n[tables.\"public.parts\"]\nabsent_filter = true\n\
    [tables.\"public.words\"]\nabsent_filter = true\n[tables.\"public.secrets\"]\nabsent_filter = true\n";

fn builder(database: &Database) -> NodeBuilder {
    // A busy machine must not make a node lose its lease.
    NodeBuilder::on(database).set("feed", "logical").set("max_staleness", "4s").set("audit_share", "1")
}

async fn world(nodes: usize) -> (Postgres, Database, Redis, Vec<Node>) {
    let postgres = Postgres::own().await;
    let (database, redis) = (postgres.database().await, Redis::start().await);
    database.execute(TABLES).await;
    let builder = builder(&database).redis(&redis).toml(SETTINGS);
    let mut started = Vec::new();
    for _ in 0..nodes {
        let node = builder.start().await;
        node.until_lease(Lease::Held).await;
        started.push(node);
    }
    (postgres, database, redis, started)
}

fn is_absent(answer: &Response) -> bool {
    answer.header("cache-status").starts_with("transom; hit; detail=absent; ttl=")
}

/// Ids that nothing asked for before.
struct Missing(u64);

impl Missing {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// Until a question of this form is answered from the filter; which one that was. Answers that are errors say nothing of the cache,
/// so it is told by the metric.
async fn until_absent(node: &Node, missing: &mut Missing, ask: impl Fn(&Node, u64) -> Request) -> u64 {
    eventually("the filter answers", SOON, || {
        let id = missing.next();
        let request = ask(node, id);
        async move {
            let before = transom_absent(node).await;
            let answer = request.send().await;
            if transom_absent(node).await > before {
                return Ok(id);
            }
            let counts = node.admin().get("/metrics").send().await.text();
            let counts = counts.lines().filter(|line| line.starts_with("transom_absent_filter_total"));
            Err(format!("{answer:?} {:?}", counts.collect::<Vec<_>>()))
        }
    })
    .await
}

fn plain(node: &Node, id: u64) -> Request {
    node.rest().get(&format!("/things?id=eq.{id}"))
}

/// Whatever a client sees of an answer, but for what is the cache's own and the time.
fn seen(answer: &Response) -> (u16, String, Vec<String>) {
    let names =
        ["content-type", "content-range", "content-location", "content-length", "etag", "vary", "www-authenticate"];
    (answer.status, answer.text(), names.iter().map(|name| answer.header(name).to_owned()).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_for_missing_ids_never_reaches_postgres() {
    let (_postgres, database, _redis, nodes) = world(1).await;
    let node = &nodes[0];
    let plainly = NodeBuilder::on(&database).set("feed", "none").start().await;
    let mut missing = Missing(1_000_000);
    let single = "application/vnd.pgrst.object+json";
    let forms: [(&str, &str, &str); 5] = [
        ("/things?id=eq.{id}", "", ""),
        ("/things?select=name&id=eq.{id}", "", ""),
        ("/things?id=eq.{id}", "accept", single),
        ("/things?id=eq.{id}", "accept", "text/csv"),
        ("/things?id=eq.{id}&order=name", "range", "0-9"),
    ];
    for (target, name, value) in forms {
        let ask = |node: &Node, id: u64| {
            let request = node.rest().get(&target.replace("{id}", &id.to_string()));
            if name.is_empty() { request } else { request.header(name, value) }
        };
        until_absent(node, &mut missing, ask).await;
        let reads = async || node.metric("transom_origin_duration_seconds_count{operation=\"read\"}").await;
        let before = reads().await;
        let answers = transom_absent(node).await;
        for _ in 0..100 {
            let id = missing.next();
            let answer = ask(node, id).send().await;
            assert_eq!(answer.status, if value == single { 406 } else { 200 }, "{target} {value} {}", answer.text());
        }
        // One of a hundred is taken for one that is there.
        let by_filter = transom_absent(node).await - answers;
        assert!((90.0..=100.0).contains(&by_filter), "{target} {value}: {by_filter} of 100");
        // Nor is anybody else asked; the auditor's reads are counted apart.
        assert_eq!(reads().await - before, 100.0 - by_filter, "{target} {value}");
        let id = until_absent(node, &mut missing, ask).await;
        let (ours, theirs) = (ask(node, id).send().await, ask(&plainly, id).send().await);
        assert_eq!(seen(&ours), seen(&theirs), "{target} {value}");
        // Those that are there are found.
        let there = ask(node, 77).send().await;
        assert_eq!(seen(&there), seen(&ask(&plainly, 77).send().await), "{target} {value}");
    }
    assert_eq!(node.metric("transom_audit_stale_total").await, 0.0);
}

async fn transom_absent(node: &Node) -> f64 {
    node.metric("transom_absent_filter_total{result=\"absent\"}").await
}

/// Rows come on the way past the node, before, while and after its filters are made, and are seen within the bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_that_came_is_called_absent() {
    let (_postgres, database, _redis, nodes) = world(2).await;
    let client = database.client().await;
    let (mut missing, mut answered) = (Missing(2_000_000), 0);
    let until = Instant::now() + Duration::from_secs(40);
    let mut pending: Vec<(u64, Instant)> = Vec::new();
    let mut number = 0_u64;
    while Instant::now() < until {
        number += 1;
        let node = &nodes[usize::try_from(number % 2).expect("small")];
        // It is known to be absent, and a moment later it is there.
        let id = 3_000_000 + number;
        let before = plain(node, id).send().await.expect_status(200);
        assert_eq!(before.text(), "[]");
        answered += u64::from(is_absent(&before));
        plain(node, missing.next()).send().await.expect_status(200);
        match number % 3 {
            0 => drop(
                client.execute("insert into things values ($1, 'new')", &[&i64::try_from(id).expect("small")]).await,
            ),
            1 => {
                // By an update of the key, and back: what was there is absent, and the other way round.
                let from = i64::try_from(1 + number % 30_000).expect("small");
                let to = i64::try_from(id).expect("small");
                let moved = client.execute("update things set id = $2 where id = $1", &[&from, &to]).await;
                if moved.expect("it is an update") == 0 {
                    client.execute("insert into things values ($1, 'new')", &[&to]).await.expect("it is new");
                }
            }
            _ => {
                // Through a node: its token says what must be seen.
                let body = serde_json::json!({ "id": id, "name": "new" });
                let written = node.rest().post("/things", &body).send().await.expect_status(201);
                // There is none if the feed was not heard of in time.
                let token = written.header("transom-token").to_owned();
                if !token.is_empty() {
                    let other = &nodes[usize::try_from((number + 1) % 2).expect("small")];
                    let read = plain(other, id).header("transom-min-token", token).send().await.expect_status(200);
                    assert!(read.text().contains("new"), "{id}: {} {}", read.text(), read.header("cache-status"));
                }
            }
        }
        pending.push((id, Instant::now()));
        pending.retain(|(_, committed_at)| committed_at.elapsed() < MAX_STALENESS * 3);
        let due: Vec<u64> = pending
            .iter()
            .filter(|(_, committed_at)| committed_at.elapsed() > MAX_STALENESS)
            .map(|(id, _)| *id)
            .take(3)
            .collect();
        for id in due {
            for node in &nodes {
                let read = plain(node, id).send().await.expect_status(200);
                assert_ne!(read.text(), "[]", "{id} came long ago: {}", read.header("cache-status"));
            }
        }
    }
    assert!(answered > 10, "only {answered} of {number} were answered by a filter: nothing is shown");
    for node in &nodes {
        assert_eq!(node.metric("transom_audit_stale_total").await, 0.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_announced_of_all_makes_a_filter_worthless() {
    let (_postgres, database, mut redis, nodes) = world(1).await;
    let (node, mut missing) = (&nodes[0], Missing(1_000_000));
    until_absent(node, &mut missing, plain).await;
    // Of the whole table, and with rows that were absent before.
    database
        .execute("truncate things cascade; insert into things select n, 'new' from generate_series(1000000, 1020000) n")
        .await;
    let id = 1_015_000;
    eventually("the row is seen", SOON, async || plain(node, id).send().await.text().contains("new")).await;
    for id in 1_010_000..1_010_050 {
        let answer = plain(node, id).send().await;
        assert!(answer.text().contains("new"), "{}", answer.header("cache-status"));
    }
    let mut missing = Missing(5_000_000);
    until_absent(node, &mut missing, plain).await;
    // A new epoch: nothing that was known counts.
    redis.restart_empty().await;
    database.execute("insert into things values (6000000, 'after')").await;
    eventually("the row is seen", SOON, async || plain(node, 6_000_000).send().await.text().contains("after")).await;
    until_absent(node, &mut missing, plain).await;
    // Nothing can be proven: after a moment, Postgres is asked.
    redis.pause();
    node.until_lease(Lease::Lapsed).await;
    // What this node read itself counts for another moment (C3), also if it read the keys just now.
    let mut in_a_row = 0;
    let until = Instant::now() + SOON;
    while in_a_row < 20 {
        assert!(Instant::now() < until, "filters are believed without a lease");
        let answer = plain(node, missing.next()).send().await.expect_status(200);
        in_a_row = if is_absent(&answer) { 0 } else { in_a_row + 1 };
        let age = answer.header("age").parse().map(Duration::from_secs).expect("seconds");
        assert!(!is_absent(&answer) || age <= MAX_STALENESS, "{age:?}");
    }
    redis.resume();
    assert_eq!(node.metric("transom_audit_stale_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_it_is_not_certain_postgres_is_asked() {
    let (_postgres, database, redis, nodes) = world(1).await;
    let (node, mut missing) = (&nodes[0], Missing(1_000_000));
    until_absent(node, &mut missing, plain).await;
    let uuid = |node: &Node, id: u64| node.rest().get(&format!("/parts?id=eq.00000000-0000-4000-8000-{id:012}"));
    until_absent(node, &mut missing, uuid).await;
    let before = transom_absent(node).await;
    for (target, status) in [
        // What is no value of the type is an error.
        ("/things?id=eq.abc", 400),
        ("/things?id=eq.99999999999999999999", 400),
        ("/parts?id=eq.7", 400),
        // Texts, policies, more than one row, a value that may be another's, other columns, what is embedded.
        ("/words?word=eq.nothing", 200),
        ("/secrets?id=eq.7", 200),
        ("/things?id=in.(8000001,8000002)", 200),
        ("/things?id=eq.8&limit=8", 200),
        ("/things?name=eq.x", 200),
        ("/things?id=gt.8000004", 200),
        ("/things?id=not.eq.8000005", 200),
        ("/things?or=(id.eq.8000006,name.eq.x)", 200),
        ("/things?id=eq.8000007&select=id,parts(id)", 200),
    ] {
        for _ in 0..3 {
            node.rest().get(target).header("cache-control", "max-age=0").send().await.expect_status(status);
            node.rest().get(target).send().await.expect_status(status);
        }
    }
    for _ in 0..3 {
        // It has its value in two places.
        let counted = plain(node, missing.next()).header("prefer", "count=exact").send().await.expect_status(200);
        assert_eq!(counted.header("content-range"), "*/0");
        let fresh = plain(node, missing.next()).header("cache-control", "no-cache").send().await;
        assert!(!is_absent(&fresh));
    }
    assert_eq!(transom_absent(node).await, before);

    // Without a feed, rows that come past the node are not heard of.
    let deaf = NodeBuilder::on(&database).redis(&redis).set("feed", "none").set("namespace", "deaf").toml(SETTINGS);
    let deaf = deaf.start().await;
    for _ in 0..50 {
        assert!(!is_absent(&plain(&deaf, missing.next()).send().await.expect_status(200)));
    }
    assert_eq!(deaf.metric("transom_absent_filter_total{result=\"no-filter\"}").await, 0.0);
}
