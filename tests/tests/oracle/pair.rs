//! Transom and PostgREST side by side, with the same settings.

use futures_util::{StreamExt as _, stream};
use transom_tests::{Database, Node, NodeBuilder, PostgRest, PostgRestBuilder, Postgres};

use super::exceptions;
use super::exchange::{Ask, Exchange};
use super::roles;

/// A miss, and hits of both ways there are: planned, and by the bytes of the request.
const TIMES: usize = 3;
/// Questions under way at the same time.
const AT_ONCE: usize = 6;
/// Differences shown; more would only hide them.
const SHOWN: usize = 40;

/// Both, on one database or on two that are equal.
pub(super) struct Pair {
    pub(super) node: Node,
    pub(super) postgrest: PostgRest,
    /// whose rows are the same after each write
    pub(super) databases: Vec<Database>,
}

impl Pair {
    /// Both on one database, which nobody writes to.
    pub(super) async fn reading() -> Self {
        Self::with(&[]).await
    }

    /// The same with these settings.
    pub(super) async fn with(settings: &[(&str, &str)]) -> Self {
        let database = prepared().await;
        let (node, postgrest) = start(&database, &database, settings).await;
        Self { node, postgrest, databases: vec![database] }
    }

    /// The same with these settings of the application, and after this SQL.
    pub(super) async fn with_app_settings(settings: &[(&str, &str)], sql: &str) -> Self {
        let database = prepared().await;
        database.execute(sql).await;
        let (mut node, mut postgrest) = builders(&database, &database);
        let mut toml = "[app_settings]\n".to_owned();
        for (name, value) in settings {
            postgrest = postgrest.set(&format!("app_settings_{name}"), *value);
            // JSON writes a text as TOML does.
            toml.push_str(&format!("{name} = {}\n", serde_json::json!(value)));
        }
        node = node.toml(&toml);
        let (node, postgrest) = tokio::join!(node.start(), postgrest.start());
        Self { node, postgrest, databases: vec![database] }
    }

    /// The same with settings that this SQL leaves in a database of that name, and this function makes.
    pub(super) async fn with_stored_settings(function: &str, sql: impl Fn(&str) -> String) -> Self {
        let database = prepared().await;
        database.execute(&sql(database.name())).await;
        let node = NodeBuilder::on(&database).set("db_pre_config", function);
        let postgrest = PostgRestBuilder::on(&database).set("db_config", "true").set("db_pre_config", function);
        let (node, postgrest) = tokio::join!(node.start(), postgrest.start());
        Self { node, postgrest, databases: vec![database] }
    }

    /// Each on a database of its own, for writes, which may be rolled back.
    pub(super) async fn writing() -> Self {
        let (ours, theirs) = tokio::join!(prepared(), prepared());
        let settings = [&roles::SETTINGS[..], &[("db_tx_end", "commit-allow-override")]].concat();
        let (node, postgrest) = start(&ours, &theirs, &settings).await;
        Self { node, postgrest, databases: vec![ours, theirs] }
    }

    /// Asks both, Transom as often as it takes to have seen a miss and hits.
    pub(super) async fn ask(&self, ask: &Ask) -> Vec<Exchange> {
        let theirs = ask.of(self.postgrest.rest()).await;
        let mut exchanges = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let ours = ask.of(self.node.rest()).await;
            exchanges.push(Exchange { ask: ask.clone(), theirs: theirs.clone(), ours });
        }
        exchanges
    }

    /// Asks both once: for writes.
    pub(super) async fn ask_once(&self, ask: &Ask) -> Exchange {
        let (theirs, ours) = tokio::join!(ask.of(self.postgrest.rest()), ask.of(self.node.rest()));
        Exchange { ask: ask.clone(), theirs, ours }
    }

    /// Asks all of these of both, and fails with every difference that nothing explains.
    pub(super) async fn compare(&self, asks: Vec<Ask>) {
        let exchanges = stream::iter(asks).map(|ask| async move { self.ask(&ask).await }).buffer_unordered(AT_ONCE);
        let exchanges: Vec<_> = exchanges.collect().await;
        assert_alike(exchanges.into_iter().filter_map(|exchanges| exchanges.iter().find_map(unexplained)));
    }
}

/// Fails with these differences, if there are any.
pub(super) fn assert_alike(differences: impl IntoIterator<Item = String>) {
    let differences: Vec<String> = differences.into_iter().collect();
    let shown = differences.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} unexplained differences:\n{shown}", differences.len());
}

/// The difference in this exchange, if no exception explains it.
pub(super) fn unexplained(exchange: &Exchange) -> Option<String> {
    let mut settled = exchange.clone();
    exceptions::settle(&mut settled);
    settled.differs().then(|| exchange.to_string())
}

async fn prepared() -> Database {
    let database = Postgres::shared().await.database().await;
    database.execute(include_str!("schema.sql")).await;
    database.execute("refresh materialized view shop.sizes").await;
    database
}

fn builders(ours: &Database, theirs: &Database) -> (NodeBuilder, PostgRestBuilder) {
    const SCHEMAS: &str = "shop,odd,public";
    let (node, postgrest) = (NodeBuilder::on(ours), PostgRestBuilder::on(theirs));
    (node.set("db_schemas", SCHEMAS), postgrest.set("db_schemas", SCHEMAS))
}

async fn start(ours: &Database, theirs: &Database, settings: &[(&str, &str)]) -> (Node, PostgRest) {
    let (mut node, mut postgrest) = builders(ours, theirs);
    for (name, value) in settings {
        (node, postgrest) = (node.set(name, *value), postgrest.set(name, *value));
    }
    tokio::join!(node.start(), postgrest.start())
}
