//! `transom demo` as a newcomer meets it: no server to install, three lines to try, and they show what they promise.
//!
//! A binary of its own because it needs the cargo feature `embedded`, which the other suites must do without.

use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tokio_postgres::NoTls;
use transom_tests::{Folder, Http, Process, Signal, binary, eventually, free_port};

/// The first start unpacks Postgres into the user's cache folder.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// Milliseconds, as a rule.
const SEEN_WITHIN: Duration = Duration::from_secs(20);

struct Demo {
    process: Process,
    rest: Http,
    _folder: Folder,
}

impl Demo {
    async fn start(path: &str) -> Self {
        let (listen, admin) = (free_port(), free_port());
        let folder = Folder::new("demo");
        let mut command = Command::new(binary());
        command.arg("demo").env("PATH", path);
        command.env("TRANSOM_LISTEN", format!("127.0.0.1:{listen}"));
        command.env("TRANSOM_ADMIN_LISTEN", format!("127.0.0.1:{admin}"));
        let process = Process::start("demo", command, &folder, Signal::Kill);
        let ready = Http::new(format!("http://127.0.0.1:{admin}"));
        eventually("the demo is ready", STARTS_WITHIN, async || match ready.get("/readyz").try_send().await {
            Ok(answer) if answer.status == 200 => Ok(()),
            _ => Err(process.log()),
        })
        .await;
        Self { process, rest: Http::new(format!("http://127.0.0.1:{listen}/rest/v1")), _folder: folder }
    }

    async fn shows_a_miss_a_hit_and_a_write_at_once(&self) {
        let first = self.rest.get("/airlines?carrier=eq.UA").send().await.expect_status(200);
        assert!(first.header("cache-status").starts_with("transom; fwd=uri-miss; stored"), "{first:?}");
        let second = self.rest.get("/airlines?carrier=eq.UA").send().await;
        assert!(second.header("cache-status").starts_with("transom; hit; detail=l1"), "{second:?}");
        let written = self.rest.patch("/airlines?carrier=eq.UA", &json!({ "name": "Untied" })).send().await;
        assert!(!written.expect_status(204).header("transom-token").is_empty());
        let third = self.rest.get("/airlines?carrier=eq.UA").send().await;
        assert_eq!(third.json()[0]["name"], "Untied");
    }

    async fn says_three_curl_lines(&self) {
        eventually("three curl lines", Duration::from_secs(5), async || {
            let log = self.process.log();
            let lines = log.lines().filter(|line| line.trim_start().starts_with("curl ")).count();
            if lines >= 3 { Ok(()) } else { Err(log) }
        })
        .await;
    }

    /// The line that is worth trying, as it stands.
    async fn runs_its_psql_line(&self) {
        let hint = eventually("a line for psql", Duration::from_secs(5), async || {
            let log = self.process.log();
            log.lines().map(str::trim_start).find(|line| line.starts_with("psql ")).map(str::to_owned).ok_or(log)
        })
        .await;
        let output = Command::new("sh").args(["-c", &hint]).output().expect("there is a shell");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("UPDATE 1") && said.contains("200 OK"), "{hint}: {output:?}");
    }

    async fn by_sql(&self, sql: &str) {
        let log = self.process.log();
        let url = log.split("psql '").nth(1).and_then(|rest| rest.split('\'').next()).expect("it was said");
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("sessions take turns");
        tokio::spawn(connection);
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// And leaves alone what was read of other rows.
    async fn sees_a_change_by_sql(&self) {
        const OTHER: &str = "/airlines?carrier=eq.AA";
        // Once this is seen, everything that came before it was announced.
        self.renames("First").await;
        self.is_a_hit(OTHER, |_| {}).await;
        self.renames("Second").await;
        self.is_a_hit(OTHER, |status| assert!(!status.contains("incoherent"), "its row did not change: {status}"))
            .await;
    }

    async fn renames(&self, name: &str) {
        self.by_sql(&format!("update airlines set name = '{name}' where carrier = 'UA'")).await;
        eventually("the row as SQL left it", SEEN_WITHIN, async || {
            let row = self.rest.get("/airlines?carrier=eq.UA").send().await;
            if row.json()[0]["name"] == name { Ok(()) } else { Err(format!("{row:?}")) }
        })
        .await;
    }

    /// Sooner or later: on a busy machine the node cannot prove at every moment that it heard everything.
    async fn is_a_hit(&self, path: &str, judge: impl Fn(&str)) {
        eventually("a hit", SEEN_WITHIN, async || {
            let answer = self.rest.get(path).send().await;
            let status = answer.header("cache-status");
            judge(status);
            if status.starts_with("transom; hit") { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
    }

    async fn notices_a_definition_by_sql(&self) {
        self.by_sql("create table notes (id int primary key); grant select on notes to web_anon").await;
        eventually("the new table", SEEN_WITHIN, async || {
            let answer = self.rest.get("/notes").send().await;
            if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
    }

    async fn ends_in_good_order(mut self) {
        self.process.signal(Signal::Int);
        let status = self.process.ended(Duration::from_secs(10)).await;
        assert_eq!(status.code(), Some(0), "{}", self.process.log());
    }
}

#[tokio::test]
async fn with_redis_on_the_path_the_demo_has_an_l2() {
    let demo = Demo::start(&std::env::var("PATH").unwrap()).await;
    assert!(demo.process.log().contains("private redis-server as L2"), "{}", demo.process.log());
    demo.shows_a_miss_a_hit_and_a_write_at_once().await;
    demo.says_three_curl_lines().await;
    demo.runs_its_psql_line().await;
    demo.sees_a_change_by_sql().await;
    demo.notices_a_definition_by_sql().await;
    demo.ends_in_good_order().await;
}

#[tokio::test]
async fn without_redis_the_demo_says_that_it_is_l1_only() {
    let demo = Demo::start("/nowhere").await;
    assert!(demo.process.log().contains("L1 only"), "{}", demo.process.log());
    demo.shows_a_miss_a_hit_and_a_write_at_once().await;
    demo.sees_a_change_by_sql().await;
    demo.ends_in_good_order().await;
}

#[test]
fn the_normal_build_has_no_postgres_in_it() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tree = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "-p", "transom", "-e", "normal", "--prefix", "none"])
        .current_dir(transom_tests::repository())
        .output()
        .unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("tokio-postgres"), "cargo tree said nothing");
    assert!(!tree.contains("pglite") && !tree.contains("wasmer"), "{tree}");
}
