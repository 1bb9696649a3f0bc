//! A hit beside what is as fast as a server can be, and beside other caches. Everything is started here, on private ports
//! in temporary folders; the servers take turns within each round, and all have one core, while the load has another.
//!
//! `cargo build --release -p transom && cargo bench -p transom-tests --bench speed [-- hot zipf ..]`
//!
//! It needs Debian's packages `wrk`, `nghttp2-client`, `nginx-light`, `varnish`, `haproxy`, `trafficserver` and `redis-tools`,
//! and says which of them are missing.

mod bare;
mod l2;
mod load;
mod memory;
mod mixed;
mod nodes;
mod peers;
mod resident;
mod scenario;
mod server;
mod startup;
mod table;
mod world;

use std::process::ExitCode;

use mimalloc::MiMalloc;
use world::World;

/// As in the program that is measured.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if let [first, port, answer] = &arguments[..]
        && first == bare::NAME
    {
        bare::serve(port, answer);
    }
    let known: Vec<&str> = scenario::ALL
        .iter()
        .map(|scenario| scenario.name)
        .chain(["l2", "memory", "mixed", "nodes", "resident", "startup"])
        .collect();
    if let Some(unknown) = arguments.iter().find(|name| !known.contains(&name.as_str())) {
        eprintln!("there is no scenario {unknown}; there are {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    let wants = |name: &str| arguments.is_empty() || arguments.iter().any(|wanted| wanted == name);
    let missing = peers::missing();
    if !missing.is_empty() {
        eprintln!("not installed, so not compared: apt-get install {}", missing.join(" "));
    }
    if wants("memory") {
        memory::measure();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let hits: Vec<_> = scenario::ALL.iter().filter(|scenario| wants(scenario.name)).collect();
        if !hits.is_empty() || wants("l2") || wants("resident") {
            let mut world = World::start().await;
            table::measure(hits, &mut world).await;
            if wants("l2") {
                l2::measure(&world).await;
            }
            if wants("resident") {
                resident::measure(&world).await;
            }
        }
        if wants("mixed") {
            mixed::measure().await;
        }
        if wants("nodes") {
            nodes::measure().await;
        }
        if wants("startup") {
            startup::measure().await;
        }
    });
    ExitCode::SUCCESS
}
