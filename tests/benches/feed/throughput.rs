//! Row changes per second that a leader announces, with ever more entries in its cache.
//!
//! To fill a million entries by a million requests takes longer than all else here. So the leader is the real change feed
//! and the real two-tier cache in this process, without the HTTP in front of them; entries are stored as a fill stores them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_core::backplane::{Observer, Trust};
use cache_core::cache::{Lookup, Stored, TwoTier};
use cache_core::clock::Clock;
use cache_core::dependence::Dependence;
use cache_core::freshness::Directives;
use cache_core::key::CacheKey;
use cache_core::limits::Limits;
use cache_core::outcome::{LapseReason, ResyncReason, Unreadable};
use cache_core::redis::RedisLink;
use cache_core::tag::{SlotCount, Tag, Tags};
use http::StatusCode;
use transom::feed::{Feed, Kind};
use transom::key::{self, RowTagWriter, RowTemplate, TemplateColumn};
use transom::reply::StoredResponse;
use transom::rest::{Grain, TableId};
use transom::telemetry::Metrics;
use transom_tests::bench::{LIFETIMES, Usage};
use transom_tests::eventually;

use super::world::World;

const ENTRIES: [u64; 3] = [1, 1_000, 1_000_000];
/// In transactions of this many rows.
const ROWS_EACH: u64 = 100;
const TRANSACTIONS: u64 = 4_000;
/// The type of `item.id`.
const INT4: u32 = 23;
/// Entries stored before their way to L2 is given a moment.
const FILLED_AT_ONCE: u64 = 1_000;
const SOON: Duration = Duration::from_secs(20);
/// A leader that has not caught up by then does not keep up.
const LATE: Duration = Duration::from_secs(60);

pub(super) async fn measure() {
    println!("## Row changes the leader keeps up with\n");
    println!(
        "{TRANSACTIONS} transactions of {ROWS_EACH} rows, as fast as one session commits them; from the first until the entry of the \
         row that was written last is not fresh any more. The leader is in the process of the benchmark, which also writes; its \
         processor time is that of both.\n"
    );
    println!(
        "| cached entries, each with its own equality | row changes/s | leader CPU per row change | L1 bytes per entry |"
    );
    println!("|--:|--:|--:|--:|");
    let world = World::start(TRANSACTIONS * ROWS_EACH + 2, 0).await;
    let leader = Leader::start(&world).await;
    let mut filled = 0;
    for entries in ENTRIES {
        leader.fill(filled + 1, entries).await;
        filled = entries;
        let (_, bytes) = leader.cache.l1_size();
        let (rate, cpu) = leader.keep_up(&world).await;
        println!("| {entries} | {rate:.0} | {cpu:.1} us | {} |", bytes / entries);
    }
    leader.feed.stop().await;
    println!();
}

struct Leader {
    cache: Arc<TwoTier<StoredResponse>>,
    feed: Feed,
    table: TableId,
}

struct Nobody;

impl Observer for Nobody {
    fn resynced(&self, _: ResyncReason) {}
    fn lapsed(&self, _: LapseReason) {}
    fn unreadable(&self, _: Unreadable) {}
}

impl Leader {
    /// A leader that has its lease and knows the template of all entries.
    async fn start(world: &World) -> Self {
        let config = world.node().config();
        let limits = Limits {
            l1_bytes_max: 4 << 30,
            entry_bytes_max: 1 << 20,
            slots: SlotCount::DEFAULT,
            max_staleness: config.coherence.max_staleness,
            redis_timeout: Duration::from_secs(1),
            fill_lease_for: Duration::ZERO,
        };
        let link = RedisLink::open(&world.redis.url(), limits.redis_timeout).expect("a URL");
        let cache =
            TwoTier::shared_trusting(Trust::Feed, limits, Clock::start(), link, &config.namespace, Arc::new(Nobody));
        let (cache, metrics) = (Arc::new(cache), Arc::new(Metrics::new(Duration::from_secs(1))));
        let table = TableId { schema: "public".into(), name: "item".into() };
        let feed = Feed::start(Kind::Logical, &config, cache.clone(), metrics, vec![table.clone()]);
        let leader = Self { cache, feed, table };
        eventually("it leads", SOON, async || leader.cache.coherence().lease_held(leader.cache.clock().now())).await;
        // The first change after a template was registered counts as one of the whole table.
        leader.fill(1, 1).await;
        leader.change_the_last(world).await;
        leader
    }

    /// Stores what requests for these rows would have stored.
    async fn fill(&self, first: u64, last: u64) {
        let columns = vec![TemplateColumn::by_value("id", INT4)];
        let template = RowTemplate { table: self.table.clone(), columns }.to_template();
        let mut writer = RowTagWriter::default();
        for id in first..=last {
            let text = id.to_string();
            let row = writer.tag(&self.table, [("id", Grain::Value, Some(&*text))]);
            let url = key::url("/item", Some(&format!("select=version&id=eq.{id}")));
            let common = [Tag::everything(), url, key::whole_table(&self.table)];
            let (exact, coarse) =
                (common.into_iter().chain([row]), common.into_iter().chain([key::any_row(&self.table)]));
            let on = Dependence::exactly(Tags::from_iter(exact), [template.clone()].into(), Tags::from_iter(coarse));
            let ticket = self.cache.begin_on(&key_of(id), &on).await;
            let answer = StoredResponse::new(StatusCode::OK, &[], format!("[{{\"version\":{id}}}]").as_bytes());
            let (_, stored) = self.cache.store(ticket, answer, LIFETIMES);
            assert_eq!(stored, Stored::Yes);
            if id % FILLED_AT_ONCE == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Row changes per second, and microseconds of the processor for each.
    async fn keep_up(&self, world: &World) -> (f64, f64) {
        self.fill(1, 1).await;
        let session = world.session().await;
        let sql = "update item set version = version + 1 where id between $1 and $2";
        let update = session.prepare(sql).await.expect("well formed");
        let (began, before) = (Instant::now(), Usage::of(std::process::id()));
        for transaction in 0..TRANSACTIONS {
            let first = i32::try_from(transaction * ROWS_EACH + 2).expect("small");
            let last = first + i32::try_from(ROWS_EACH).expect("small") - 1;
            session.execute(&update, &[&first, &last]).await.expect("the update runs");
        }
        self.change_the_last(world).await;
        let (took, used) = (began.elapsed(), Usage::of(std::process::id()).since(before));
        let rows = f64::from(u32::try_from(TRANSACTIONS * ROWS_EACH).expect("small"));
        (rows / took.as_secs_f64(), used.as_secs_f64() * 1e6 / rows)
    }

    /// Changes row 1, and waits until its entry is not fresh any more.
    async fn change_the_last(&self, world: &World) {
        world.database.execute("update item set version = version + 1 where id = 1").await;
        let is_gone = || {
            let found = self.cache.lookup_l1(&key_of(1), &Directives::default(), self.cache.clock().now());
            matches!(found, Lookup::Missing(_))
        };
        let began = Instant::now();
        while !is_gone() {
            assert!(began.elapsed() < LATE, "the last change is not announced");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn key_of(id: u64) -> CacheKey {
    CacheKey::new(format!("{id:0200}").as_bytes())
}
