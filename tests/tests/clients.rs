//! The official clients, in their own words: see `tests/clients`.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use tokio::process::Command;
use transom_tests::{Database, Node, NodeBuilder, Postgres, repository};

const SECRET: &str = "a secret of the tests, which is long enough for HS256";

async fn node() -> (Database, Node) {
    let database = Postgres::shared().await.database().await;
    database.execute(include_str!("oracle/schema.sql")).await;
    let node = NodeBuilder::on(&database).set("db_schemas", "shop,odd,public").set("jwt_secret", SECRET).start().await;
    (database, node)
}

/// The key of the anonymous role, as projects on Supabase have it.
fn anonymous_key() -> String {
    let claims = serde_json::json!({ "role": "web_anon", "iss": "supabase" });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), &claims, &key).expect("the key fits the algorithm")
}

async fn succeeds(program: &str, script: &str, arguments: &[&str]) {
    let tools = repository().join("target/tools");
    let folder = tools.join(script.split('/').next().expect("a folder comes first"));
    assert!(folder.exists(), "{} is missing: run tests/install", folder.display());
    let mut command = Command::new(program);
    command.arg(repository().join("tests/clients").join(script)).args(arguments).kill_on_drop(true);
    command.env("TRANSOM_CLIENTS", &folder).env("PYTHONPATH", &folder).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().await.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn postgrest_js_gets_what_it_asks_for_from_postgres_and_from_memory() {
    let (_database, node) = node().await;
    let url = format!("http://127.0.0.1:{}", node.port());
    succeeds("node", "js/client.mjs", &["postgrest-js", &url, ""]).await;
}

#[tokio::test]
async fn supabase_js_gets_what_it_asks_for_from_postgres_and_from_memory() {
    let (_database, node) = node().await;
    let url = format!("http://127.0.0.1:{}", node.port());
    succeeds("node", "js/client.mjs", &["supabase-js", &url, &anonymous_key()]).await;
}

#[tokio::test]
async fn postgrest_py_gets_what_it_asks_for_from_postgres_and_from_memory() {
    let (_database, node) = node().await;
    let url = format!("http://127.0.0.1:{}", node.port());
    succeeds("python3", "python/client.py", &[&url]).await;
}
