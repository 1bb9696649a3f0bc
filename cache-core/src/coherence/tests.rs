//! Bugs of the coherence rules, by name, and the rules they broke.

use super::*;
use crate::tag::Tag;

const NOW: Moment = Moment::from_nanos(1_000_000_000_000);
const STALENESS: Duration = Duration::from_secs(1);
const COUNT: SlotCount = SlotCount::DEFAULT;

/// A node that adopted this epoch at this place, with a lease from now.
fn node(epoch: u64, seq: u64) -> Coherence {
    let coherence = Coherence::new(COUNT, STALENESS);
    coherence.adopt(&snapshot(epoch, seq), NOW);
    coherence.grant(Epoch(epoch), NOW, NOW.plus(STALENESS / 2));
    coherence
}

fn snapshot(epoch: u64, seq: u64) -> Snapshot {
    let position = Position { epoch: Epoch(epoch), seq: Seq(seq), purged: Seq(0), trusted: Trusted::Yes };
    Snapshot { position, table: vec![0; COUNT.get() as usize] }
}

fn slots(name: &str) -> Slots {
    Slots::of([Tag::of_row(name)], COUNT)
}

fn tags(name: &str) -> Tags {
    [Tag::of_row(name)].into_iter().collect()
}

fn announcement(epoch: u64, seq: u64, name: &str) -> Announcement {
    Announcement { epoch: Epoch(epoch), seq: Seq(seq), kind: Kind::Change, slots: slots(name), writes: SmallVec::new() }
}

fn peers_entry(epoch: u64, as_of: u64, name: &str) -> Stamp {
    Stamp::from_parts(epoch, Seq(as_of), tags(name))
}

/// Found by the simulator: a peer's entry was promoted from L2 while this node had yet to hear of the peer's last
/// announcements; then a write here could not be announced, was raised to `watermark + 1`, and lay below the stamp.
#[test]
fn an_entry_from_ahead_does_not_survive_a_write_that_could_not_be_announced() {
    let coherence = node(7, 10);
    let ahead = peers_entry(7, 12, "a");
    assert_eq!(coherence.judge(&ahead, Filled::ByPeer, NOW), Proof::Unproven);
    coherence.apply(&announcement(7, 11, "z"), NOW);
    coherence.apply(&announcement(7, 12, "z"), NOW);
    assert_eq!(coherence.judge(&ahead, Filled::ByPeer, NOW), Proof::Leased);
    coherence.apply_unannounced(&slots("a"), Kind::Change, NOW);
    assert_eq!(coherence.judge(&ahead, Filled::ByPeer, NOW), Proof::Incoherent);
}

/// The answers to a snapshot and to a later announcement reach different tasks, and may be handled in either order.
#[test]
fn an_own_announcement_in_a_new_epoch_survives_an_older_snapshot_of_it() {
    let coherence = node(7, 10);
    coherence.apply_own(&announcement(8, 5, "a"), NOW);
    coherence.apply_own(&announcement(8, 6, "b"), NOW);
    coherence.adopt(&snapshot(8, 4), NOW);
    coherence.grant(Epoch(8), NOW, NOW.plus(STALENESS / 2));
    for name in ["a", "b"] {
        assert_eq!(coherence.judge(&peers_entry(8, 4, name), Filled::ByPeer, NOW), Proof::Incoherent);
    }
    assert_eq!(coherence.judge(&peers_entry(8, 4, "c"), Filled::ByPeer, NOW), Proof::Leased);
}

#[test]
fn a_gap_raises_slots_and_waits_with_the_watermark() {
    let coherence = node(7, 10);
    assert_eq!(coherence.apply(&announcement(7, 12, "a"), NOW), Applied::Gap);
    assert_eq!(coherence.watermark(), Seq(10));
    assert_eq!(coherence.judge(&peers_entry(7, 10, "a"), Filled::ByPeer, NOW), Proof::Incoherent);
    assert_eq!(coherence.apply(&announcement(7, 11, "a"), NOW), Applied::InOrder);
    assert_eq!(coherence.apply(&announcement(7, 11, "a"), NOW), Applied::Repeated);
    assert_eq!(coherence.apply(&announcement(6, 12, "a"), NOW), Applied::OtherEpoch);
}

#[test]
fn without_a_lease_only_what_was_filled_here_counts_and_not_for_long() {
    let coherence = node(7, 10);
    let stamp = coherence.stamp(tags("a"));
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
