//! What the parts of a request and of an announcement cost in this process.
//!
//! `cargo bench -p transom-tests --bench parts`

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use cache_core::clock::{Clock, WallMillis};
use cache_core::codec;
use cache_core::coherence::{Announcement, Coherence, Kind, Position, Seq, Snapshot, Token, Trusted};
use cache_core::entry::Entry;
use cache_core::key::CacheKey;
use cache_core::tag::{SlotCount, Slots, Tag, Tags};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use http::{HeaderMap, Method};
use tokio::runtime::Runtime;
use transom::rest::{self, Inbound, SchemaCache, Settings};
use transom_tests::bench::{self, LIFETIMES};
use transom_tests::{Body, Postgres};

/// Of a history; an epoch is only ever read.
const TOKEN: &str = "0000000000000007:0";
const BODY_BYTES: usize = 1_024;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

/// The sample schema, as a node reads it.
static SCHEMA: LazyLock<SchemaCache> = LazyLock::new(|| {
    RUNTIME.block_on(async {
        let postgres = Postgres::own().await;
        let database = postgres.database().await;
        rest::load_schema(&database.client().await, &["public".to_owned()]).await.expect("the catalogs can be read")
    })
});

fn main() {
    divan::main();
}

/// From the text of a request to the statement, with what its answer will depend on.
#[divan::bench(args = [
    "flights?id=eq.17",
    "flights?select=id,carrier,flight&carrier=in.(UA,DL)&order=id.desc&limit=20",
    "airlines?select=name,flights(id,flight)&carrier=eq.UA",
])]
fn plan(bencher: Bencher<'_, '_>, target: &str) {
    let (path, query) = target.split_once('?').expect("a query");
    let settings = Settings { schemas: vec!["public".to_owned()], ..Settings::default() };
    let (headers, body) = (HeaderMap::new(), Bytes::new());
    let schema = &*SCHEMA;
    bencher.bench_local(|| {
        let inbound =
            Inbound { method: &Method::GET, path, query: Some(black_box(query)), headers: &headers, body: &body };
        rest::plan(&inbound, schema, &settings).expect("it can be planned")
    });
}

/// What each node does with an announcement, by the number of rows in it.
#[divan::bench(args = [1, 16, 256])]
fn announcement(bencher: Bencher<'_, '_>, rows: usize) {
    let (coherence, clock) = (Coherence::new(SlotCount::DEFAULT, Duration::from_secs(1)), Clock::start());
    let Token { epoch, .. } = TOKEN.parse().expect("a token");
    let position = Position { epoch, seq: Seq(0), purged: Seq(0), trusted: Trusted::Yes };
    coherence.adopt(&Snapshot { position, table: vec![0; coherence.slot_count()] }, clock.now());
    let slots: Vec<Slots> = (0..64)
        .map(|round| {
            let rows = (0..rows).map(|row| Tag::named(&format!("flights(id={})", round * rows + row)));
            Slots::of(rows, SlotCount::DEFAULT)
        })
        .collect();
    let mut seq = 0;
    bencher.counter(ItemsCount::new(slots[0].len())).bench_local(|| {
        seq += 1;
        let slots = slots[usize::try_from(seq).expect("a place") % slots.len()].clone();
        let announcement =
            Announcement { epoch, seq: Seq(seq), kind: Kind::Change, slots, writes: [].into_iter().collect() };
        coherence.apply(black_box(&announcement), clock.now())
    });
    assert_eq!(coherence.watermark(), Seq(seq), "all of them counted");
}

fn entry() -> (CacheKey, Entry<Body>) {
    let key = CacheKey::new(
        "default|v1|web_anon|GET public.flights?select=id,carrier,flight&id=eq.7|application/json".as_bytes(),
    );
    let tags: Tags = ["*", "flights(all)", "flights(*)", "flights(id=7)"].iter().map(|tag| Tag::named(tag)).collect();
    let cache = bench::cache::<Body>(1 << 20);
    let (stamp, began) = (cache.coherence().stamp(tags), cache.clock().now());
    (key, Entry::filled_here(Body(vec![b'x'; BODY_BYTES].into()), stamp, began, LIFETIMES))
}

/// Writes an entry of 1 KiB for L2.
#[divan::bench]
fn encode(bencher: Bencher<'_, '_>) {
    let (key, entry) = entry();
    bencher.bench_local(|| codec::encode(black_box(&key), black_box(&entry), WallMillis(1)));
}

/// Reads an entry of 1 KiB that L2 had.
#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let (key, entry) = entry();
    let written = Bytes::from(codec::encode(&key, &entry, WallMillis(1)));
    bencher.bench_local(|| codec::decode::<Body>(black_box(&key), written.clone()).expect("it was just written"));
}
