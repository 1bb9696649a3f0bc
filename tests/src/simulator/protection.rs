//! What keeps the protocol honest, piece by piece, so that a test can take one piece away and see the harm.

/// One protection. Those inside the real code are switched off around it: the world lies to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// the stamp of a fill is taken before the origin is asked; else after
    StampBeforeRead,
    /// what is coherent but unproven is not served; else it is
    Lease,
    /// a resync brings the table; else only its position
    TableOnResync,
    /// a Redis that fell back begins a new epoch, seen by its replication id; else it goes on
    ReplicationId,
    /// announcements look at the replication id too; else only polls do
    ReplicationIdOnAnnounce,
    /// after an outage nothing is trusted for a while; else at once
    QuietPeriod,
    /// an outage is noticed after a quarter of `max_staleness`; else after half
    QuietSoon,
    /// a node announces what it owes before it trusts Redis again; else afterwards
    FlushBeforeTrust,
    /// a new history has a new name; else the old one
    NewEpoch,
    /// a node that owes an announcement takes nothing from L2; else it does
    NoPeersWhileOwing,
    /// only a fill that would be served as fresh may be joined; else every coherent one
    JoinOnlyFresh,
}

impl Protection {
    /// Every protection.
    pub const ALL: [Self; 11] = [
        Self::StampBeforeRead,
        Self::Lease,
        Self::TableOnResync,
        Self::ReplicationId,
        Self::ReplicationIdOnAnnounce,
        Self::QuietPeriod,
        Self::QuietSoon,
        Self::FlushBeforeTrust,
        Self::NewEpoch,
        Self::NoPeersWhileOwing,
        Self::JoinOnlyFresh,
    ];
}
