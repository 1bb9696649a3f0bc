//! Makes things go wrong.

use std::time::{Duration, Instant};

use rand::Rng as _;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::cable::{Cable, Heal, Lane, Scope};
use super::fault::Fault;
use super::judge::Verdict;
use super::load::Load;
use super::question::{Key, Table};
use super::stage::{RedisServers, Stage};
use crate::Signal;

/// Who makes things go wrong.
pub struct Gremlin<'s> {
    /// what can break
    pub stage: &'s mut Stage,
    /// who is to be told
    pub load: &'s Load,
    /// decides victims and times
    pub random: &'s mut StdRng,
}

impl Gremlin<'_> {
    /// Lets the fault happen, and pass. Says what is worth knowing of it.
    ///
    /// # Panics
    /// If a server that shall come back does not.
    pub async fn strike(&mut self, fault: Fault) -> String {
        let victim = self.random.random_range(0..self.stage.seats.len());
        match fault {
            Fault::NodeKilled => self.kill(victim).await,
            Fault::NodeFrozen => self.freeze(victim).await,
            Fault::NodeRestarted => {
                self.stage.seats[victim].drain().await;
                self.stage.seats[victim].start().await;
                format!("node {victim}")
            }
            Fault::LeaderKilled => {
                let leader = self.stage.leader().await.unwrap_or(victim);
                self.kill(leader).await
            }
            Fault::LeaderFrozen => {
                let leader = self.stage.leader().await.unwrap_or(victim);
                self.freeze(leader).await
            }
            Fault::RedisEmptied | Fault::RedisFellBack | Fault::RedisFrozen => self.break_redis(fault).await,
            Fault::PostgresCrashed => {
                self.stage.primary.crash().await;
                let down = self.wait(0..2_000).await;
                self.stage.primary.start().await;
                down
            }
            Fault::PostgresFrozen => {
                self.stage.primary.pause();
                let down = self.wait(200..3_000).await;
                self.stage.primary.resume();
                down
            }
            Fault::SubscriberCut => self.cut_subscribers().await,
            Fault::SubscriberDeaf => self.deafen(victim, Place::Redis, Scope::Only(Lane::Subscriber)).await,
            Fault::ControlDeaf => self.deafen(victim, Place::Redis, Scope::Only(Lane::Control)).await,
            Fault::RedisDeaf => self.deafen(victim, Place::Redis, Scope::All).await,
            Fault::ReplicationCut => self.cut_replication().await,
            Fault::ReplicationDeaf => {
                let leader = self.stage.leader().await.unwrap_or(victim);
                self.backlog().await;
                self.deafen(leader, Place::Postgres, Scope::Only(Lane::Replication)).await
            }
            Fault::PoolDeaf => self.hold_answers(victim).await,
            Fault::PostgresDeaf => self.deafen(victim, Place::Postgres, Scope::All).await,
            Fault::SlotDropped => self.sql(DROP_SLOT).await,
            Fault::PublicationDropped => self.sql("drop publication transom").await,
            Fault::PublicationEmptied => self.empty_publication().await,
            Fault::CommitsWait => self.let_commits_wait().await,
            Fault::FailoverSynchronous | Fault::FailoverLossy => self.fail_over(fault).await,
            Fault::SentinelFailover | Fault::SentinelLagging => self.fail_redis_over(fault).await,
        }
    }

    async fn wait(&mut self, millis: std::ops::Range<u64>) -> String {
        let millis = self.random.random_range(millis);
        sleep(Duration::from_millis(millis)).await;
        format!("{millis} ms")
    }

    async fn kill(&mut self, node: usize) -> String {
        self.stage.seats[node].kill();
        let down = self.wait(100..4_000).await;
        self.stage.seats[node].start().await;
        format!("node {node}, {down}")
    }

    async fn freeze(&mut self, node: usize) -> String {
        self.stage.seats[node].signal(Signal::Stop);
        let down = self.wait(200..4_000).await;
        self.stage.seats[node].signal(Signal::Cont);
        format!("node {node}, {down}")
    }

    async fn break_redis(&mut self, fault: Fault) -> String {
        if fault == Fault::RedisFellBack {
            if let RedisServers::Single(redis) = &self.stage.redis {
                redis.command(&["SAVE"]).await.expect("redis answers");
            }
            self.wait(500..3_000).await;
        }
        let pause = Duration::from_millis(self.random.random_range(100..3_000));
        let RedisServers::Single(redis) = &mut self.stage.redis else { return "not here".to_owned() };
        match fault {
            Fault::RedisFrozen => {
                redis.pause();
                sleep(pause).await;
                redis.resume();
            }
            Fault::RedisEmptied => {
                redis.kill();
                sleep(pause).await;
                redis.restart_empty().await;
            }
            _ => {
                redis.kill();
                sleep(pause).await;
                redis.restart().await;
            }
        }
        format!("{} ms", pause.as_millis())
    }

    async fn cut_subscribers(&mut self) -> String {
        for _ in 0..2 {
            for seat in &self.stage.seats {
                seat.redis.iter().for_each(|cable| cable.cut(Scope::Only(Lane::Subscriber)));
            }
            self.wait(20..1_500).await;
        }
        "all nodes, twice".to_owned()
    }

    async fn cut_replication(&mut self) -> String {
        self.backlog().await;
        for _ in 0..2 {
            for cable in self.stage.seats.iter().flat_map(|seat| &seat.postgres) {
                cable.cut(Scope::Only(Lane::Replication));
            }
            self.wait(20..1_500).await;
        }
        "twice".to_owned()
    }

    /// Deaf, then well, then deaf again while what was missed is made up for.
    async fn deafen(&mut self, node: usize, place: Place, scope: Scope) -> String {
        let mut times = Vec::new();
        let heal = if self.random.random_bool(0.5) { Heal::Deliver } else { Heal::Drop };
        for again in 0..2 {
            self.cables(node, place).for_each(|cable| cable.hold(scope));
            times.push(self.wait(200..4_000).await);
            self.cables(node, place).for_each(|cable| cable.heal(heal));
            if again == 0 {
                self.wait(20..2_500).await;
            }
        }
        format!("node {node}, {}, then {heal:?}", times.join(" and "))
    }

    fn cables(&self, node: usize, place: Place) -> impl Iterator<Item = &Cable> {
        let seat = &self.stage.seats[node];
        let (redis, postgres) = match place {
            Place::Redis => (seat.redis.as_ref(), &seat.postgres[..0]),
            Place::Postgres => (None, &seat.postgres[..]),
        };
        redis.into_iter().chain(postgres)
    }

    /// What was read before a change comes back after its announcement.
    async fn hold_answers(&mut self, node: usize) -> String {
        for _ in 0..8 {
            self.cables(node, Place::Postgres).for_each(|cable| cable.hold(Scope::Answers(Lane::Pool)));
            self.wait(20..600).await;
            self.cables(node, Place::Postgres).for_each(|cable| cable.heal(Heal::Deliver));
            self.wait(100..1_000).await;
        }
        format!("node {node}, 8 times")
    }

    async fn sql(&mut self, sql: &str) -> String {
        match self.stage.client().await.batch_execute(sql).await {
            Ok(()) => String::new(),
            Err(error) => format!("refused: {error:?}"),
        }
    }

    async fn backlog(&mut self) {
        let client = self.stage.client().await;
        for _ in 0..5 {
            client.batch_execute("update bulk set touched = touched + 1").await.expect("postgres runs");
        }
    }

    async fn empty_publication(&mut self) -> String {
        let client = self.stage.client().await;
        let tables = "select string_agg(format('%I.%I', schemaname, tablename), ', ') from pg_publication_tables \
                      where pubname = 'transom'";
        let Ok(row) = client.query_one(tables, &[]).await else { return "postgres does not say".to_owned() };
        let Some(tables) = row.get::<_, Option<String>>(0) else { return "it was empty".to_owned() };
        client.batch_execute(&format!("alter publication transom drop table {tables}")).await.expect("it is ours");
        let empty = self.wait(500..3_000).await;
        client.batch_execute(&format!("alter publication transom add table {tables}")).await.expect("it is ours");
        empty
    }

    /// Commits are flushed, and decoded, long before anybody can see them.
    async fn let_commits_wait(&mut self) -> String {
        self.stage.standby().await;
        self.stage.set_synchronous("standby").await;
        self.stage.standby_is_synchronous().await;
        for _ in 0..6 {
            let millis = self.random.random_range(50..800);
            let standby = self.stage.standby().await;
            standby.cable.hold(Scope::All);
            sleep(Duration::from_millis(millis)).await;
            standby.cable.heal(Heal::Deliver);
            self.wait(500..2_000).await;
        }
        self.stage.set_synchronous("").await;
        self.stage.dismiss_standby();
        "6 times".to_owned()
    }

    async fn fail_over(&mut self, fault: Fault) -> String {
        self.stage.standby().await;
        if fault == Fault::FailoverSynchronous {
            self.stage.set_synchronous("standby").await;
            self.stage.standby_is_synchronous().await;
        } else {
            self.stage.standby().await.cable.hold(Scope::All);
        }
        // What is written now is there after the failover, or is not.
        self.wait(500..2_000).await;
        // No write is under way when the primary goes: what was not answered could come true later.
        let load = self.load;
        let gate = load.gate.write().await;
        load.judge.doubt();
        self.stage.standby().await.cable.cut(Scope::All);
        let from = Instant::now();
        self.stage.promote().await;
        let left = self.versions().await;
        let (verdicts, lost) = load.judge.resolve(&left, from, Instant::now());
        verdicts.into_iter().for_each(|verdict: Verdict| load.note(0, verdict));
        load.move_to(self.stage.primary.port());
        drop(gate);
        format!("{lost} commits lost")
    }

    async fn versions(&self) -> Vec<(Key, u64)> {
        let client = self.stage.client().await;
        let mut left = Vec::new();
        for key in Key::all() {
            let sql = match key.table {
                Table::Ledger => format!("select max(version) from ledger where grp = {}", key.id),
                table => format!("select version from {} where id = {}", table.name(), key.id),
            };
            let version: i64 = client.query_one(&sql, &[]).await.expect("the new primary runs").get(0);
            left.push((key, version.unsigned_abs()));
        }
        left
    }

    async fn fail_redis_over(&mut self, fault: Fault) -> String {
        let lag = Duration::from_millis(self.random.random_range(1_000..4_000));
        let RedisServers::Sentinel(servers) = &mut self.stage.redis else { return "not here".to_owned() };
        if fault == Fault::SentinelLagging {
            servers.lag_replica().await;
            sleep(lag).await;
        }
        servers.crash_master().await;
        servers.revive().await;
        if fault == Fault::SentinelLagging { format!("{} ms behind", lag.as_millis()) } else { String::new() }
    }
}

/// On which of a node's ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Redis,
    Postgres,
}

/// Drops the slots of a database. A node takes its slot back at once, so this tries until it is faster.
pub const DROP_SLOT: &str = "do $$ begin loop
    perform pg_terminate_backend(active_pid, 1000) from pg_replication_slots
        where database = current_database() and active;
    begin
        perform pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database();
        exit;
    exception when object_in_use then null; end;
end loop; end $$";
