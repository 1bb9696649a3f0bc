//! What an entry in L1 costs beside its key and its body, and whether hits stay as cheap with many of them; beside a bare moka
//! that holds the same keys and bodies. In this process.
//!
//! The mean is that of lookups in a row. Median and p99 are of lookups that are timed one by one, with the two readings of the
//! clock that this takes.

use std::fs;
use std::hint::black_box;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::Bytes;
use cache_core::cache::{Lookup, TwoTier};
use cache_core::freshness::Directives;
use cache_core::key::CacheKey;
use cache_core::tag::{Tag, Tags};
use http::{HeaderValue, StatusCode, header};
use moka::sync::Cache;
use transom::reply::StoredResponse;
use transom_tests::bench::{self, LIFETIMES, Spread};

const COUNTS: [u64; 3] = [10, 10_000, 1_000_000];
const BODY: usize = 1_024;
const LOOKUPS: u64 = 2_000_000;
/// Bytes of a page of memory, as `/proc` counts.
const PAGE: u64 = 4_096;

/// So many entries in a cache, and what they take.
struct Held {
    count: u64,
    name: &'static str,
    /// resident bytes per entry
    each: u64,
    /// by the cache's own account
    weight: u64,
    /// asserts that there is an entry under a key
    look: Box<dyn Fn(&CacheKey)>,
}

pub(super) fn measure() {
    println!("\n### `memory`: entries of {BODY} bytes in L1\n");
    println!(
        "| entries | in | resident bytes per entry | of which key | body | overhead | weight | lookup ns: mean | median | p99 |"
    );
    println!("|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    // All are kept, and looked into only when all are there: what is freed is used again, and nobody could see what the next one
    // takes.
    let held: Vec<Held> = COUNTS.into_iter().flat_map(|count| [bare(count), l1(count)]).collect();
    held.iter().for_each(print);
}

fn print(Held { count, name, each, weight, look }: &Held) {
    let key = key(count / 2).weight() as u64;
    let overhead = each.saturating_sub(key + BODY as u64);
    println!("| {count} | {name} | {each} | {key} | {BODY} | {overhead} | {weight} | {} |", timed(*count, look));
}

/// The same keys and bodies in a moka by itself.
fn bare(count: u64) -> Held {
    let before = resident();
    let cache = Cache::builder()
        .max_capacity(16 << 30)
        .weigher(|key: &CacheKey, body: &Bytes| u32::try_from(key.weight() + body.len()).expect("small"))
        .build();
    for row in 0..count {
        cache.insert(key(row), Bytes::copy_from_slice(&[b'x'; BODY]));
    }
    cache.run_pending_tasks();
    let each = (resident() - before) / count;
    let weight = cache.weighted_size() / count;
    let look = Box::new(move |key: &CacheKey| assert!(black_box(cache.get(key)).is_some()));
    Held { count, name: "moka", each, weight, look }
}

/// L1, with the judgement of what is found.
fn l1(count: u64) -> Held {
    let before = resident();
    let cache = filled(count);
    let (entries, weight) = cache.l1_size();
    assert_eq!(entries, count, "none was evicted");
    let each = (resident() - before) / count;
    let now = cache.clock().now();
    let look = Box::new(move |key: &CacheKey| {
        assert!(matches!(black_box(cache.lookup_l1(key, &Directives::default(), now)), Lookup::Found(_)));
    });
    Held { count, name: "L1", each, weight: weight / count, look }
}

fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux says");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number of pages") * PAGE
}

/// A key as long as that of a read of some columns of one row, which has its beginning in common with all others.
fn key(row: u64) -> CacheKey {
    static FORM: LazyLock<Arc<[u8]>> = LazyLock::new(|| {
        let sql = "SELECT coalesce(json_agg(_), '[]')::text FROM (SELECT t.id, t.carrier, t.flight FROM public.flights AS t \
                   WHERE t.id = $1::text::integer) AS _";
        format!("2|0123456789abcdef|default|web_anon|Shape {{ singular: false }}|{sql}|").into_bytes().into()
    });
    CacheKey::beginning(FORM.clone(), row.to_string().as_bytes())
}

fn filled(count: u64) -> TwoTier<StoredResponse> {
    let cache = bench::cache(16 << 30);
    for row in 0..count {
        let tags = ["*".to_owned(), format!("url:{row}"), "flights(all)".to_owned(), format!("flights(id={row})")];
        let tags: Tags = tags.iter().map(|tag| Tag::named(tag)).collect();
        let ticket = cache.begin(key(row), tags);
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8")),
            (header::CONTENT_RANGE, HeaderValue::from_static("0-0/*")),
        ];
        cache.store(ticket, StoredResponse::new(StatusCode::OK, &headers, &[b'x'; BODY]), LIFETIMES);
    }
    cache
}

/// Mean, median and p99 of a lookup of one of these keys in nanoseconds, as cells of a table. The order is one that no cache of
/// the processor foresees.
fn timed(count: u64, look: impl Fn(&CacheKey)) -> String {
    let keys: Vec<CacheKey> =
        (0..count).step_by(usize::try_from(count.div_ceil(10_000)).expect("small")).map(key).collect();
    let key = |turn: u64| &keys[usize::try_from(turn * 7_919).expect("small") % keys.len()];
    let began = Instant::now();
    (0..LOOKUPS).for_each(|turn| look(key(turn)));
    let mean = began.elapsed().as_nanos() / u128::from(LOOKUPS);
    let mut spread = Spread::default();
    for turn in 0..LOOKUPS {
        let (key, began) = (key(turn), Instant::now());
        look(key);
        spread.add(began.elapsed());
    }
    let nanos = |share| spread.quantile(share).as_nanos();
    format!("{mean} | {} | {}", nanos(0.5), nanos(0.99))
}
