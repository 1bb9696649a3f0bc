//! Shared state: three nodes around one Redis and one Postgres, and what goes wrong with them.

mod access;
mod channels;
mod distinct;
mod documented;
mod lock_faults;
mod locks;
mod migrations;
mod permissions;
mod rates;
mod sockets;
mod structures;
mod session_faults;
mod user_faults;
mod users;
mod sessions;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use transom_tests::{Database, Folder, Http, Node, NodeBuilder, Process, Redis, Request, Response, Signal, binary};

const KEY: &str = "a-key-of-the-tests-that-is-long-enough";
const SOON: Duration = Duration::from_secs(20);

/// Patient with a busy machine: a Redis that is late would be a Redis that is away.
fn builder(database: &Database, redis: &Redis) -> NodeBuilder {
    let builder = NodeBuilder::on(database).redis(redis).set("state_service_key", KEY);
    builder.set("redis_timeout", "5s").set("request_deadline", "60s")
}

async fn three(builder: &NodeBuilder) -> [Node; 3] {
    [builder.start().await, builder.start().await, builder.start().await]
}

/// Shared state at a node.
fn at(port: u16) -> Http {
    Http::new(format!("http://127.0.0.1:{port}/state/v1"))
}

/// As a service.
fn keyed(request: Request) -> Request {
    request.header("transom-service-key", KEY)
}

async fn post(node: &Node, target: &str, body: &Value) -> Response {
    keyed(at(node.port()).post(target, body)).send().await
}

/// What `transom setup` says of this database.
fn setup(database: &Database, flags: &[&str]) -> Result<String, String> {
    let output = Command::new(binary()).arg("setup").args(flags).env("DATABASE_URL", database.url()).output();
    let output = output.expect("it is built");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
}

/// An example of the library as a process, with its folder.
fn example(name: &str, arguments: &[&str]) -> (Process, Folder) {
    let program: PathBuf = binary().with_file_name("examples").join(name);
    assert!(program.exists(), "{} is missing: cargo build -p cache-core --examples", program.display());
    let folder = Folder::new(name);
    let mut command = Command::new(program);
    command.args(arguments);
    (Process::start(name, command, &folder, Signal::Kill), folder)
}
