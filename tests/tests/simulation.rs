//! The protocol of section 3 of the design under every fault the simulator knows; and the proof that the simulator
//! would notice if one of its protections were missing.
//!
//! `TRANSOM_SIM_RUNS=<n>` plays that many seeds; `TRANSOM_SIM_SEED=<n>` replays one.

use transom_tests::simulator::invariants::Invariant;
use transom_tests::simulator::{self, Protection, Tally};

/// Enough for every scenario to come up with every kind of network.
const RUNS: u64 = 150;
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
        all.add(&simulator::run(seed, None).unwrap_or_else(|failure| panic!("{failure}")));
    }
    println!("{runs} runs: {all:#?}");
    if runs >= RUNS {
        let counts = [all.l1_leased, all.l1_young, all.l2, all.joined, all.with_token, all.owed, all.excused, all.resyncs];
        assert!(counts.iter().all(|count| *count > 100), "something never happened: {all:#?}");
        assert_eq!(all.faults.len(), 12, "some fault never struck: {all:#?}");
    }
}

#[test]
fn a_seed_replays_its_run() {
    for seed in 0..5 {
        let digest = || simulator::run(seed, None).map(|tally| tally.digest).map_err(|failure| failure.to_string());
        assert_eq!(digest(), digest(), "seed {seed}");
    }
}

/// Plays until the missing protection does harm, and says which promise was broken first.
fn harm(without: Protection) -> Invariant {
    for seed in 0..RUNS_UNTIL_HARM {
        if let Err(failure) = simulator::run(seed, Some(without)) {
            println!("without {without:?}: seed {seed}: {}", failure.violation);
            return failure.violation.invariant;
        }
    }
    panic!("{RUNS_UNTIL_HARM} runs without {without:?} did no harm: the simulator is blind, or nobody needs it");
}

#[test]
fn survey() {
    for without in Protection::ALL {
        let mut found = std::collections::BTreeMap::<_, (u64, u64)>::new();
        for seed in 0..RUNS_UNTIL_HARM {
            if let Err(failure) = simulator::run(seed, Some(without)) {
                found.entry(failure.violation.invariant).or_insert((seed, 0)).1 += 1;
            }
        }
        println!("{without:?}: {found:?}");
    }
}
