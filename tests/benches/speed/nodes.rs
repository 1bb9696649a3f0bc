//! What an announcement costs each of several nodes, which are processes of their own on the core of the servers: they hear of
//! rows that somebody changes past them.

use std::time::{Duration, Instant};

use cache_core::tag::PROBES;
use transom_tests::bench::{Client, Usage, median};
use transom_tests::{NodeBuilder, NodeProcess, Postgres, Redis, eventually};

use super::server::{keep_load_apart, pin, usage};

const COUNTS: [usize; 4] = [1, 2, 4, 8];
/// Rows that one transaction changes.
const ROWS: u32 = 1_000;
/// Transactions that are heard of everywhere before the next ones begin, so that the leader never falls behind.
const AT_ONCE: u32 = 20;
const TIMES: u32 = 25;
/// How long it is watched what a node takes that hears nothing.
const IDLE: Duration = Duration::from_secs(4);
const SOON: Duration = Duration::from_secs(30);

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) async fn measure() {
    keep_load_apart();
    let postgres = Postgres::own().await;
    let redis = Redis::start().await;
    println!("\n### `nodes`: {ROWS} rows a transaction, {} transactions, all nodes on one core\n", AT_ONCE * TIMES);
    println!("| nodes | slots | who only hears: ns per slot, median | most | who leads: ns per slot |");
    println!("|--:|--:|--:|--:|--:|");
    for count in COUNTS {
        let database = postgres.database().await;
        database
            .execute(&format!(
                "create table item (id int primary key, version bigint not null default 0);
                 insert into item select id from generate_series(1, {ROWS}) as id;
                 grant select on item to web_anon"
            ))
            .await;
        let builder = NodeBuilder::on(&database).redis(&redis).set("namespace", format!("of-{count}"));
        let builder = builder.set("feed", "logical").set("workers", "1").set("db_pool_max", "2").unset("audit_share");
        let mut nodes = Vec::new();
        for _ in 0..count {
            let mut node = builder.start_process().await;
            pin(&[node.process().pid()]);
            until(&node, "transom_lease_held", 1).await;
            // So that there is a template, and rows are announced.
            Client::to(node.port()).get("/rest/v1/item?id=eq.1").await;
            nodes.push(node);
        }
        pin(&postgres.family());
        pin(&[redis.pid()]);
        let idle = (usages(&mut nodes), Instant::now());
        tokio::time::sleep(IDLE).await;
        let begin = (usages(&mut nodes), Instant::now());
        let announced_before = watermark(&nodes[0]).await;
        let session = database.client().await;
        let change = format!("update item set version = version + 1 where id <= {ROWS}");
        for _ in 0..TIMES {
            let before = watermark(&nodes[0]).await;
            for _ in 0..AT_ONCE {
                session.batch_execute(&change).await.expect("rows are changed");
            }
            // Rows of a transaction do not fit in one message.
            for node in &nodes {
                until(node, "transom_coherence_watermark", before + 2 * u64::from(AT_ONCE)).await;
            }
        }
        let (end, took) = (usages(&mut nodes), begin.1.elapsed());
        let messages = watermark(&nodes[0]).await - announced_before;
        assert!(messages >= 2 * u64::from(AT_ONCE * TIMES), "{messages} messages: tables were announced, and not rows");
        let tags = AT_ONCE * TIMES * (ROWS + 1);
        let slots = u64::from(tags) * PROBES as u64;
        let idle_share = took.as_secs_f64() / (begin.1 - idle.1).as_secs_f64();
        let mut each: Vec<f64> = (0..count)
            .map(|node| {
                let used = end[node].since(begin.0[node]).as_secs_f64();
                let anyway = begin.0[node].since(idle.0[node]).as_secs_f64() * idle_share;
                (used - anyway).max(0.0) * 1e9 / slots as f64
            })
            .collect();
        // The first one that started.
        let leader = each.remove(0);
        let most = each.iter().copied().reduce(f64::max);
        let figure = |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.0}"));
        let hears = (!each.is_empty()).then(|| median(each));
        println!("| {count} | {slots} | {} | {} | {leader:.0} |", figure(hears), figure(most));
    }
}

fn usages(nodes: &mut [NodeProcess]) -> Vec<Usage> {
    nodes.iter_mut().map(|node| usage(&[node.process().pid()])).collect()
}

async fn watermark(node: &NodeProcess) -> u64 {
    series(node, "transom_coherence_watermark").await
}

async fn series(node: &NodeProcess, name: &str) -> u64 {
    let text = node.admin().get("/metrics").send().await.text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no number under {name}"))
}

/// Waits until a series is at least that.
async fn until(node: &NodeProcess, name: &str, least: u64) {
    eventually(name, SOON, async || {
        let value = series(node, name).await;
        if value >= least { Ok(()) } else { Err(value) }
    })
    .await;
}
