//! The protocol of docs/architecture.md under every fault the simulator knows; and the proof that the simulator
//! would notice if one of its protections were missing.
//!
//! `TRANSOM_SIM_RUNS=<n>` plays that many seeds; `TRANSOM_SIM_SEED=<n>` replays one. The example
//! `simulator_survey` shows what each protection is good for, after a change of the simulator.

use transom_tests::simulator::interleaving::{self, Guard, Played};
use transom_tests::simulator::invariants::Invariant;
use transom_tests::simulator::{self, Protection, Scenario, Tally};

/// Enough for every scenario to come up with every kind of network.
const RUNS: u64 = 400;
/// Seeds within which a missing protection must have done harm.
const RUNS_UNTIL_HARM: u64 = 400;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value:?}")))
}

#[test]
fn the_protocol_keeps_its_promises() {
    let seeds = match variable("TRANSOM_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("TRANSOM_SIM_RUNS").unwrap_or(RUNS),
    };
    let mut all = Tally::default();
    let runs = seeds.end - seeds.start;
    for seed in seeds {
        all.add(&simulator::run(seed).unwrap_or_else(|failure| panic!("{failure}")));
    }
    println!("{runs} runs: {all:#?}");
    if runs >= RUNS {
        let counts = [all.l1_leased, all.l1_young, all.l2, all.joined, all.with_token, all.owed, all.resyncs];
        assert!(all.excused > 0 && counts.iter().all(|count| *count > 100), "something never happened: {all:#?}");
        assert_eq!(all.faults.len(), 13, "some fault never struck: {all:#?}");
    }
}

#[test]
fn a_seed_replays_its_run() {
    for seed in 0..5 {
        let digest = || simulator::run(seed).map(|tally| tally.digest).map_err(|failure| failure.to_string());
        assert_eq!(digest(), digest(), "seed {seed}");
    }
}

/// Takes one protection away in the scenario that needs it, until the promise is broken that depends on it. The hint is
/// a seed that is known to show it; were the simulator to change, others are tried as well.
fn breaks(without: Protection, scenario: Scenario, hint: u64, promise: Invariant) {
    let broken = std::iter::once(hint).chain(0..RUNS_UNTIL_HARM).find_map(|seed| {
        let failure = simulator::run_without(seed, without, scenario).err()?;
        (failure.violation.invariant == promise).then_some(failure)
    });
    let failure = broken.unwrap_or_else(|| {
        panic!("{RUNS_UNTIL_HARM} runs without {without:?} did not break {promise:?}: the simulator is blind to it")
    });
    println!("without {without:?}: seed {}: {}", failure.seed, failure.violation);
}

macro_rules! each_protection_is_needed {
    ($($name:ident: $protection:ident, $scenario:ident, $hint:literal => $promise:ident;)+) => {
        $(#[test]
        fn $name() {
            breaks(Protection::$protection, Scenario::$scenario, $hint, Invariant::$promise);
        })+
    };
}

each_protection_is_needed! {
    a_stamp_taken_after_the_read_lies: StampBeforeRead, Calm, 0 => C1;
    without_a_lease_what_was_missed_is_served: Lease, Outages, 0 => C4;
    without_a_lease_what_was_announced_is_served: Lease, Relapses, 1 => C3;
    a_resync_without_the_table_hides_announcements: TableOnResync, Pubsub, 1 => C3;
    a_resync_without_the_table_breaks_tokens: TableOnResync, Pubsub, 0 => C5;
    a_redis_that_fell_back_goes_unnoticed: ReplicationId, Amnesia, 15 => C3;
    an_announcement_after_a_fall_is_taken_for_a_repetition: ReplicationIdOnAnnounce, Amnesia, 10 => OwnWrites;
    without_quiet_debts_come_too_late: QuietPeriod, Outages, 91 => Staleness;
    an_outage_noticed_late_adds_up: QuietSoon, Relapses, 1_002 => Staleness;
    a_debt_paid_after_trust_is_paid_too_late: FlushBeforeTrust, Outages, 12 => Staleness;
    an_old_name_for_a_new_history_hides_the_loss: NewEpoch, Amnesia, 0 => C4;
    an_old_name_for_a_new_history_breaks_tokens: NewEpoch, Amnesia, 2 => C5;
    a_node_that_owes_believes_its_peers: NoPeersWhileOwing, Amnesia, 142 => OwnWrites;
    a_slow_fill_outlives_the_bound: JoinOnlyFresh, Outages, 49 => Staleness;
}

/// Orders of events around one template; each takes microseconds.
const INTERLEAVINGS: u64 = 20_000;

#[test]
fn interleavings_of_templates_and_the_feed_leave_nothing_stale() {
    let mut all = Played::default();
    for seed in 0..INTERLEAVINGS {
        let played = interleaving::run(seed, None).unwrap_or_else(|stale| panic!("{stale}"));
        all.kept += played.kept;
        all.invalidated += played.invalidated;
        all.refused += played.refused;
        all.begun_again += played.begun_again;
    }
    println!("{INTERLEAVINGS} orders: {all:?}");
    let counts = [all.kept, all.invalidated, all.refused, all.begun_again];
    assert!(counts.iter().all(|count| *count > 100), "something never happened: {all:?}");
}

#[test]
fn interleavings_without_a_guard_of_templates_leave_something_stale() {
    for guard in [Guard::EditionCheck, Guard::SameEpoch, Guard::VisibleFirst] {
        let stale = (0..INTERLEAVINGS).find_map(|seed| interleaving::run(seed, Some(guard)).err());
        println!("without {guard:?}: {}", stale.unwrap_or_else(|| panic!("nobody misses {guard:?}")));
    }
}
