//! From a commit by SQL until every node serves the new row; and what a write through the proxy takes beside the bare one.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_postgres::{AsyncMessage, NoTls};
use transom_tests::bench::{Client, Spread};

use super::world::{PAUSE, World, until_hit, until_version};

const ROUNDS: u64 = 500;
const ROWS: u64 = 20_000;
/// Rows above this one belong to the writer in the background.
const WATCHED: u64 = 1_000;
/// The writer commits so often, and so many rows each time.
const BURST_EVERY: Duration = Duration::from_millis(10);
const BURST: u64 = 20;

pub(super) async fn measure() {
    println!("## From a commit until all three nodes serve it\n");
    println!(
        "{ROUNDS} rounds each, in turn with a bare `NOTIFY` from one session to another. Each of three connections asks its node, \
         and asks again {PAUSE:?} after an answer that is not the new one. The time counts from the sending of the `UPDATE`, and \
         from its answer: when the writer knows that it is committed.\n"
    );
    println!("| ms | median | p99 | max |\n|---|--:|--:|--:|");
    let world = World::start(ROWS, 3).await;
    rounds(&world, "idle").await;
    let busy = world.session().await;
    let writer: JoinHandle<()> = tokio::spawn(async move { write_all_the_time(&busy).await });
    rounds(&world, "2 000 row changes/s").await;
    writer.abort();
    drop(writer.await);
    writes(&world).await;
    println!();
}

/// Small transactions, each of several rows, at a steady pace.
async fn write_all_the_time(session: &tokio_postgres::Client) {
    let sql = "update item set version = version + 1 where id between $1 and $2";
    let update = session.prepare(sql).await.expect("well formed");
    let mut due = interval(BURST_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for round in 0.. {
        due.tick().await;
        let first = i32::try_from(WATCHED + 1 + round * BURST % (ROWS - WATCHED - BURST)).expect("small");
        let last = first + i32::try_from(BURST).expect("small") - 1;
        session.execute(&update, &[&first, &last]).await.expect("the update runs");
    }
}

async fn rounds(world: &World, load: &str) {
    let session = world.session().await;
    let mut clients = world.clients();
    let (mut sent, mut committed, mut notified) = (Spread::default(), Spread::default(), Spread::default());
    let mut bell = Bell::hang(world).await;
    for round in 0..ROUNDS {
        let id = round % WATCHED + 1;
        join_all(clients.iter_mut().map(|client| until_hit(client, id))).await;
        let sql = format!("update item set version = version + 1 where id = {id} returning version");
        let began = Instant::now();
        let version: i64 = session.query_one(&sql, &[]).await.expect("the update runs").get(0);
        let (answered, version) = (Instant::now(), u64::try_from(version).expect("counted up"));
        join_all(clients.iter_mut().map(|client| until_version(client, id, version))).await;
        sent.add(began.elapsed());
        committed.add(answered.elapsed());
        notified.add(bell.ring().await);
    }
    println!("| from the `UPDATE`, {load} | {sent} |\n| from its answer, {load} | {committed} |");
    println!("| `NOTIFY` to `LISTEN`, {load} | {notified} |");
}

/// Two sessions, one of which notifies the other.
struct Bell {
    ringing: tokio_postgres::Client,
    _listening: tokio_postgres::Client,
    heard: tokio::sync::mpsc::UnboundedReceiver<()>,
}

impl Bell {
    async fn hang(world: &World) -> Self {
        let url = world.database.url();
        let (listening, mut connection) = tokio_postgres::connect(&url, NoTls).await.expect("postgres runs");
        let (tell, heard) = unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if matches!(message, AsyncMessage::Notification(_)) && tell.send(()).is_err() {
                    return;
                }
            }
        });
        listening.batch_execute("listen bell").await.expect("anybody may listen");
        Self { ringing: world.session().await, _listening: listening, heard }
    }

    async fn ring(&mut self) -> Duration {
        let began = Instant::now();
        self.ringing.batch_execute("notify bell").await.expect("anybody may notify");
        timeout(Duration::from_secs(5), self.heard.recv()).await.expect("it is heard").expect("it is hung");
        began.elapsed()
    }
}

/// The same update, bare and through the proxy, in turn.
async fn writes(world: &World) {
    let session = world.session().await;
    let update = session.prepare("update item set version = $2 where id = $1").await.expect("well formed");
    let mut client = Client::to(world.nodes[0].port());
    let (mut bare, mut proxied) = (Spread::default(), Spread::default());
    for round in 0..ROUNDS {
        let id = i32::try_from(round % WATCHED + 1).expect("small");
        let version = i64::try_from(round).expect("small");
        let began = Instant::now();
        session.execute(&update, &[&id, &version]).await.expect("the update runs");
        bare.add(began.elapsed());
        let began = Instant::now();
        client.patch(&format!("/rest/v1/item?id=eq.{id}"), format!("{{\"version\":{version}}}")).await;
        proxied.add(began.elapsed());
    }
    println!("| bare `UPDATE` | {bare} |\n| the same by `PATCH`, with its token | {proxied} |");
}
