//! The shipped HAProxy configs, in a real HAProxy, in front of real servers.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_postgres::NoTls;
use transom_tests::{HaProxy, HaProxyBuilder, Http, Postgres, Redis, Stub, eventually};

/// Two failed checks, one good one, and a busy machine.
const FAILOVER: Duration = Duration::from_secs(20);

fn pillar() -> HaProxyBuilder {
    HaProxy::config("haproxy/state-pillar.cfg").set("POSTGRES_1", "127.0.0.1:1").set("REDIS_1", "127.0.0.1:2")
}

fn nodes() -> HaProxyBuilder {
    HaProxy::config("haproxy/proxy.cfg").set("NODE_1", "127.0.0.1:1").set("NODE_1_ADMIN", 2)
}

#[test]
fn every_config_is_valid_in_every_variant() {
    let more = |builder: HaProxyBuilder, name: &str| {
        builder.set(&format!("{name}_2"), "127.0.0.1:3").set(&format!("{name}_3"), "127.0.0.1:4")
    };
    pillar().check();
    more(more(pillar(), "POSTGRES"), "REDIS").check();
    more(pillar(), "POSTGRES").set("PATRONI_PORT", 8008).check();
    pillar().set("REDIS_PASSWORD", "secret").check();
    pillar().set("DNS", "127.0.0.1:53").check();
    nodes().set("DNS", "127.0.0.1:53").check();
    nodes().check();
    let all = (2..=5).fold(nodes(), |builder, n| {
        builder.set(&format!("NODE_{n}"), "127.0.0.1:1").set(&format!("NODE_{n}_ADMIN"), 2)
    });
    all.check();
}

#[tokio::test]
async fn sessions_go_to_the_primary_and_follow_it() {
    let (mut first, mut second) = tokio::join!(Postgres::own(), Postgres::own());
    for server in [&first, &second] {
        server.admin().await.batch_execute("create role haproxy login").await.unwrap();
    }
    first.demote().await;
    let haproxy = pillar()
        .set("POSTGRES_1", format!("127.0.0.1:{}", first.port()))
        .set("POSTGRES_2", format!("127.0.0.1:{}", second.port()))
        .listen("POSTGRES_PORT")
        .listen("REDIS_PORT")
        .listen("STATS_PORT")
        .start()
        .await;
    let entrance = haproxy.port("POSTGRES_PORT");

    // The first server is a standby: it answers, but it must get no traffic.
    eventually("the primary is found", FAILOVER, async || arrived_at(entrance, second.port()).await).await;
    let session = session(entrance).await.unwrap();

    second.demote().await;
    first.promote().await;
    eventually("the new primary is found", FAILOVER, async || arrived_at(entrance, first.port()).await).await;
    session.simple_query("select 1").await.expect_err("a session with the old primary was cut");
}

#[tokio::test]
async fn commands_go_to_the_master_and_follow_it() {
    let (first, mut second) = tokio::join!(Redis::start(), Redis::start());
    first.command(&["REPLICAOF", "127.0.0.1", &second.port().to_string()]).await.unwrap();
    let haproxy = pillar()
        .set("REDIS_1", format!("127.0.0.1:{}", first.port()))
        .set("REDIS_2", format!("127.0.0.1:{}", second.port()))
        .listen("POSTGRES_PORT")
        .listen("REDIS_PORT")
        .listen("STATS_PORT")
        .start()
        .await;
    let entrance = haproxy.port("REDIS_PORT");
    let arrived = async |port: u16| {
        let info = ask(entrance, "INFO server").await?;
        if info.contains(&format!("tcp_port:{port}\r\n")) { Ok(()) } else { Err(std::io::Error::other(info)) }
    };
    eventually("the master is found", FAILOVER, || arrived(second.port())).await;
    assert_eq!(ask(entrance, "PING").await.unwrap(), "+PONG\r\n");

    second.kill();
    first.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    eventually("the new master is found", FAILOVER, || arrived(first.port())).await;
}

