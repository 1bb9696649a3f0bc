//! What an announcement costs each of several nodes, which are processes of their own on the core of the servers: they hear of
//! rows that somebody changes past them.

use std::time::{Duration, Instant};

use cache_core::tag::PROBES;
use transom_tests::bench::{Client, Usage, median};
use transom_tests::{Database, Lease, NodeBuilder, NodeProcess, Postgres, Redis, eventually};

use super::server::{keep_load_apart, pin, usage};

const COUNTS: [usize; 4] = [1, 2, 4, 8];
/// Rows that one transaction changes.
const ROWS: u32 = 1_000;
/// Transactions that are heard of everywhere before the next ones begin, so that the leader never falls behind.
const AT_ONCE: u32 = 20;
const TIMES: u32 = 25;
/// Messages of one announcement of these rows: their slots are on pages of 1 024.
const PAGES: u32 = 3;
/// How long it is watched what a node takes that hears nothing.
const IDLE: Duration = Duration::from_secs(4);
const SOON: Duration = Duration::from_secs(30);

const WATERMARK: &str = "transom_coherence_watermark";

pub(super) async fn measure() {
    keep_load_apart();
    let postgres = Postgres::own().await;
    let redis = Redis::start().await;
    println!("\n### `nodes`: {ROWS} rows a transaction, {} transactions, all nodes on one core\n", AT_ONCE * TIMES);
    println!("| nodes | slots | who only hears: ns per slot, median | most | who leads: ns per slot |");
    println!("|--:|--:|--:|--:|--:|");
    for count in COUNTS {
        let database = database(&postgres).await;
        let mut nodes = nodes(count, &database, &redis).await;
        pin(&[postgres.family(), vec![redis.pid()]].concat());
        let watched = (usages(&mut nodes), Instant::now());
        tokio::time::sleep(IDLE).await;
        let begin = (usages(&mut nodes), Instant::now());
        let slots = announce(&nodes, &database).await;
        let idle = (begin.1 - watched.1).as_secs_f64();
        let (busy, end) = (begin.1.elapsed().as_secs_f64(), usages(&mut nodes));
        let each = (0..count).map(|node| {
            let anyway = begin.0[node].since(watched.0[node]).as_secs_f64() * busy / idle;
            (end[node].since(begin.0[node]).as_secs_f64() - anyway).max(0.0) * 1e9 / slots
        });
        print(&each.collect::<Vec<_>>(), slots);
    }
}

async fn database(postgres: &Postgres) -> Database {
    let database = postgres.database().await;
    database
        .execute(&format!(
            "create table item (id int primary key, version bigint not null default 0);
             insert into item select id from generate_series(1, {ROWS}) as id;
             grant select on item to web_anon"
        ))
        .await;
    database
}

/// So many nodes that can prove their coherence; the first one leads.
async fn nodes(count: usize, database: &Database, redis: &Redis) -> Vec<NodeProcess> {
    let builder = NodeBuilder::on(database).redis(redis).set("namespace", format!("of-{count}"));
    let builder = builder.set("feed", "logical").set("workers", "1").set("db_pool_max", "2").unset("audit_share");
    let mut nodes = Vec::new();
    for _ in 0..count {
        let mut node = builder.start_process().await;
        pin(&[node.process().pid()]);
        node.until_lease(Lease::Held).await;
        // So that there is a template, and rows are announced.
        Client::to(node.port()).get("/rest/v1/item?id=eq.1").await;
        nodes.push(node);
    }
    nodes
}

/// Changes rows until all nodes have heard of it, and says how many slots were announced.
async fn announce(nodes: &[NodeProcess], database: &Database) -> f64 {
    let session = database.client().await;
    let change = format!("update item set version = version + 1 where id <= {ROWS}");
    let first = nodes[0].metric(WATERMARK).await;
    for _ in 0..TIMES {
        let before = nodes[0].metric(WATERMARK).await;
        for _ in 0..AT_ONCE {
            session.batch_execute(&change).await.expect("rows are changed");
        }
        // Tables would take one message each.
        let exact = before + f64::from(AT_ONCE * (PAGES - 1));
        for node in nodes {
            eventually("it heard of the rows", SOON, async || {
                let watermark = node.metric(WATERMARK).await;
                if watermark >= exact { Ok(()) } else { Err(watermark) }
            })
            .await;
        }
    }
    // Transactions that came together were announced as one.
    let announcements = (nodes[0].metric(WATERMARK).await - first) / f64::from(PAGES);
    let probes = u32::try_from(PROBES).expect("a few");
    announcements * f64::from((ROWS + 1) * probes)
}

fn print(each: &[f64], slots: f64) {
    let (leader, hearers) = each.split_first().expect("a node");
    let figure = |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.0}"));
    let middle = (!hearers.is_empty()).then(|| median(hearers.to_vec()));
    let most = hearers.iter().copied().reduce(f64::max);
    println!("| {} | {slots:.0} | {} | {} | {leader:.0} |", each.len(), figure(middle), figure(most));
}

fn usages(nodes: &mut [NodeProcess]) -> Vec<Usage> {
    nodes.iter_mut().map(|node| usage(&[node.process().pid()])).collect()
}
