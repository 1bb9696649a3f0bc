//! What goes wrong.

use super::stage::Topology;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`what` says it")]
pub enum Fault {
    NodeKilled,
    NodeFrozen,
    NodeRestarted,
    LeaderKilled,
    LeaderFrozen,
    RedisEmptied,
    RedisFellBack,
    RedisFrozen,
    PostgresCrashed,
    PostgresFrozen,
    SubscriberCut,
    SubscriberDeaf,
    ControlDeaf,
    RedisDeaf,
    ReplicationCut,
    ReplicationDeaf,
    PoolDeaf,
    PostgresDeaf,
    SlotDropped,
    PublicationDropped,
    PublicationEmptied,
    CommitsWait,
    FailoverSynchronous,
    FailoverLossy,
    SentinelFailover,
    SentinelLagging,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::NodeKilled,
        Self::NodeFrozen,
        Self::NodeRestarted,
        Self::LeaderKilled,
        Self::LeaderFrozen,
        Self::RedisEmptied,
        Self::RedisFellBack,
        Self::RedisFrozen,
        Self::PostgresCrashed,
        Self::PostgresFrozen,
        Self::SubscriberCut,
        Self::SubscriberDeaf,
        Self::ControlDeaf,
        Self::RedisDeaf,
        Self::ReplicationCut,
        Self::ReplicationDeaf,
        Self::PoolDeaf,
        Self::PostgresDeaf,
        Self::SlotDropped,
        Self::PublicationDropped,
        Self::PublicationEmptied,
        Self::CommitsWait,
        Self::FailoverSynchronous,
        Self::FailoverLossy,
        Self::SentinelFailover,
        Self::SentinelLagging,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// What happens.
    #[must_use]
    pub fn what(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::NodeKilled => ("node-killed", "kill -9 of a node, started again after a while"),
            Self::NodeFrozen => ("node-frozen", "SIGSTOP of a node for up to 4 s"),
            Self::NodeRestarted => ("node-restarted", "a node drains, ends and starts again"),
            Self::LeaderKilled => ("leader-killed", "kill -9 of the leader of the feed"),
            Self::LeaderFrozen => ("leader-frozen", "SIGSTOP of the leader for up to 4 s"),
            Self::RedisEmptied => ("redis-emptied", "Redis is killed and comes back empty"),
            Self::RedisFellBack => {
                ("redis-fell-back", "Redis is killed and comes back with a dump from seconds before")
            }
            Self::RedisFrozen => ("redis-frozen", "SIGSTOP of Redis for up to 3 s"),
            Self::PostgresCrashed => ("postgres-crashed", "Postgres crashes, recovers from its log"),
            Self::PostgresFrozen => ("postgres-frozen", "SIGSTOP of all of Postgres for up to 3 s"),
            Self::SubscriberCut => {
                ("subscriber-cut", "subscriptions of all nodes are cut, and again right after they are back")
            }
            Self::SubscriberDeaf => ("subscriber-deaf", "a node's subscription is black-holed, twice"),
            Self::ControlDeaf => ("control-deaf", "a node's polls and announcements are black-holed, twice"),
            Self::RedisDeaf => ("redis-deaf", "everything between a node and Redis is black-holed, twice"),
            Self::ReplicationCut => {
                ("replication-cut", "the feed's stream is cut under a backlog, and again while that is read")
            }
            Self::ReplicationDeaf => ("replication-deaf", "the feed's stream is black-holed under a backlog, twice"),
            Self::PoolDeaf => {
                ("pool-deaf", "what Postgres answers to a node comes late, after announcements that came later")
            }
            Self::PostgresDeaf => ("postgres-deaf", "everything between a node and Postgres is black-holed"),
            Self::SlotDropped => ("slot-dropped", "the replication slot is dropped"),
            Self::PublicationDropped => ("publication-dropped", "the publication is dropped"),
            Self::PublicationEmptied => ("publication-emptied", "the publication loses all tables, and gets them back"),
            Self::CommitsWait => {
                ("commits-wait", "a synchronous standby is slow: commits are in the log and cannot be seen")
            }
            Self::FailoverSynchronous => {
                ("failover-synchronous", "Postgres fails over to a standby that has everything")
            }
            Self::FailoverLossy => ("failover-lossy", "Postgres fails over to a standby that lags: commits are lost"),
            Self::SentinelFailover => {
                ("sentinel-failover", "the master of Redis dies, and the Sentinel promotes the replica")
            }
            Self::SentinelLagging => ("sentinel-lagging", "the same with a replica that lags by seconds"),
        }
    }

    /// Whether it can happen there.
    #[must_use]
    pub fn fits(self, topology: Topology) -> bool {
        match self {
            Self::SentinelFailover | Self::SentinelLagging => topology == Topology::Sentinel,
            Self::RedisEmptied
            | Self::RedisFellBack
            | Self::RedisFrozen
            | Self::SubscriberCut
            | Self::SubscriberDeaf
            | Self::ControlDeaf
            | Self::RedisDeaf => topology == Topology::Single,
            _ => true,
        }
    }

    /// By its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }
}