#[tokio::test]
async fn stats_tell_which_server_is_up() {
    let redis = Redis::start().await;
    let haproxy = pillar()
        .set("REDIS_1", format!("127.0.0.1:{}", redis.port()))
        .listen("POSTGRES_PORT")
        .listen("REDIS_PORT")
        .listen("STATS_PORT")
        .start()
        .await;
    let stats = Http::new(format!("http://127.0.0.1:{}", haproxy.port("STATS_PORT")));
    let row = |csv: &str, server: &str| csv.lines().find(|line| line.starts_with(server)).map(str::to_owned);
    eventually("redis is up and Postgres, which is not there, is down", FAILOVER, async || {
        let csv = stats.get("/;csv").send().await.text();
        let is = |server, state| row(&csv, server).is_some_and(|line| line.split(',').nth(17) == Some(state));
        if is("redis,redis1", "UP") && is("postgres,postgres1", "DOWN") { Ok(()) } else { Err(csv) }
    })
    .await;
    let metrics = stats.get("/metrics").send().await.expect_status(200).text();
    assert!(metrics.contains("haproxy_backend_active_servers{proxy=\"redis\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_url_stays_with_its_node_and_moves_when_the_node_is_not_ready() {
    let ready = Arc::new([true, true, true].map(AtomicBool::new));
    let mut builder = HaProxy::config("haproxy/proxy.cfg").listen("PROXY_PORT").listen("STATS_PORT");
    let mut stubs = Vec::new();
    for n in 0..3 {
        let is_ready = Arc::clone(&ready);
        let admin = Stub::start(move |_| (if is_ready[n].load(Relaxed) { 200 } else { 503 }, String::new())).await;
        let node = Stub::start(move |_| (200, n.to_string())).await;
        builder = builder
            .set(&format!("NODE_{}", n + 1), format!("127.0.0.1:{}", node.port()))
            .set(&format!("NODE_{}_ADMIN", n + 1), admin.port());
        stubs.push((node, admin));
    }
    let haproxy = builder.start().await;
    let http = Http::new(format!("http://127.0.0.1:{}/rest/v1", haproxy.port("PROXY_PORT")));
    let node_of = async |url: usize| -> usize {
        let response = http.get(&format!("/flights?id=eq.{url}")).send().await.expect_status(200);
        response.text().parse().unwrap()
    };

    let mut homes = Vec::new();
    for url in 0..30 {
        homes.push(node_of(url).await);
        assert_eq!(node_of(url).await, homes[url]);
    }
    for n in 0..3 {
        assert!(homes.contains(&n), "node {n} got nothing: {homes:?}");
    }

    // Readiness drops while the node still serves: no request may fail on the way, and nobody else's URL may move.
    ready[1].store(false, Relaxed);
    eventually("node 1 gets nothing any more", FAILOVER, async || {
        let mut now = Vec::new();
        for url in 0..30 {
            now.push(node_of(url).await);
        }
        let kept = now.iter().zip(&homes).all(|(now, home)| *home == 1 || now == home);
        if kept && !now.contains(&1) { Ok(()) } else { Err(format!("{homes:?} {now:?}")) }
    })
    .await;

    ready[0].store(false, Relaxed);
    ready[2].store(false, Relaxed);
    let response = eventually("nobody is ready", FAILOVER, async || {
        let response = http.get("/flights").send().await;
        if response.status == 503 { Ok(response) } else { Err(response.text()) }
    })
    .await;
    assert_eq!(response.json()["message"], "no proxy node is ready");
    assert_eq!(response.header("retry-after"), "1");
    assert_eq!(response.header("content-type"), "application/json");
}

async fn session(port: u16) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (client, connection) =
        tokio_postgres::connect(&format!("host=127.0.0.1 port={port} user=postgres dbname=postgres"), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn arrived_at(entrance: u16, port: u16) -> Result<(), String> {
    let client = session(entrance).await.map_err(|error| error.to_string())?;
    let row = client.query_one("select inet_server_port()", &[]).await.map_err(|error| error.to_string())?;
    let arrived: i32 = row.get(0);
    if arrived == i32::from(port) { Ok(()) } else { Err(format!("arrived at {arrived}")) }
}

/// One inline command through a port; the first packet of the answer.
async fn ask(port: u16, command: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await?;
    connection.write_all(format!("{command}\r\n").as_bytes()).await?;
    let mut answer = vec![0; 16 * 1024];
    let length = connection.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}
