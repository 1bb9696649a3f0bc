//! Whether memory stays within what the operator allowed: nodes that are asked for far more than their L1 holds.

use std::fs;

use transom_tests::NodeBuilder;

use super::world::{World, warm};

/// `l1_bytes_max`, and how many different questions are asked: three times what fits, and more.
const NODES: [(&str, u64, usize); 2] = [("64MiB", 64 << 20, 100_000), ("256MiB", 256 << 20, 400_000)];
const ROWS: usize = 10_000;
const CONNECTIONS: usize = 16;
/// Questions that are asked again in the end, so that lanes are full too.
const AGAIN: usize = 10_000;

pub(super) async fn measure(world: &World) {
    println!("\n### `resident`: a node that is asked for more than L1 holds, 1 KiB\n");
    println!(
        "| `l1_bytes_max` | questions | entries in L1 | resident MiB at the start | at the end | beyond L1 | peak |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|");
    for (setting, bytes, count) in NODES {
        let node = NodeBuilder::on(&world.database).redis(&world.redis).set("feed", "logical").unset("audit_share");
        // Every answer is there to be had: this is not about Redis.
        let mut node = node.set("namespace", setting).set("l1_bytes_max", setting).start_process().await;
        let (port, pid) = (node.port(), node.process().pid());
        let before = mebibytes(pid, "VmRSS");
        let targets: Vec<String> = (0..count)
            .map(|number| format!("/rest/v1/item?id=eq.{}&limit={}", number % ROWS + 1, number / ROWS + 1))
            .collect();
        let shares = targets.chunks(count.div_ceil(CONNECTIONS)).map(|share| {
            let share = share.to_vec();
            tokio::spawn(async move { warm(port, &share, &[]).await })
        });
        for share in shares.collect::<Vec<_>>() {
            share.await.expect("the load does not panic");
        }
        for _ in 0..3 {
            warm(port, &targets[count - AGAIN..], &[]).await;
        }
        let (after, peak) = (mebibytes(pid, "VmRSS"), mebibytes(pid, "VmHWM"));
        let allowed = bytes >> 20;
        let beyond = after.cast_signed() - allowed.cast_signed();
        let entries = node.metric("transom_l1_entries").await;
        println!("| {setting} | {count} | {entries} | {before} | {after} | {beyond} | {peak} |");
    }
}

/// What the kernel says of the memory of a process.
fn mebibytes(pid: u32, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux says");
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    let kibibytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kibibytes.expect("a number of kibibytes") >> 10
}
