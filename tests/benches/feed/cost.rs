//! What the feed costs Postgres: transactions per second of `pgbench` and bytes of its log, beside the same without a node.

use std::process::Output;

use transom_tests::bench::median;
use transom_tests::{Database, NodeBuilder, Postgres, Redis, postgres_program, unprivileged};

const ROUNDS: usize = 5;
const SECONDS: &str = "10";
const SCALE: &str = "10";

/// What one round brought.
struct Round {
    tps: f64,
    log_bytes: f64,
}

pub(super) async fn measure() {
    println!("## What the feed costs Postgres\n");
    println!("`pgbench -N -c 4 -j 1 -T {SECONDS}`, scale {SCALE}, {ROUNDS} rounds each in turn; medians.\n");
    let postgres = Postgres::own().await;
    let database = postgres.database().await;
    let redis = Redis::start().await;
    pgbench(&postgres, &database, &["-i", "-q", "-s", SCALE]);
    database.execute("grant select on all tables in schema public to web_anon").await;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(round(&postgres, &database).await);
        let node = NodeBuilder::on(&database)
            .redis(&redis)
            .unset("redis_timeout")
            .set("feed", "logical")
            .start_process()
            .await;
        with.push(round(&postgres, &database).await);
        drop(node);
        // The slot keeps the log, and would make the next round pay for this one.
        database.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active").await;
    }
    let tps = |rounds: &[Round]| median(rounds.iter().map(|round| round.tps).collect());
    let bytes = |rounds: &[Round]| median(rounds.iter().map(|round| round.log_bytes).collect());
    println!("| | transactions/s | ratio | log bytes per transaction |\n|---|--:|--:|--:|");
    println!("| no node | {:.0} | 1.00 | {:.0} |", tps(&without), bytes(&without));
    println!("| a node that leads | {:.0} | {:.2} | {:.0} |\n", tps(&with), tps(&with) / tps(&without), bytes(&with));
}

async fn round(postgres: &Postgres, database: &Database) -> Round {
    let before = log_position(database).await;
    let output = pgbench(postgres, database, &["-N", "-c", "4", "-j", "1", "-T", SECONDS]);
    let after = log_position(database).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let figure = |label: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(label));
        let word = line.and_then(|rest| rest.split_whitespace().next());
        word.and_then(|word| word.split('/').next()?.parse().ok()).unwrap_or_else(|| panic!("no {label:?} in {text}"))
    };
    let transactions = figure("number of transactions actually processed: ");
    Round { tps: figure("tps = "), log_bytes: (after - before) / transactions }
}

async fn log_position(database: &Database) -> f64 {
    let position = database.value("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')").await;
    position.and_then(|bytes| bytes.parse().ok()).expect("a number")
}

fn pgbench(postgres: &Postgres, database: &Database, args: &[&str]) -> Output {
    let mut command = unprivileged(postgres_program("pgbench"));
    command
        .args(["-h", "127.0.0.1", "-U", "postgres", "-p", &postgres.port().to_string()])
        .args(args)
        .arg(database.name());
    let output = command.output().expect("pgbench is installed with the server");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}
