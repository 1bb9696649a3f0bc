//! Everything a run needs: Postgres, Redis, nodes as processes, and cables between them.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::cable::Cable;
use super::schema::{self, DATABASE};
use crate::node::value_of;
use crate::{NodeBuilder, NodeProcess, Postgres, Redis, RedisSentinel, Signal, eventually, free_port};

/// How long a node may take to say something of itself.
const ASK: Duration = Duration::from_secs(1);
/// How long a node may take to start.
const START: Duration = Duration::from_secs(60);

/// How much of a log is shown.
const LOG_LINES: usize = 40;

/// What stands for Redis.
#[derive(Debug)]
pub enum RedisServers {
    /// one server, and a cable to each node
    Single(Box<Redis>),
    /// a master and a replica under a Sentinel, without cables: nodes connect where the Sentinel says
    Sentinel(Box<RedisSentinel>),
}

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// [`RedisServers::Single`]
    Single,
    /// [`RedisServers::Sentinel`]
    Sentinel,
}

/// A standby, and the cable through which it follows.
#[derive(Debug)]
pub struct Standby {
    /// the server
    pub server: Postgres,
    /// its way to the primary
    pub cable: Cable,
}

/// A node, or its empty place.
#[derive(Debug)]
pub struct Seat {
    /// its way to Redis, if there is one server
    pub redis: Option<Cable>,
    /// its ways to the two places where Postgres may be
    pub postgres: [Cable; 2],
    builder: NodeBuilder,
    process: Option<NodeProcess>,
    port: u16,
}

/// Everything.
#[derive(Debug)]
pub struct Stage {
    /// the nodes
    pub seats: Vec<Seat>,
    /// Redis
    pub redis: RedisServers,
    /// where commits go
    pub primary: Postgres,
    /// which of the two ways of a node leads to the primary
    place: usize,
    standby: Option<Standby>,
}

impl Stage {
    /// Starts everything; ready, with a lease on every node, when this returns.
    ///
    /// # Panics
    /// If something does not start.
    pub async fn open(nodes: usize, topology: Topology, max_staleness: Duration) -> Self {
        let primary = Postgres::bare().await;
        let admin = primary.admin().await;
        admin.batch_execute("create role web_anon").await.expect("the cluster is new");
        admin.batch_execute(&format!("create database {DATABASE}")).await.expect("the cluster is new");
        let client = crate::postgres::connect(primary.port(), DATABASE).await.expect("it was just made");
        client.batch_execute("grant usage on schema public to web_anon").await.expect("the database is new");
        client.batch_execute(&schema::sql()).await.unwrap_or_else(|error| panic!("the schema: {error:?}"));
        let redis = match topology {
            Topology::Single => RedisServers::Single(Box::new(Redis::start().await)),
            Topology::Sentinel => RedisServers::Sentinel(Box::new(RedisSentinel::start().await)),
        };
        let mut seats = Vec::new();
        for _ in 0..nodes {
            seats.push(Seat::prepare(&primary, &redis, max_staleness).await);
        }
        let mut stage = Self { seats, redis, primary, place: 0, standby: None };
        for number in 0..nodes {
            stage.seats[number].start().await;
        }
        assert!(stage.until_leases(START).await.is_some(), "no lease: {}", stage.seats[0].log());
        stage
    }

