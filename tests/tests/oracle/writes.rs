//! Writes, each to two databases that were equal before and must be equal after it.

use reqwest::Method;
use serde_json::Value;

use super::exchange::{Ask, Exchange};
use super::generator::Generator;
use super::pair::{Pair, assert_alike, unexplained};

/// What a write may have changed, as one text.
const STATE: &str = "select json_build_array(
    (select json_agg(x order by id) from shop.items x), (select json_agg(x order by a, b) from shop.pairs x),
    (select json_agg(x order by x::text) from shop.keyless x), (select json_agg(x order by id) from shop.clients x),
    (select json_agg(x order by id) from shop.secrets x), (select json_agg(x order by id) from shop.serials x),
    (select json_agg(x order by id) from shop.notes x))::text";

/// Run before each write: with `missing=default` PostgREST takes a number from a sequence even where it needs none.
fn sequences_at(next: usize) -> String {
    format!("select setval('shop.items_id_seq', {next}), setval('shop.serials_id_seq', {next})")
}

/// Runs each on both, and compares the answers and what is in the tables then.
pub(super) async fn compare(pair: &Pair, asks: Vec<Ask>) {
    let [ours, theirs] = &pair.databases[..] else { panic!("writes want two databases") };
    let (ours, theirs) = tokio::join!(ours.client(), theirs.client());
    let mut differences = Vec::new();
    for (index, ask) in asks.into_iter().enumerate() {
        let sequences = sequences_at(1_000 + 10 * index);
        let (here, there) = tokio::join!(ours.batch_execute(&sequences), theirs.batch_execute(&sequences));
        here.and(there).expect("they are sequences");
        let mut exchange = pair.ask_once(&ask).await;
        put_in_order(&mut exchange);
        let (here, there) = tokio::join!(ours.query_one(STATE, &[]), theirs.query_one(STATE, &[]));
        let (here, there): (String, String) = (here.expect("it runs").get(0), there.expect("it runs").get(0));
        differences.extend(unexplained(&exchange));
        if here != there {
            differences.push(format!("{exchange}\n  there: {there}\n  here:  {here}"));
            // What comes after would only repeat it.
            break;
        }
    }
    assert_alike(differences);
}

/// Without an order the rows of a write come as Postgres finds them, and two databases keep them in different places: when the
/// server tidies a page up is its own affair. The first one that breaks a rule is another then.
fn put_in_order(exchange: &mut Exchange) {
    let (theirs, ours) = (exchange.theirs.text(), exchange.ours.text());
    let broken = |text: &str| {
        let (before, after) = text.split_once("Failing row contains (")?;
        Some(format!("{before}{}", after.split_once(").\"")?.1))
    };
    let same_rows = sorted(&theirs) == sorted(&ours);
    if !exchange.ask.target.contains("order=")
        && (same_rows || broken(&theirs).is_some_and(|it| Some(it) == broken(&ours)))
    {
        exchange.ours.body.clone_from(&exchange.theirs.body);
    }
}

/// The rows of JSON or CSV; of JSON they are as they were written, but for what is embedded in them.
fn sorted(body: &str) -> Vec<String> {
    let mut rows: Vec<String> = match serde_json::from_str::<Vec<Value>>(body) {
        Ok(rows) if body.contains(":{") || body.contains(":[") => rows.iter().map(Value::to_string).collect(),
        Ok(_) => body.trim_matches(['[', ']']).split(", \n ").map(str::to_owned).collect(),
        Err(_) => body.split('\n').map(str::to_owned).collect(),
    };
    rows.sort_unstable();
    rows
}

const PREFERENCES: &[&str] = &[
    "return=representation",
    "return=representation",
    "return=minimal",
    "return=headers-only",
    "count=exact",
    "return=representation, count=exact",
    "resolution=merge-duplicates",
    "resolution=ignore-duplicates",
    "resolution=merge-duplicates, return=representation",
    "resolution=ignore-duplicates, return=representation, count=exact",
    "missing=default",
    "missing=default, return=representation",
    "missing=null, return=representation",
    "handling=strict",
    "resolution=merge-duplicates, missing=default, return=headers-only",
    "handling=strict, nonsense",
    "tx=rollback",
    "tx=rollback, return=representation",
    "tx=rollback, return=headers-only, count=exact",
    "tx=commit, return=minimal",
    "tx=commit, handling=strict",
];

