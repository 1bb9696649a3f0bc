//! Commands as a user meets them: what they say, and how they end.

use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use transom_tests::{Database, Folder, Lease, NodeBuilder, Postgres, Redis, Signal, binary, eventually, free_port};

const SOON: Duration = Duration::from_secs(10);

/// What a command said, and with which code it ended.
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Said {
    #[track_caller]
    fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }

    /// That every one of these parts is in what was said, on either stream.
    #[track_caller]
    fn says(self, parts: &[&str]) -> Self {
        let all = format!("{}{}", self.stdout, self.stderr);
        for part in parts {
            assert!(all.contains(part), "{part:?} is missing in: {all}");
        }
        self
    }
}

fn transom(arguments: &[&str], environment: &[(&str, &str)]) -> Said {
    let mut command = Command::new(binary());
    // Whatever is set where the tests run is no business of theirs.
    command.env_clear().args(arguments).envs(environment.iter().copied());
    let Output { status, stdout, stderr } = command.output().expect("the binary was just built");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it speaks UTF-8");
    Said { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// A `serve` that is expected to fail: on free ports, and without patience for Postgres.
fn serve(url: &str, more: &[(&str, &str)]) -> Said {
    let environment = [
        ("DATABASE_URL", url),
        ("TRANSOM_LISTEN", "127.0.0.1:0"),
        ("TRANSOM_ADMIN_LISTEN", "127.0.0.1:0"),
        ("TRANSOM_DB_ANON_ROLE", "web_anon"),
        ("TRANSOM_STARTUP_RETRIES", "0"),
    ];
    let kept = environment.into_iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
    transom(&["serve"], &kept.chain(more.iter().copied()).collect::<Vec<_>>())
}

fn check(database: &Database, more: &[(&str, &str)]) -> Said {
    let url = database.url();
    let environment = [("DATABASE_URL", url.as_str()), ("TRANSOM_DB_ANON_ROLE", "web_anon")];
    let kept = environment.into_iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
    transom(&["check"], &kept.chain(more.iter().copied()).collect::<Vec<_>>())
}

#[test]
fn help_is_help_and_wrong_usage_is_an_error() {
    let help = transom(&["--help"], &[]).ends_with(0).says(&["serve", "check", "purge", "demo", "DATABASE_URL"]);
    assert!(help.stderr.is_empty(), "{}", help.stderr);
    transom(&["serve", "--help"], &[]).ends_with(0).says(&["--max-staleness", "TRANSOM_MAX_STALENESS", "default: 1s"]);
    transom(&["purge", "--help"], &[]).ends_with(0).says(&["--table", "--admin", "--soft"]);

    transom(&[], &[]).ends_with(2).says(&["serve"]);
    let wrong = transom(&["serve", "--max-stalenes", "1s"], &[]).ends_with(2);
    assert!(wrong.stdout.is_empty());
    wrong.says(&["--max-stalenes", "--max-staleness"]);
    transom(&["sevre"], &[]).ends_with(2).says(&["sevre", "serve"]);
    transom(&["purge"], &[]).ends_with(2).says(&["--table", "--all"]);
    transom(&["purge", "--all", "--admin", "https://host"], &[]).ends_with(2).says(&["http://127.0.0.1:8001"]);
}

#[test]
fn a_wrong_value_is_said_with_its_source_and_remedy() {
    let url = ("DATABASE_URL", "postgres://h/d");
    let remedy = ["setting `max_staleness`", "\"soon\" is not a duration", "write for example 500ms, 1s or 5m"];
    let at_all = |source: &'static str| remedy.into_iter().chain([source]).collect::<Vec<_>>();
    for command in ["serve", "check"] {
        transom(&[command, "--max-staleness", "soon"], &[url]).ends_with(2).says(&at_all("--max-staleness"));
        let variable = ("TRANSOM_MAX_STALENESS", "soon");
        transom(&[command], &[url, variable]).ends_with(2).says(&at_all("TRANSOM_MAX_STALENESS"));
        let folder = Folder::new("config");
        let file = folder.write("transom.toml", "listen = \"127.0.0.1:0\"\nmax_staleness = \"soon\"\n");
        let file = file.to_str().unwrap();
        transom(&[command, "--config", file], &[url]).ends_with(2).says(&at_all("transom.toml"));
        transom(&[command], &[url, ("TRANSOM_CONFIG", file)]).ends_with(2).says(&at_all("transom.toml"));
    }
    let ttl = ("CACHE_TTL_SECONDS", "1h");
    transom(&["serve"], &[url, ttl]).ends_with(2).says(&["setting `cache_ttl_seconds`", "CACHE_TTL_SECONDS", "1h"]);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let folder = Folder::new("config");
    let file = folder.write("transom.toml", "max_stalenes = \"1s\"\n");
    let arguments = ["serve", "--config", file.to_str().unwrap(), "--db-pool-max", "0"];
    transom(&arguments, &[("REDIS_URL", "http://cache")]).ends_with(2).says(&[
        "max_stalenes",
        "max_staleness",
        "setting `db_pool_max`",
        "setting `redis_url`",
        "setting `database_url` is missing",
        "DATABASE_URL",
    ]);
    transom(&["serve", "--config", "/nowhere.toml"], &[]).ends_with(2).says(&["/nowhere.toml", "No such file"]);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_setting() {
    let database = Postgres::shared().await.database().await;
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    for (variable, setting) in [("TRANSOM_LISTEN", "`listen`"), ("TRANSOM_ADMIN_LISTEN", "`admin_listen`")] {
        let parts = ["setting ", setting, &taken, "Address already in use", "choose another port"];
        serve(&database.url(), &[(variable, &taken)]).ends_with(1).says(&parts);
    }
}

#[test]
fn an_unreachable_postgres_is_tried_as_often_as_configured() {
    let url = format!("postgres://app:s3cret@127.0.0.1:{}/app", free_port());
    let patience = [("TRANSOM_STARTUP_RETRIES", "2"), ("TRANSOM_STARTUP_RETRY_WAIT", "30ms")];
    let said = serve(&url, &patience).ends_with(1).says(&[
        "setting `database_url`",
        "after 3 attempts",
        "refused",
        "startup_retries",
    ]);
    assert_eq!(said.stderr.matches("trying again").count(), 2, "{}", said.stderr);
    assert!(said.stderr.contains("30ms"), "{}", said.stderr);
    assert!(!said.stderr.contains("s3cret"), "{}", said.stderr);
}

#[tokio::test]
async fn what_postgres_refuses_is_said_in_its_words() {
    let postgres = Postgres::own().await;
    let admin = postgres.admin().await;
    admin.batch_execute("create role locked login password 'right'").await.unwrap();
    let hba = postgres.data().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("host all locked samehost scram-sha-256\n{rules}")).unwrap();
    admin.batch_execute("select pg_reload_conf()").await.unwrap();

    let place = format!("127.0.0.1:{}", postgres.port());
    let cases = [
        (format!("postgres://postgres@{place}/nothing"), "database \"nothing\" does not exist"),
        (format!("postgres://nobody@{place}/postgres"), "role \"nobody\" does not exist"),
        (format!("postgres://locked:wrong@{place}/postgres"), "password authentication failed for user \"locked\""),
    ];
    for (url, why) in cases {
        serve(&url, &[]).ends_with(1).says(&["setting `database_url`", why]);
        let said = transom(&["check"], &[("DATABASE_URL", &url)]).ends_with(1).says(&["FAIL", "database_url", why]);
        assert!(!format!("{}{}", said.stdout, said.stderr).contains("wrong"), "{}", said.stdout);
    }
}

#[tokio::test]
async fn a_role_or_schema_that_does_not_fit_stops_the_start() {
    let database = Postgres::shared().await.database().await;
    let name = format!("{}_login", database.name());
    database.execute(&format!("create role {name} login; create role {name}_other nologin")).await;
    let other = format!("{name}_other");
    let login = database.url().replace("postgres@", &format!("{name}@"));

    let missing = [("TRANSOM_DB_ANON_ROLE", "nobody")];
    let parts = ["setting `db_anon_role`", "role \"nobody\" does not exist", "correct the setting"];
    serve(&database.url(), &missing).ends_with(1).says(&parts);
    check(&database, &missing).ends_with(1).says(&["FAIL", "db_anon_role", "role \"nobody\" does not exist"]);

    let not_granted = [("DATABASE_URL", login.as_str()), ("TRANSOM_DB_ANON_ROLE", &other)];
    serve(&login, &not_granted).ends_with(1).says(&["setting `db_anon_role`", "permission denied", "grant"]);
    check(&database, &not_granted).ends_with(1).says(&["FAIL", "permission denied", "grant"]);

    let no_schema = [("TRANSOM_DB_SCHEMAS", "public,api")];
    serve(&database.url(), &no_schema).ends_with(1).says(&["setting `db_schemas`", "no schema \"api\"", "create it"]);
    check(&database, &no_schema).ends_with(1).says(&["FAIL", "api does not exist", "correct db_schemas"]);
    database.execute(&format!("drop role {name}; drop role {other}")).await;
}

#[tokio::test]
async fn check_finds_a_sound_setup_sound() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let url = redis.url();
    let said = check(&database, &[("REDIS_URL", &url)]).ends_with(0);
    assert!(!said.stdout.contains("FAIL"), "{}", said.stdout);
    said.says(&["may become web_anon", "5 of 5 tables and views readable", "redis"])
        .says(&["public.airlines key", "ALTER TABLE \"public\".\"airlines\" REPLICA IDENTITY FULL"]);

    check(&database, &[]).ends_with(0).says(&["warn", "L1 only", "redis_url"]);
    let nowhere = format!("redis://127.0.0.1:{}", free_port());
    check(&database, &[("REDIS_URL", &nowhere)]).ends_with(1).says(&["FAIL", "redis_url", "refused"]);
}

/// What README says that a Redis user needs.
const REDIS_RULES: &str =
    "~transom:* ~{transom:* &transom:* &{transom:* +@read +@write +@pubsub +@scripting +@connection +info +time";

#[tokio::test]
async fn the_redis_user_of_the_readme_suffices() {
    assert!(include_str!("../../README.md").contains(REDIS_RULES), "README says something else");
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    database.execute("grant update on airlines to web_anon").await;
    let rules = REDIS_RULES.split(' ');
    let user: Vec<&str> = ["ACL", "SETUSER", "transom", "on", ">secret"].into_iter().chain(rules).collect();
    redis.command(&user).await.unwrap();
    let url = format!("redis://transom:secret@127.0.0.1:{}", redis.port());
    check(&database, &[("REDIS_URL", &url)]).ends_with(0).says(&["redis reads", "redis stores", "redis pub/sub"]);
    let builder = NodeBuilder::on(&database).set("redis_url", url).set("feed", "logical");
    let nodes = [builder.start().await, builder.start().await];
    for node in &nodes {
        node.until_lease(Lease::Held).await;
    }
    let target = "/airlines?carrier=eq.UA";
    eventually("a peer's answer", SOON, async || {
        nodes[0].rest().patch(target, &json!({ "name": "Untied" })).send().await.expect_status(204);
        nodes[0].rest().get(target).send().await.expect_status(200);
        let answer = nodes[1].rest().get(target).send().await.expect_status(200);
        let status = answer.header("cache-status").to_owned();
        if status.contains("detail=l2") { Ok(()) } else { Err(status) }
    })
    .await;
}

/// Reads share commands under load, so this user would be refused then and not before.
#[tokio::test]
async fn check_finds_what_a_redis_user_may_not_do() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let url = format!("redis://reader:secret@127.0.0.1:{}", redis.port());
    for (refused, what) in [("-mget", "redis reads"), ("-set", "redis stores"), ("-eval", "redis scripts")] {
        let user = ["ACL", "SETUSER", "reader", "reset", "on", ">secret", "~*", "&*", "+@all", refused];
        redis.command(&user).await.unwrap();
        check(&database, &[("REDIS_URL", &url)]).ends_with(1).says(&["FAIL", what, "NOPERM", "allow"]);
    }
    redis.command(&["ACL", "SETUSER", "reader", "+@all"]).await.unwrap();
    check(&database, &[("REDIS_URL", &url)]).ends_with(0).says(&["redis reads", "redis stores"]);
}