    /// Where clients connect, node by node.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.seats.iter().map(|seat| seat.port).collect()
    }

    /// A session with the primary.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn client(&self) -> tokio_postgres::Client {
        crate::postgres::connect(self.primary.port(), DATABASE).await.expect("the primary runs")
    }

    /// Which node leads the feed.
    pub async fn leader(&self) -> Option<usize> {
        for (number, seat) in self.seats.iter().enumerate() {
            if seat.metric("transom_feed_leader").await > 0.0 {
                return Some(number);
            }
        }
        None
    }

    /// Waits until every node has its lease again; says how long that took, or `None` if it did not happen.
    pub async fn until_leases(&self, within: Duration) -> Option<Duration> {
        let began = Instant::now();
        while began.elapsed() < within {
            let mut held = 0;
            for seat in &self.seats {
                held += usize::from(seat.metric("transom_lease_held").await > 0.0);
            }
            if held == self.seats.len() {
                return Some(began.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }

    /// The ends of the logs of all nodes, to find out what keeps one of them.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut logs = String::new();
        for (number, seat) in self.seats.iter().enumerate() {
            let log = seat.log();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
            logs.push_str(&format!("the log of node {number} ends with:\n{end}\n"));
        }
        logs
    }

    /// Makes a standby, if there is none, and lets the nodes know its place.
    pub async fn standby(&mut self) -> &Standby {
        if self.standby.is_none() {
            let cable = Cable::to(self.primary.port()).await;
            let server = self.primary.standby(cable.port()).await;
            for seat in &self.seats {
                seat.postgres[1 - self.place].lead_to(server.port());
            }
            self.standby = Some(Standby { server, cable });
        }
        self.standby.as_ref().expect("it was just made")
    }

    /// Whether commits wait for the standby.
    ///
    /// # Panics
    /// If Postgres refuses.
    pub async fn set_synchronous(&self, names: &str) {
        let admin = self.primary.admin().await;
        let set = format!("alter system set synchronous_standby_names = '{names}'");
        admin.batch_execute(&set).await.expect("it is ours");
        admin.batch_execute("select pg_reload_conf()").await.expect("it is ours");
        let shown = async || {
            let shown = admin.query_one("show synchronous_standby_names", &[]).await.ok()?.get::<_, String>(0);
            (shown == names).then_some(())
        };
        eventually("the setting is in force", ASK * 10, shown).await;
    }

    /// Waits until the standby confirms commits.
    pub async fn standby_is_synchronous(&self) {
        let admin = self.primary.admin().await;
        eventually("the standby is synchronous", START, async || {
            let sql = "select 1 from pg_stat_replication where sync_state = 'sync' and state = 'streaming'";
            admin.query_opt(sql, &[]).await.ok()?
        })
        .await;
    }

    /// The standby takes over; the old primary is gone.
    ///
    /// # Panics
    /// If there is no standby.
    pub async fn promote(&mut self) {
        let standby = self.standby.take().expect("a standby was made before");
        // Killed first: two primaries at once are not what is tested.
        self.primary.crash().await;
        standby.server.promote().await;
        self.primary = standby.server;
        self.place = 1 - self.place;
    }

    /// The standby goes.
    pub fn dismiss_standby(&mut self) {
        self.standby = None;
    }
}

impl Seat {
    async fn prepare(primary: &Postgres, redis: &RedisServers, max_staleness: Duration) -> Self {
        // Behind the second way is nobody yet.
        let postgres = [Cable::to(primary.port()).await, Cable::to(free_port()).await];
        let url = format!(
            "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{DATABASE}?target_session_attrs=read-write",
            postgres[0].port(),
            postgres[1].port()
        );
        let (cable, redis_url) = match redis {
            RedisServers::Single(server) => {
                let cable = Cable::to(server.port()).await;
                let url = format!("redis://127.0.0.1:{}", cable.port());
                (Some(cable), url)
            }
            RedisServers::Sentinel(servers) => (None, servers.url()),
        };
        let (port, admin_port) = (free_port(), free_port());
        let builder = NodeBuilder::at(url)
            .unset("redis_timeout")
            .set("redis_url", redis_url)
            .set("feed", "logical")
            .set("jwt_secret", schema::SECRET)
            .set("max_staleness", format!("{}ms", max_staleness.as_millis()))
            .set("listen", format!("127.0.0.1:{port}"))
            .set("admin_listen", format!("127.0.0.1:{admin_port}"));
        Self { redis: cable, postgres, builder, process: None, port }
    }

    /// Starts it, and waits until it is ready.
    pub async fn start(&mut self) {
        let node = self.process.insert(self.builder.spawn_process());
        eventually("the node is ready", START, async || {
            let answer = node.admin().get("/readyz").try_send().await.map_err(|error| error.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(node.log()) }
        })
        .await;
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        if let Some(process) = &mut self.process {
            process.process().signal(signal);
        }
    }

    /// SIGTERM, and waits for the end.
    pub async fn drain(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.process().signal(Signal::Term);
            process.process().ended(START).await;
        }
    }

    /// What it logged since it started.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(NodeProcess::log).unwrap_or_default()
    }

    /// The value of a series; 0 if it is not there, or the node does not say.
    pub async fn metric(&self, series: &str) -> f64 {
        let Some(process) = &self.process else { return 0.0 };
        let asked = timeout(ASK, process.admin().get("/metrics").try_send()).await;
        let Ok(Ok(answer)) = asked else { return 0.0 };
        value_of(series, &answer.text())
    }
}
