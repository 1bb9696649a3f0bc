//! Many rows, many templates, many readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use transom_tests::{Node, Postgres, Redis};

use super::stage::Stage;

const COUNTED: &str = "
    create table counters (id int primary key, kind int, n int); alter table counters replica identity full;
    insert into counters select n, n % 10, 0 from generate_series(1, 100000) n;
    create index on counters (kind);
    grant select on counters to web_anon";
const NEUTRAL: &str = "update counters set n = n + 1 where id = 100000";

#[tokio::test]
async fn a_bulk_update_and_a_truncate_are_seen_by_all() {
    let database = Postgres::shared().await.database().await;
    let (one, other, missing) = ("/counters?id=eq.1", "/counters?id=eq.2", "/counters?id=eq.200000");
    let stage = Stage::set(&database, None, 1, COUNTED, NEUTRAL, &[one, other, missing]).await;
    stage.change("update counters set n = 1 where id = 1", &[one]).await;
    // More rows than tags are counted: the table as a whole.
    stage.change("update counters set n = 2", &[one, other, missing]).await;
    // Many small ones are no large one.
    let small = "do $$ begin for i in 10..4999 loop update counters set n = 3 where id = i; commit; end loop; end $$";
    stage.change(small, &[]).await;
    stage.change("truncate counters", &[one, other, missing]).await;
}

#[tokio::test]
async fn rows_that_are_only_read_are_always_hit_while_the_others_are_written() {
    let database = Postgres::shared().await.database().await;
    let redis = Redis::start().await;
    // Read are the even ones, and the lists of even kinds; written are the odd ones.
    let mut targets: Vec<String> = (1..=20).map(|n| format!("/counters?id=eq.{}", 2 * n)).collect();
    targets.extend((0..5).map(|n| format!("/counters?kind=eq.{}&id=lt.100&order=id", 2 * n)));
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let stage = Stage::set(&database, Some(&redis), 2, COUNTED, NEUTRAL, &targets).await;
    stage.warm().await;
    let before = misses(&stage.nodes).await;
    let (stop, client) = (Arc::new(AtomicBool::new(false)), database.client().await);
    let writer = tokio::spawn({
        let stop = stop.clone();
        async move {
            let mut written = 0_u32;
            while !stop.load(Ordering::Relaxed) || written < 100 {
                let sql = "update counters set n = n + 1 where id in (1, 3, 5, 7, 9, 11, 13, 15, 17, 19)";
                client.batch_execute(sql).await.expect("Postgres is there");
                written += 1;
            }
        }
    });
    for _ in 0..40 {
        for node in &stage.nodes {
            for target in &targets {
                let answer = node.rest().get(target).send().await.expect_status(200);
                assert!(answer.header("cache-status").starts_with("transom; hit; detail=l1"), "{target}: {answer:?}");
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.expect("it ends");
    assert_eq!(misses(&stage.nodes).await, before, "nothing was looked for in vain");
    stage.heard().await;
    stage.agree().await;
}

/// One of 130 tags shares a slot with one of these rows, and every answer has four tags of its own or shared: by one slot a
/// tag several of these answers would be lost, by all of its slots none is.
#[tokio::test]
async fn thousands_of_changed_rows_leave_alone_what_was_read_of_others() {
    let database = Postgres::shared().await.database().await;
    let redis = Redis::start().await;
    let targets: Vec<String> = (1..=400).map(|n| format!("/counters?id=eq.{n}")).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let stage = Stage::set(&database, Some(&redis), 1, COUNTED, NEUTRAL, &targets).await;
    stage.warm().await;
    let before = misses(&stage.nodes).await;
    stage.commit("update counters set n = n + 1 where id between 1001 and 3000").await;
    for target in &targets {
        let answer = stage.nodes[0].rest().get(target).send().await.expect_status(200);
        assert!(answer.header("cache-status").starts_with("transom; hit; detail=l1"), "{target}: {answer:?}");
    }
    assert_eq!(misses(&stage.nodes).await, before, "nothing was looked for in vain");
}

async fn misses(nodes: &[Node]) -> f64 {
    let mut all = 0.0;
    for node in nodes {
        for result in ["absent", "expired", "incoherent", "unproven"] {
            all += node.metric(&format!("transom_tier_lookups_total{{tier=\"l1\",result=\"{result}\"}}")).await;
        }
    }
    all
}

#[tokio::test]
async fn a_template_that_is_new_to_the_leader_hides_no_change() {
    let database = Postgres::shared().await.database().await;
    let redis = Redis::start().await;
    let columns: Vec<String> = (0..12).map(|n| format!("c{n} int")).collect();
    let tables = format!(
        "create table wide (id int primary key, n int, {}); alter table wide replica identity full;
         insert into wide (id, n) values (1, 0); grant select on wide to web_anon",
        columns.join(", ")
    );
    let neutral = "update wide set n = n";
    let stage = Stage::set(&database, Some(&redis), 2, &tables, neutral, &[]).await;
    let client = database.client().await;
    for round in 0..12 {
        // Rows of this value change all the time, before and after the leader knows that anybody reads by the column.
        let target = format!("/wide?c{round}=eq.{round}");
        client.batch_execute(&format!("update wide set c{round} = {round}")).await.expect("a column");
        for step in 0..8 {
            let n = round * 8 + step;
            let sql = format!("update wide set n = {n}");
            let write = client.batch_execute(&sql);
            let (read, written) = tokio::join!(stage.nodes[step % 2].rest().get(&target).send(), write);
            read.expect_status(200);
            written.map_err(|error| format!("{error:?}")).expect("a row");
        }
        stage.heard().await;
        for node in &stage.nodes {
            let text = node.rest().get(&target).send().await.text();
            assert!(text.contains(&format!("\"n\":{}", round * 8 + 7)), "{target}: {text}");
        }
    }
}