/// What is updated and deleted from.
const CHANGED: [&str; 10] =
    ["items", "items", "pairs", "keyless", "item_names", "upper_items", "clients", "secrets", "serials", "notes"];

impl Generator {
    /// One write to one of the tables that are written to.
    pub(super) fn write(&mut self) -> Ask {
        let ask = match self.random_below(10) {
            0..4 => self.insert(),
            4..7 => self.update(),
            7..9 => self.removal(),
            _ => self.put(),
        };
        let ask = if self.chance(0.75) { ask.header("Prefer", self.pick(PREFERENCES)) } else { ask };
        let ask = if ask.target.starts_with("/notes") || self.chance(0.1) { self.authorized(ask) } else { ask };
        if self.chance(0.1) {
            ask.header(
                "Accept",
                self.pick(&["application/vnd.pgrst.object+json", "text/csv", "application/json", "image/png"]),
            )
        } else {
            ask
        }
    }

    fn insert(&mut self) -> Ask {
        let (table, conflict) = self.pick(&[
            ("items", "id"),
            ("items", "id"),
            ("pairs", "a,b"),
            ("pairs", "value"),
            ("keyless", "word"),
            ("item_names", "id"),
            ("upper_items", "id"),
            ("summary", "id"),
            ("secrets", "id"),
            ("serials", "id"),
            ("notes", "id"),
        ]);
        let mut parameters = self.returned(table);
        if self.chance(0.15) {
            parameters.push(format!(
                "columns={}",
                self.pick(&["id,name", "id", "a,b", "word", "nosuch", "id,name,price", "n", "id,text"])
            ));
        }
        if self.chance(0.2) {
            parameters.push(format!("on_conflict={conflict}"));
        }
        let ask = Ask::new(Method::POST, target(table, &parameters));
        match self.random_below(8) {
            0 => ask.header("Content-Type", "text/csv").body(self.csv(table)),
            1 => ask.header("Content-Type", "application/x-www-form-urlencoded").body(self.form(table)),
            2 => ask.json(self.pick(&[
                "[]",
                "{}",
                "[{}]",
                "[{},{}]",
                "",
                "null",
                "[1]",
                "{\"nosuch\":1}",
                "{\"id\":null}",
                "[{\"id\":7},{\"name\":\"x\"}]",
                "{\"id\":",
            ])),
            3..6 => {
                let rows: Vec<String> = (0..self.random_below(3) + 1).map(|_| self.row(table)).collect();
                ask.json(format!("[{}]", rows.join(",")))
            }
            _ => ask.json(self.row(table)),
        }
    }

    fn update(&mut self) -> Ask {
        let table = self.pick(&CHANGED);
        let mut parameters = self.filtered(table);
        parameters.extend(self.returned(table));
        let body = match table {
            "items" => self.pick(&[
                "{\"price\":4}",
                "{\"name\":\"new\"}",
                "{\"price\":-1}",
                "{\"doc\":{\"a\":[1]}}",
                "{\"tags\":[\"x\",\"y\"]}",
                "{}",
                "[]",
                "{\"nosuch\":1}",
                "{\"price\":\"x\"}",
                "{\"name\":null}",
                "{\"double\":3}",
                "[{\"price\":5}]",
            ]),
            "pairs" => self.pick(&["{\"value\":null}", "{\"note\":\"n\"}", "{\"value\":10}"]),
            "keyless" => self.pick(&["{\"number\":3}", "{\"word\":null}"]),
            "clients" => self.pick(&["{\"note\":\"z\"}", "{\"parent_id\":99}"]),
            "secrets" => self.pick(&["{\"text\":\"t\"}", "{\"owner\":\"other\"}"]),
            "serials" => self.pick(&["{\"n\":4}", "{\"id\":9}", "{\"twice\":1}", "[{\"n\":4},{\"n\":5}]"]),
            "notes" => self.pick(&["{\"text\":\"t\"}", "{\"team\":\"blue\"}", "{\"owner\":\"ann\"}"]),
            _ => self.pick(&["{\"name\":\"renamed\"}", "{\"name\":\"B\"}"]),
        };
        Ask::new(Method::PATCH, target(table, &parameters)).json(body)
    }

