//! Bugs of the coherence rules, by name, and the rules they broke.

use super::*;

const NOW: Moment = Moment::from_nanos(1_000_000_000_000);
const STALENESS: Duration = Duration::from_secs(1);

/// A node that adopted this epoch at this place, with a lease from now.
fn node(epoch: u64, seq: u64) -> Coherence {
    let coherence = Coherence::new(SlotCount::new(1_024).unwrap(), STALENESS);
    coherence.adopt(&snapshot(epoch, seq), NOW);
    coherence.grant(Epoch(epoch), NOW, NOW.plus(STALENESS / 2));
    coherence
}

fn snapshot(epoch: u64, seq: u64) -> Snapshot {
    let position = Position { epoch: Epoch(epoch), seq: Seq(seq), purged: Seq(0), trusted: true };
    Snapshot { position, table: vec![0; 1_024] }
}

fn announcement(epoch: u64, seq: u64, slot: u32) -> Announcement {
    Announcement {
        epoch: Epoch(epoch),
        seq: Seq(seq),
        kind: Kind::Change,
        slots: Slots::from_raw([slot]),
        writes: SmallVec::new(),
    }
}

fn peers_entry(epoch: u64, as_of: u64, slot: u32) -> Stamp {
    Stamp::from_parts(epoch, Seq(as_of), Slots::from_raw([slot]))
}

/// Found by the simulator: a peer's entry was promoted from L2 while this node had yet to hear of the peer's last
/// announcements; then a write here could not be announced, was raised to `watermark + 1`, and lay below the stamp.
#[test]
fn an_entry_from_ahead_does_not_survive_a_write_that_could_not_be_announced() {
    let coherence = node(7, 10);
    let ahead = peers_entry(7, 12, 3);
    assert_eq!(coherence.judge(&ahead, Filled::ByPeer, NOW), Proof::Unproven);
    coherence.apply(&announcement(7, 11, 900), NOW);
    coherence.apply(&announcement(7, 12, 900), NOW);
    assert_eq!(coherence.judge(&ahead, Filled::ByPeer, NOW), Proof::Leased);
    coherence.apply_unannounced(&Slots::from_raw([3]), Kind::Change, NOW);
    assert_eq!(coherence.judge(&ahead, Filled::ByPeer, NOW), Proof::Incoherent);
}

/// The answers to a snapshot and to a later announcement reach different tasks, and may be handled in either order.
#[test]
fn an_own_announcement_in_a_new_epoch_survives_an_older_snapshot_of_it() {
    let coherence = node(7, 10);
    coherence.apply_own(&announcement(8, 5, 3), NOW);
    coherence.apply_own(&announcement(8, 6, 4), NOW);
    coherence.adopt(&snapshot(8, 4), NOW);
    coherence.grant(Epoch(8), NOW, NOW.plus(STALENESS / 2));
    for slot in [3, 4] {
        assert_eq!(coherence.judge(&peers_entry(8, 4, slot), Filled::ByPeer, NOW), Proof::Incoherent);
    }
    assert_eq!(coherence.judge(&peers_entry(8, 4, 5), Filled::ByPeer, NOW), Proof::Leased);
}

#[test]
fn a_gap_raises_slots_and_waits_with_the_watermark() {
    let coherence = node(7, 10);
    assert_eq!(coherence.apply(&announcement(7, 12, 3), NOW), Applied::Gap);
    assert_eq!(coherence.watermark(), Seq(10));
    assert_eq!(coherence.judge(&peers_entry(7, 10, 3), Filled::ByPeer, NOW), Proof::Incoherent);
    assert_eq!(coherence.apply(&announcement(7, 11, 3), NOW), Applied::InOrder);
    assert_eq!(coherence.apply(&announcement(7, 11, 3), NOW), Applied::Repeated);
    assert_eq!(coherence.apply(&announcement(6, 12, 3), NOW), Applied::OtherEpoch);
}

#[test]
fn without_a_lease_only_what_was_filled_here_counts_and_not_for_long() {
    let coherence = node(7, 10);
    let stamp = coherence.stamp(Slots::from_raw([3]));
    let later = NOW.plus(STALENESS);
    assert_eq!(coherence.judge(&stamp, Filled::Here(NOW), later), Proof::Young);
    assert_eq!(coherence.judge(&stamp, Filled::ByPeer, later), Proof::Unproven);
    assert_eq!(coherence.judge(&stamp, Filled::Here(NOW), later.plus(STALENESS)), Proof::Unproven);
}

/// Found by the consistency checker: the publication lost its tables and got them back, and for a moment the lease that was
/// granted for the empty one met entries of the tables in it.
#[test]
fn a_revoked_lease_is_not_granted_by_what_was_asked_before() {
    let node = node(7, 3);
    let later = NOW.plus(STALENESS / 8);
    assert!(node.lease_held(later));
    node.revoke(later);
    assert!(!node.lease_held(later));
    for asked_at in [NOW, later] {
        node.grant(Epoch(7), asked_at, asked_at.plus(STALENESS / 2));
        assert!(!node.lease_held(later), "asked at {asked_at:?}");
    }
    let after = Moment::from_nanos(later.as_nanos() + 1);
    node.grant(Epoch(7), after, after.plus(STALENESS / 2));
    assert!(node.lease_held(after));
}
