//! The harness tests itself: a harness that lies makes every other suite worthless.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use transom_tests::{Folder, Postgres, Redis, Reply, eventually};

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn each_database_is_a_private_copy_of_the_sample() {
    let postgres = Postgres::shared().await;
    let (one, two) = (postgres.database().await, postgres.database().await);
    one.execute("delete from flights where id > 10").await;
    assert_eq!(one.value("select count(*) from flights").await.as_deref(), Some("10"));
    assert_eq!(two.value("select count(*) from flights").await.as_deref(), Some("6099"));
    assert_eq!(two.value("select max(id) from flights").await.as_deref(), Some("6099"));
    assert_eq!(
        two.value("set role web_anon; select name from airlines where carrier = 'UA'").await.as_deref(),
        Some("United Air Lines Inc.")
    );
}

#[tokio::test]
async fn calls_counts_what_this_database_ran() {
    let database = Postgres::shared().await.database().await;
    assert_eq!(database.calls("%from planes%").await, 0);
    database.execute("select 1 from planes limit 1").await;
    database.execute("select 2 from planes limit 3").await;
    assert_eq!(database.calls("%from planes%").await, 2);
}

#[tokio::test]
async fn a_dropped_database_takes_its_replication_slots_along() {
    let postgres = Postgres::shared().await;
    let other = postgres.database().await;
    let database = postgres.database().await;
    let name = database.name().to_owned();
    database.execute("select pg_create_logical_replication_slot('kept', 'pgoutput')").await;
    let exists = format!("select 1 from pg_database where datname = '{name}'");
    assert!(other.value(&exists).await.is_some());
    drop(database);
    assert_eq!(other.value(&exists).await, None);
    assert_eq!(other.value("select 1 from pg_replication_slots where slot_name = 'kept'").await, None);
}

#[tokio::test]
async fn a_cluster_of_its_own_stops_crashes_pauses_and_comes_back() {
    let mut postgres = Postgres::own().await;
    let database = postgres.database().await;
    let client = database.client().await;
    postgres.pause();
    tokio::time::timeout(Duration::from_millis(200), client.simple_query("select 1")).await.expect_err("it is frozen");
    postgres.resume();
    client.simple_query("select 1").await.expect("it goes on");

    database.execute("update airlines set name = 'kept' where carrier = 'UA'").await;
    postgres.crash().await;
    client.simple_query("select 1").await.expect_err("the session is gone");
    postgres.start().await;
    assert_eq!(database.value("select name from airlines where carrier = 'UA'").await.as_deref(), Some("kept"));
    postgres.stop().await;
    postgres.start().await;
    assert_eq!(database.value("select 1").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn redis_forgets_or_keeps_as_told() {
    let mut redis = Redis::builder().persistent().start().await;
    redis.command(&["SET", "a", "1"]).await.unwrap();
    redis.restart().await;
    assert_eq!(redis.command(&["GET", "a"]).await.unwrap(), Reply::Bulk(b"1".to_vec()));
    redis.kill();
    redis.command(&["PING"]).await.expect_err("it was killed");
    redis.restart_empty().await;
    assert_eq!(redis.command(&["GET", "a"]).await.unwrap(), Reply::Nil);
}

#[tokio::test]
async fn redis_freezes_and_goes_on() {
    let redis = Redis::start().await;
    redis.pause();
    tokio::time::timeout(Duration::from_millis(200), redis.command(&["PING"])).await.expect_err("it is frozen");
    redis.resume();
    eventually("redis answers again", SOON, async || redis.command(&["PING"]).await).await;
    assert_eq!(redis.kill_pubsub_clients().await, 0);
}

#[tokio::test]
async fn a_panic_leaves_nothing_behind() {
    let test = tokio::spawn(async {
        let redis = Redis::start().await;
        let info = redis.info("server").await;
        let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().to_owned();
        std::panic::panic_any(pid);
    });
    let pid = *test.await.unwrap_err().into_panic().downcast::<String>().unwrap();
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "redis {pid} still runs");
}

/// The watcher must do its work when nobody drops anything: a shell plays the server, a second copy of this test binary
/// plays the test process that is killed.
#[tokio::test]
async fn a_killed_test_process_leaves_nothing_behind() {
    let folder = Folder::new("killed");
    let note = folder.path().join("note");
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "harness::victim_of_a_kill", "--ignored", "--nocapture"])
        .env("TRANSOM_TEST_NOTE", &note)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let said = eventually("the victim has a redis", Duration::from_secs(30), async || {
        std::fs::read_to_string(&note).ok().filter(|text| text.ends_with('\n'))
    })
    .await;
    let (pid, path) = said.trim_end().split_once(' ').unwrap();
    assert!(Path::new(path).exists());
    victim.kill().unwrap();
    victim.wait().unwrap();
    eventually("its redis is gone", SOON, async || !redis_runs(pid)).await;
    eventually("its folder is gone", SOON, async || !Path::new(path).exists()).await;
}

/// A process that nobody waits for stays in the table as a zombie where process 1 does not reap.
fn redis_runs(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
#[ignore = "played by a_killed_test_process_leaves_nothing_behind"]
async fn victim_of_a_kill() {
    let Some(note) = std::env::var_os("TRANSOM_TEST_NOTE") else { return };
    let redis = Redis::start().await;
    let info = redis.info("server").await;
    let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap();
    let Some(Reply::Bulk(folder)) = (match redis.command(&["CONFIG", "GET", "dir"]).await.unwrap() {
        Reply::Array(pair) => pair.into_iter().nth(1),
        _ => None,
    }) else {
        panic!("redis does not say where it works")
    };
    std::fs::write(note, format!("{pid} {}\n", String::from_utf8(folder).unwrap())).unwrap();
    std::future::pending::<()>().await;
}