    fn removal(&mut self) -> Ask {
        let table = self.pick(&CHANGED);
        let mut parameters = self.filtered(table);
        parameters.extend(self.returned(table));
        Ask::new(Method::DELETE, target(table, &parameters))
    }

    fn put(&mut self) -> Ask {
        let id = self.random_below(9);
        let other = if self.chance(0.1) { id + 1 } else { id };
        match self.random_below(7) {
            5 => Ask::new(Method::PUT, format!("/serials?id=eq.{id}")).json(format!("{{\"id\":{other},\"n\":1}}")),
            6 => Ask::new(Method::PUT, format!("/items?id=eq.{id}&columns=id,name"))
                .json(format!("{{\"id\":{id},\"name\":\"put\",\"price\":9}}")),
            0 => Ask::new(Method::PUT, format!("/pairs?a=eq.{id}&b=eq.x"))
                .json(format!("{{\"a\":{other},\"b\":\"x\",\"value\":{}}}", id + 50)),
            1 => Ask::new(Method::PUT, format!("/items?id=gt.{id}")).json(format!("{{\"id\":{id},\"name\":\"put\"}}")),
            2 => Ask::new(Method::PUT, format!("/items?id=eq.{id}&limit=1"))
                .json(format!("{{\"id\":{id},\"name\":\"put\"}}")),
            _ => Ask::new(Method::PUT, format!("/items?id=eq.{id}"))
                .json(format!("{{\"id\":{other},\"name\":\"put\",\"price\":{id}}}")),
        }
    }

    /// What is to be returned; only seen with `return=representation`.
    fn returned(&mut self, table: &str) -> Vec<String> {
        let selects: &[&str] = match table {
            "items" => &[
                "id,name",
                "*",
                "id,price,double,clients(name)",
                "tags->0,doc",
                "made::text",
                "id,...clients(client:name)",
            ],
            "pairs" => &["a,b", "*", "note"],
            "clients" => {
                &["id,full_name", "name,projects!projects_client_id_fkey(name)", "parent:clients!parent_id(id)"]
            }
            "upper_items" | "item_names" => &["id", "name,id"],
            "serials" => &["id,twice", "n"],
            "notes" => &["id,text", "id,users(id)"],
            _ => return Vec::new(),
        };
        if self.chance(0.4) { vec![format!("select={}", self.pick(selects))] } else { Vec::new() }
    }

    fn filtered(&mut self, table: &str) -> Vec<String> {
        let mut filters: Vec<String> = match table {
            "pairs" => vec![self.pick(&["a=eq.1", "b=eq.x", "value=gt.10", "a=eq.9"]).to_owned()],
            "keyless" => vec![self.pick(&["word=eq.a", "number=is.null", "nosuch=eq.1"]).to_owned()],
            // Others depend on it.
            "clients" => vec![self.pick(&["id=eq.4", "id=eq.99", "id=eq.1"]).to_owned()],
            _ => vec![format!(
                "id={}.{}",
                self.pick(&["eq", "eq", "eq", "lt", "gt"]),
                self.pick(&["1", "2", "3", "4", "5", "6", "7"])
            )],
        };
        if self.chance(0.15) && matches!(table, "items" | "pairs") {
            filters.push(
                self.pick(&["or=(id.eq.1,id.eq.2)", "and=(id.gt.0,id.lt.9)", "price=is.null", "value=not.is.null"])
                    .to_owned(),
            );
        }
        if self.chance(0.15) && matches!(table, "items" | "serials" | "clients") {
            filters.push(format!("order=id{}&limit={}", self.pick(&["", ".desc"]), self.pick(&["1", "2", "0"])));
        }
        filters
    }