#[tokio::test]
async fn purge_reaches_a_node_and_says_so_if_there_is_none() {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).start().await;
    let admin = format!("http://{}", node.admin_address());
    let united = "/airlines?carrier=eq.UA";
    let is_hit = async || {
        node.rest().get(united).send().await.expect_status(200).header("cache-status").starts_with("transom; hit")
    };
    let url = format!("/rest/v1{united}");
    for what in [vec!["--all"], vec!["--table", "airlines"], vec!["--url", &url], vec!["--tag", "public.airlines(*)"]] {
        is_hit().await;
        assert!(is_hit().await);
        let arguments = [vec!["purge", "--admin", &admin], what.clone()].concat();
        // The node lives in this process: the command must not keep its thread.
        let run = tokio::task::spawn_blocking({
            let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
            move || transom(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[])
        });
        run.await.unwrap().ends_with(0).says(&["\"purged\": true"]);
        assert!(!is_hit().await, "{what:?}");
    }
    let nowhere = format!("127.0.0.1:{}", free_port());
    transom(&["purge", "--all", "--admin", &nowhere], &[]).ends_with(1).says(&["no node listens at", &nowhere]);
}

#[tokio::test]
async fn every_line_of_a_json_log_is_json_and_names_the_request() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let builder = NodeBuilder::on(&database).redis(&redis).set("log_format", "json").set("log_level", "debug");
    let mut node = builder.start_process().await;
    let id = "the-id-of-this-request";
    let read = node.rest().get("/airlines?carrier=eq.UA").header("x-request-id", id).send().await.expect_status(200);
    assert_eq!(read.header("x-request-id"), id);
    let named = node.rest().get("/nothing").send().await.expect_status(404).header("x-request-id").to_owned();
    assert!(!named.is_empty());
    node.process().signal(Signal::Term);
    assert_eq!(node.process().ended(SOON).await.code(), Some(0));
    let events = events(&node.log());
    let event = |id: &str| events.iter().find(|event| event["id"] == id).unwrap_or_else(|| panic!("{id} is missing"));
    assert_eq!(event(id)["status"], 200);
    assert_eq!(event(id)["outcome"], "miss");
    assert_eq!(event(id)["uri"], "/rest/v1/airlines?carrier=eq.UA");
    assert_eq!(event(&named)["status"], 404);

    // The last words of a node that does not start are an event as well.
    let failed = serve(&database.url(), &[("TRANSOM_DB_ANON_ROLE", "nobody"), ("TRANSOM_LOG_FORMAT", "json")]);
    let last = self::events(&failed.ends_with(1).stderr).pop().expect("it says why");
    assert_eq!(last["level"], "ERROR");
    assert!(last["message"].as_str().unwrap().contains("db_anon_role"), "{last}");
}

fn events(log: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
    log.lines().map(parse).collect()
}

#[tokio::test]
async fn a_node_that_became_ready_says_where_it_listens() {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).start_process().await;
    let address = format!("listen=127.0.0.1:{}", node.port());
    eventually("it says so", SOON, async || {
        let log = node.log();
        if log.contains("ready") && log.contains(&address) { Ok(()) } else { Err(log) }
    })
    .await;
}
