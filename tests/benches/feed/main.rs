//! The change feed, with real servers: how soon a commit is seen, how much it keeps up with, what it costs, how exact it is.
//!
//! `cargo build --release -p transom && cargo bench -p transom-tests --bench feed [-- latency throughput cost precision]`

mod cost;
mod latency;
mod precision;
mod throughput;
mod world;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|word| word == part);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        if wants("latency") {
            latency::measure().await;
        }
        if wants("throughput") {
            throughput::measure().await;
        }
        if wants("cost") {
            cost::measure().await;
        }
        if wants("precision") {
            precision::measure().await;
        }
    });
}