    fn row(&mut self, table: &str) -> String {
        let id = self.random_below(12);
        match table {
            "items" => match self.random_below(6) {
                0 => format!(
                    "{{\"id\":{id},\"name\":\"item {id}\",\"price\":{}}}",
                    self.pick(&["1", "2.50", "null", "-3", "\"4\""])
                ),
                1 => format!("{{\"id\":{id},\"name\":\"tagged\",\"tags\":[\"a\",\"b\"],\"doc\":{{\"k\":\"v\"}}}}"),
                2 => format!("{{\"id\":{id},\"name\":\"sold\",\"client_id\":{}}}", self.pick(&["1", "2", "99"])),
                3 => format!("{{\"id\":{id}}}"),
                _ => format!("{{\"name\":\"plain\",\"id\":{id}}}"),
            },
            "pairs" => format!("{{\"a\":{},\"b\":\"{}\",\"value\":{}}}", id % 4, self.pick(&["x", "y"]), id),
            "keyless" => format!("{{\"word\":\"w\",\"number\":{id}}}"),
            "serials" => {
                self.pick(&["{\"n\":1}", "{}", "{\"n\":null}", "{\"id\":3,\"n\":2}", "{\"twice\":2}"]).to_owned()
            }
            "notes" => {
                let team = self.pick(&["red", "blue"]);
                format!("{{\"id\":{},\"owner\":\"ann\",\"team\":\"{team}\"}}", id + 10)
            }
            "summary" => "{\"client_id\":1}".to_owned(),
            "secrets" => format!("{{\"id\":{id},\"owner\":\"{}\"}}", self.pick(&["web_anon", "other"])),
            _ => format!("{{\"id\":{id},\"name\":\"VIEW\"}}"),
        }
    }

    fn csv(&mut self, table: &str) -> String {
        let id = self.random_below(12);
        match table {
            "pairs" => format!("a,b,value\n{id},x,NULL\n{id},y,{id}\n"),
            "keyless" => format!("word,number\n\"with, comma\",{id}\nx,NULL"),
            _ => self
                .pick(&[
                    "id,name\n8,eight\n9,\"n\"\"ine\"\n",
                    "id,name\n8\n",
                    "id,nosuch\n1,2\n",
                    "id,name\r\n10,ten\r\n",
                    "",
                ])
                .to_owned(),
        }
    }

    fn form(&mut self, table: &str) -> String {
        let id = self.random_below(12);
        match table {
            "pairs" => format!("a={id}&b=x+y&value={id}"),
            "keyless" => format!("word=a%26b&number={id}"),
            _ => format!("id={id}&name=form+{id}"),
        }
    }
}

fn target(table: &str, parameters: &[String]) -> String {
    if parameters.is_empty() { format!("/{table}") } else { format!("/{table}?{}", parameters.join("&")) }
}

