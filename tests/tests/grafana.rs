//! Every query of every dashboard, asked of a real Prometheus that scrapes real nodes.

use std::time::Duration;

use serde_json::{Value, json};
use transom_tests::{Node, NodeBuilder, Postgres, Prometheus, Redis, dashboard_queries, eventually, repository};

const OVERVIEW: &str = "grafana/dashboards/transom-overview.json";

/// Two scrapes, so that there is a rate, on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// Of everything that a node counts, a few times a second.
async fn traffic(nodes: [&Node; 2]) {
    for round in 0_u64.. {
        for node in nodes {
            let rest = node.rest();
            for target in ["/airlines?carrier=eq.UA", "/airlines?carrier=eq.UA", "/planes?limit=5"] {
                rest.get(target).send().await.expect_status(200);
            }
            rest.get("/airports?limit=1").header("cache-control", "no-cache").send().await.expect_status(200);
            rest.get("/nothing").send().await.expect_status(404);
            let name = json!({ "name": round.to_string() });
            rest.patch("/airlines?carrier=eq.UA", &name).send().await.expect_status(204);
            node.admin().post("/purge", &json!({ "tables": ["planes"] })).send().await.expect_status(200);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn every_query_of_the_overview_has_an_answer() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    let builder = NodeBuilder::on(&database).redis(&redis).set("feed", "logical");
    let nodes = [builder.start().await, builder.start().await];
    let prometheus = Prometheus::start(&nodes.each_ref().map(Node::admin_address)).await;
    let answered = async {
        for query in dashboard_queries(OVERVIEW) {
            let what = format!("{}: {}", query.panel, query.expression);
            eventually(&what, SOON, async || {
                let samples = prometheus.query(&query.expression).await?;
                if !samples.is_empty() && samples.iter().all(is_finite) { Ok(()) } else { Err(format!("{samples:?}")) }
            })
            .await;
        }
    };
    tokio::select! {
        () = answered => {}
        () = traffic(nodes.each_ref()) => unreachable!("traffic never ends"),
    }
}

/// What Prometheus makes of its configuration and of the rules that it names.
#[test]
fn prometheus_reads_its_configuration_and_the_alerts() {
    let checked = std::process::Command::new("promtool")
        .args(["check", "config", "grafana/prometheus.yml"])
        .current_dir(repository())
        .output()
        .expect("promtool comes with Prometheus");
    let said = String::from_utf8_lossy(&checked.stdout) + String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.contains("3 rules found"), "{said}");
}

#[tokio::test]
async fn alerts_watch_what_a_node_counts() {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).start().await;
    let page = node.admin().get("/metrics").send().await.text();
    let rules = std::fs::read_to_string(repository().join("grafana/alerts.yml")).expect("it is in the repository");
    let words = rules.lines().filter(|line| line.trim_start().starts_with("expr:")).flat_map(|line| {
        line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("transom_"))
    });
    let words: Vec<&str> = words.collect();
    assert!(words.contains(&"transom_audit_stale_total"), "{words:?}");
    for word in words {
        assert!(page.contains(&format!("# TYPE {word} ")), "nothing counts {word}");
    }
}

fn is_finite(sample: &Value) -> bool {
    sample["value"][1].as_str().and_then(|text| text.parse::<f64>().ok()).is_some_and(f64::is_finite)
}

#[tokio::test]
async fn everything_a_node_measures_is_on_a_panel() {
    let database = Postgres::shared().await.database().await;
    let node = NodeBuilder::on(&database).start().await;
    let page = node.admin().get("/metrics").send().await.text();
    let all: String = dashboard_queries(OVERVIEW).into_iter().map(|query| query.expression + "\n").collect();
    let families: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(families.len() > 10, "{page}");
    for family in families {
        assert!(all.contains(family), "{family} is on no panel");
    }
}
