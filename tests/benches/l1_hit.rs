//! A hit on L1 in the process, with all that makes it safe to serve, beside a bare moka `get`.
//!
//! `cargo bench -p transom-tests --bench l1_hit`

use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::Arc;

use bytes::Bytes;
use cache_core::cache::{Lookup, TwoTier};
use cache_core::clock::Moment;
use cache_core::freshness::Directives;
use cache_core::key::CacheKey;
use cache_core::tag::{Tag, Tags};
use divan::{Bencher, black_box};
use transom_tests::Body;
use transom_tests::bench::{self, LIFETIMES};

/// One hot key, and so many that they do not fit the caches of the processor.
const KEYS: [usize; 2] = [1, 10_000];

fn main() {
    divan::main();
}

fn canonical(row: usize) -> String {
    format!("default|v1|web_anon|GET public.flights?select=id,carrier,flight&id=eq.{row}|application/json")
}

fn keys(count: usize) -> Vec<CacheKey> {
    (0..count).map(|row| CacheKey::new(canonical(row).as_bytes())).collect()
}

fn filled(keys: &[CacheKey]) -> TwoTier<Body> {
    let cache = bench::cache(256 << 20);
    for (row, key) in keys.iter().enumerate() {
        let tags = ["*".to_owned(), "flights(all)".to_owned(), "flights(*)".to_owned(), format!("flights(id={row})")];
        let tags: Tags = tags.iter().map(|tag| Tag::named(tag)).collect();
        assert_eq!(tags.len(), 4);
        let ticket = cache.begin(key.clone(), tags);
        cache.store(ticket, Body(Bytes::from(vec![b'x'; 400])), LIFETIMES);
    }
    cache
}

fn hit(cache: &TwoTier<Body>, key: &CacheKey, now: Moment) -> Lookup<Body> {
    let found = cache.lookup_l1(key, &Directives::default(), now);
    assert!(matches!(found, Lookup::Found(_)));
    found
}

/// The same keys and values in moka alone, with its own hasher.
#[divan::bench(args = KEYS, sample_size = 2_000, sample_count = 300)]
fn bare_moka_get(bencher: Bencher<'_, '_>, count: usize) {
    moka_get(bencher, count, RandomState::new());
}

/// Moka alone, with a hasher that takes the digest as it is, as L1 does: what is left is the cost of coherence.
#[divan::bench(args = KEYS, sample_size = 2_000, sample_count = 300)]
fn bare_moka_get_digest(bencher: Bencher<'_, '_>, count: usize) {
    moka_get(bencher, count, BuildHasherDefault::<Digested>::default());
}

#[derive(Default)]
struct Digested(u64);

impl Hasher for Digested {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("a key hashes itself as one number")
    }
    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }
}

fn moka_get<S>(bencher: Bencher<'_, '_>, count: usize, hasher: S)
where
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    let keys = keys(count);
    let cache = moka::sync::Cache::builder().max_capacity(1 << 20).build_with_hasher(hasher);
    for key in &keys {
        cache.insert(key.clone(), Arc::new(Body(Bytes::from(vec![b'x'; 400]))));
    }
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 7_919) % keys.len();
        cache.get(black_box(&keys[next])).expect("it was inserted")
    });
}

/// Find, validate four tags and the lease, hand out.
#[divan::bench(args = KEYS, sample_size = 2_000, sample_count = 300)]
fn lookup_l1(bencher: Bencher<'_, '_>, count: usize) {
    let keys = keys(count);
    let cache = filled(&keys);
    let now = cache.clock().now();
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 7_919) % keys.len();
        hit(&cache, black_box(&keys[next]), now)
    });
}

/// The same, and the clock is read as well.
#[divan::bench(args = KEYS, sample_size = 2_000, sample_count = 300)]
fn lookup_l1_and_clock(bencher: Bencher<'_, '_>, count: usize) {
    let keys = keys(count);
    let cache = filled(&keys);
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 7_919) % keys.len();
        hit(&cache, black_box(&keys[next]), cache.clock().now())
    });
}

/// The same, from the canonical bytes on: the key is made (hashed, and its bytes copied) for each lookup.
#[divan::bench(args = KEYS, sample_size = 2_000, sample_count = 300)]
fn key_and_lookup_l1(bencher: Bencher<'_, '_>, count: usize) {
    let texts: Vec<String> = (0..count).map(canonical).collect();
    let cache = filled(&keys(count));
    let now = cache.clock().now();
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 7_919) % texts.len();
        let key = CacheKey::new(black_box(texts[next].as_bytes()));
        hit(&cache, &key, now)
    });
}
