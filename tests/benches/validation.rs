//! A session that is validated from L1, and a user whose tokens count, beside a hit on L1 of anything else. In this process.
//!
//! `cargo bench -p transom-tests --bench validation`

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::LazyLock;
use std::time::Duration;

use cache_core::cache::{Lookup, TwoTier};
use cache_core::freshness::Directives;
use cache_core::key::CacheKey;
use cache_core::state::session::{
    Change, Changed, Created, Mark, NewSession, News, Revoked, Session, SessionSettings, Sessions, Standing, Store,
    TokenHash, User, Which,
};
use cache_core::tag::{Tag, Tags};
use divan::{Bencher, black_box};
use tokio::runtime::Runtime;
use transom_tests::bench::{self, LIFETIMES};

const KEYS: [usize; 2] = [1, 10_000];
const HOUR: Duration = Duration::from_secs(3_600);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

fn main() {
    divan::main();
}

/// Sessions that were there before, and do not end.
struct Given(HashMap<TokenHash, Session>);

type Answer<T> = Result<T, Infallible>;

impl Store for Given {
    type Error = Infallible;

    fn is_away(_: &Infallible) -> bool {
        false
    }
    async fn create(&self, _: &TokenHash, _: &NewSession) -> Answer<Created> {
        unreachable!("nobody logs in")
    }
    async fn read(&self, hash: &TokenHash) -> Answer<Option<Session>> {
        Ok(self.0.get(hash).cloned())
    }
    async fn touch(&self, _: &[TokenHash]) -> Answer<Vec<Session>> {
        Ok(Vec::new())
    }
    async fn refresh(&self, hash: &TokenHash) -> Answer<Option<Session>> {
        self.read(hash).await
    }
    async fn revoke(&self, _: &Which) -> Answer<Revoked> {
        unreachable!("nobody logs out")
    }
    async fn list(&self, _: &str, _: u32) -> Answer<Vec<Session>> {
        Ok(Vec::new())
    }
    async fn standing(&self, _: &str) -> Answer<Standing> {
        Ok(Standing::default())
    }
    async fn change(&self, _: &Change) -> Answer<Changed> {
        unreachable!("nobody is banned")
    }
    async fn gone(&self, _: &Mark) -> Answer<News> {
        Ok(News { mark: Mark::default(), gone: Vec::new() })
    }
    async fn tell(&self, _: &str, _: &[i64]) -> Answer<()> {
        Ok(())
    }
    async fn sweep(&self, _: &Mark) -> Answer<()> {
        Ok(())
    }
}

fn session(number: usize) -> Session {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Session {
        id: i64::try_from(number).expect("small"),
        hash: TokenHash::from_bytes(bytes),
        user: format!("user-{number}").into(),
        created_at: 0,
        last_seen_at: 0,
        expires_at: 0,
        ends_at: 0,
        idle: HOUR,
        left: HOUR,
        data: Some(r#"{"roles":["clerk"]}"#.into()),
    }
}

/// So many sessions, all of them stored.
fn stored(count: usize) -> (Sessions<Given>, Vec<TokenHash>, Vec<User>) {
    let given: HashMap<_, _> = (0..count).map(session).map(|session| (session.hash, session)).collect();
    let hashes: Vec<TokenHash> = given.keys().copied().collect();
    let users: Vec<User> = given.values().map(|session| User::new(session.user.clone())).collect();
    let cache: TwoTier<Session> = bench::cache(256 << 20);
    let settings = SessionSettings {
        cached_for: HOUR,
        namespace: "bench".to_owned(),
        patience: HOUR,
        standings_bytes_max: 64 << 20,
    };
    let _within = RUNTIME.enter();
    let sessions = Sessions::new(Given(given), cache.beside("session", 256 << 20), settings);
    RUNTIME.block_on(async {
        for (hash, user) in hashes.iter().zip(&users) {
            sessions.validate(hash).await.expect("the store answers").expect("it is there");
            sessions.standing(user).await.expect("the store answers");
        }
        // Until the store was asked what ended: from then on what is stored counts.
        while sessions.validate_at_once(&hashes[0]).is_none() || sessions.standing_at_once(&users[0]).is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    (sessions, hashes, users)
}

/// A session by its hash, from L1.
#[divan::bench(args = KEYS, sample_size = 2_000, sample_count = 300)]
fn validate_at_once(bencher: Bencher<'_, '_>, count: usize) {
    let (sessions, hashes, _) = stored(count);
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 7_919) % hashes.len();
        sessions.validate_at_once(black_box(&hashes[next])).is_some()
    });
}

/// What is held against a user, from L1: what each request with a token costs more if `jwt_user_claim` is set.
#[divan::bench(args = KEYS, sample_size = 2_000, sample_count = 300)]
fn standing_at_once(bencher: Bencher<'_, '_>, count: usize) {
    let (sessions, _, users) = stored(count);
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 7_919) % users.len();
        sessions.standing_at_once(black_box(&users[next])).is_some()
    });
}

/// Any other entry, whose key is made from its bytes as that of a session is.
#[divan::bench(args = KEYS, sample_size = 2_000, sample_count = 300)]
fn key_and_lookup_l1(bencher: Bencher<'_, '_>, count: usize) {
    let cache: TwoTier<Session> = bench::cache(256 << 20);
    let texts: Vec<String> = (0..count).map(|number| session(number).hash.to_string()).collect();
    for (number, text) in texts.iter().enumerate() {
        let tags: Tags = ["*", "sessions", text].iter().map(|tag| Tag::named(tag)).collect();
        let ticket = cache.begin(CacheKey::new(text.as_bytes()), tags);
        cache.store(ticket, session(number), LIFETIMES);
    }
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 7_919) % texts.len();
        let key = CacheKey::new(black_box(texts[next].as_bytes()));
        let found = cache.lookup_l1(&key, &Directives::default(), cache.clock().now());
        assert!(matches!(found, Lookup::Found(_)));
        found
    });
}