/// Calls by `POST`, and writes that chance would not hit on.
pub(super) fn by_hand() -> Vec<Ask> {
    let post = |target: &str, body: &str| Ask::new(Method::POST, target).json(body);
    let represented = |ask: Ask| ask.header("Prefer", "return=representation");
    vec![
        post("/rpc/add", "{\"a\":1}"),
        post("/rpc/add", "{\"a\":1,\"b\":2}"),
        post("/rpc/add?a=1", "{}"),
        post("/rpc/add", "{\"a\":\"x\"}"),
        post("/rpc/add", "[{\"a\":1},{\"a\":2}]"),
        post("/rpc/add", "{"),
        post("/rpc/add", "{\"c\":1}"),
        post("/rpc/add", ""),
        post("/rpc/over", "{\"a\":1}"),
        post("/rpc/join_all", "{\"words\":[\"a\",\"b\"]}"),
        post("/rpc/whole", "{\"any\":[1,null]}"),
        post("/rpc/whole", "[1]"),
        post("/items?columns=id,name", "{\"name\":\"numbered\"}")
            .header("Prefer", "missing=default, return=representation"),
        Ask::new(Method::POST, "/rpc/shout").header("Content-Type", "text/plain").body("loud"),
        Ask::new(Method::POST, "/rpc/add").header("Content-Type", "application/x-www-form-urlencoded").body("a=1&b=3"),
        Ask::new(Method::POST, "/rpc/add").header("Content-Type", "text/csv").body("a,b\n1,4\n"),
        Ask::new(Method::POST, "/rpc/add").header("Content-Type", "text/xml").body("<a/>"),
        post("/rpc/nothing", "{}"),
        post("/rpc/null_int", "{}"),
        post("/rpc/list_ints?limit=1&offset=1", "{\"n\":4}"),
        post("/rpc/list_ints", "{\"n\":4}").header("Prefer", "count=exact"),
        post("/rpc/get_tasks?select=title,projects(name)&order=id.desc", "{\"project\":1}"),
        post("/rpc/get_tasks", "{\"project\":1}").header("Accept", "text/csv"),
        post("/rpc/one_client", "{\"id\":2}"),
        post("/rpc/one_client", "{\"id\":2}").header("Accept", "application/vnd.pgrst.object+json"),
        post("/rpc/an_array", "{\"a\":[1,2]}"),
        post("/rpc/a_json", "{\"doc\":{\"b\":1}}"),
        post("/rpc/out_args", "{\"a\":3}"),
        post("/rpc/rename_client", "{\"id\":4,\"name\":\"Renamed\"}"),
        post("/rpc/rename_client?select=name&name=eq.x", "{\"id\":4,\"name\":\"Renamed\"}"),
        post("/rpc/rename_client", "{\"id\":99,\"name\":\"Renamed\"}")
            .header("Accept", "application/vnd.pgrst.object+json"),
        post("/rpc/fail", "{\"code\":\"P0001\",\"message\":\"m\"}"),
        post("/rpc/fail", "{\"code\":\"23505\",\"message\":\"m\"}"),
        post("/rpc/fail", "{\"code\":\"42501\",\"message\":\"m\"}"),
        post("/rpc/fail", "{\"code\":\"PT418\",\"message\":\"m\"}"),
        post("/rpc/fail", "{\"code\":\"XX000\",\"message\":\"m\"}"),
        post("/rpc/fail", "{\"code\":\"28000\",\"message\":\"m\"}"),
        post("/rpc/fail", "{\"code\":\"21000\",\"message\":\"m\"}"),
        post("/rpc/fail", "{\"code\":\"22P02\",\"message\":\"m\"}"),
        post("/rpc/fail", "{\"code\":\"PGRST\",\"message\":\"m\"}"),
        post("/rpc/odd%20name", "{\"an arg\":4}"),
        post("/hidden", "{\"id\":1}"),
        post("/nosuch", "{\"id\":1}"),
        post("/items?columns=id,name", ""),
        post("/items", "{\"name\":\"x\"}").header("Content-Type", "text/plain"),
        represented(post("/items?select=id,name", "{\"id\":500,\"name\":\"x\"}")),
        post("/items", "{\"id\":501,\"name\":\"x\"}").header("Prefer", "return=headers-only"),
        post("/pairs", "{\"a\":77,\"b\":\"q w\"}").header("Prefer", "return=headers-only"),
        post("/keyless", "{\"word\":\"w\"}").header("Prefer", "return=headers-only"),
        post("/keyless", "{\"word\":\"w\"}").header("Prefer", "resolution=merge-duplicates"),
        post("/keyless", "[]").header("Prefer", "resolution=merge-duplicates"),
        post("/keyless", "[]").header("Prefer", "resolution=ignore-duplicates"),
        represented(Ask::new(Method::DELETE, "/items?id=eq.500")),
        represented(Ask::new(Method::DELETE, "/items?id=eq.501&select=nosuch")),
        Ask::new(Method::DELETE, "/items?id=eq.501").header("Prefer", "count=exact"),
        Ask::new(Method::DELETE, "/items?id=eq.501").header("Accept", "application/vnd.pgrst.object+json"),
        represented(Ask::new(Method::PATCH, "/items?id=eq.1&select=id,clients(name)")).json("{\"client_id\":1}"),
        Ask::new(Method::PATCH, "/items?id=eq.1").header("Content-Profile", "odd").json("{\"name\":\"x\"}"),
        Ask::new(Method::PATCH, "/items?id=eq.1").header("Content-Profile", "nosuch").json("{\"name\":\"x\"}"),
        Ask::new(Method::PATCH, "/items?limit=1").json("{\"name\":\"x\"}"),
        Ask::new(Method::PUT, "/keyless?word=eq.a").json("{\"word\":\"a\"}"),
        Ask::new(Method::PUT, "/items").json("{\"id\":1,\"name\":\"a\"}"),
        Ask::new(Method::DELETE, "/summary"),
        Ask::new(Method::POST, "/things/1").json("{}"),
    ]
}
