//! The protocol of section 3 of the design under every fault the simulator knows; and the proof that the simulator
//! would notice if one of its protections were missing.
//!
//! `TRANSOM_SIM_RUNS=<n>` plays that many seeds; `TRANSOM_SIM_SEED=<n>` replays one.

use std::collections::BTreeMap;

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
        let counts =
            [all.l1_leased, all.l1_young, all.l2, all.joined, all.with_token, all.owed, all.excused, all.resyncs];
        assert!(counts.iter().all(|count| *count > 100), "something never happened: {all:#?}");
        assert_eq!(all.faults.len(), 13, "some fault never struck: {all:#?}");
    }
}

#[test]
fn a_seed_replays_its_run() {
    for seed in 0..5 {
        let digest = || simulator::run(seed, None).map(|tally| tally.digest).map_err(|failure| failure.to_string());
        assert_eq!(digest(), digest(), "seed {seed}");
    }
}

/// Which promise breaks when a protection is missing, and a seed that showed it. Were the simulator to change, other
/// seeds are tried as well.
fn breaks(without: Protection, hint: u64, expected: &[Invariant]) {
    let broken = std::iter::once(hint).chain(0..RUNS_UNTIL_HARM).find_map(|seed| {
        let violation = simulator::run(seed, Some(without)).err()?.violation;
        expected.contains(&violation.invariant).then_some((seed, violation))
    });
    let (seed, violation) = broken.unwrap_or_else(|| {
        panic!("{RUNS_UNTIL_HARM} runs without {without:?} did no harm: the simulator is blind, or nobody needs it")
    });
    println!("without {without:?}: seed {seed}: {violation}");
}

/// Prints how often each missing protection does which harm, and the first seed that shows it.
#[test]
#[ignore = "for whoever changes the simulator"]
fn survey() {
    let only = std::env::var("TRANSOM_SIM_WITHOUT").ok();
    let chosen = |without: &Protection| only.as_ref().is_none_or(|only| *only == format!("{without:?}"));
    for without in Protection::ALL.into_iter().filter(chosen) {
        let mut found = BTreeMap::<Invariant, Vec<u64>>::new();
        for seed in 0..variable("TRANSOM_SIM_RUNS").unwrap_or(RUNS_UNTIL_HARM) {
            if let Err(failure) = simulator::run(seed, Some(without)) {
                found.entry(failure.violation.invariant).or_default().push(seed);
            }
        }
        println!("{without:?}: {found:?}");
    }
}
