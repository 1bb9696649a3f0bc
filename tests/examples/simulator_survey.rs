//! Prints how often each missing protection does which harm in which scenario, and the first seed that shows it: for
//! whoever changes the simulator and needs new seeds for its tests.
//!
//! `cargo run -p transom-tests --example simulator_survey -- [runs]`

use std::collections::BTreeMap;

use transom_tests::simulator::invariants::Invariant;
use transom_tests::simulator::{self, Protection, Scenario};

const RUNS: u64 = 400;

fn main() {
    let runs = std::env::args().nth(1).and_then(|runs| runs.parse().ok()).unwrap_or(RUNS);
    for without in Protection::ALL {
        for scenario in Scenario::ALL {
            let mut found = BTreeMap::<Invariant, (u64, u64)>::new();
            for seed in 0..runs {
                if let Err(failure) = simulator::run_without(seed, without, scenario) {
                    found.entry(failure.violation.invariant).or_insert((seed, 0)).1 += 1;
                }
            }
            if !found.is_empty() {
                println!("{without:?} in {scenario:?} (first seed, runs): {found:?}");
            }
        }
    }
}
