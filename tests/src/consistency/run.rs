//! A run from beginning to end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::sleep;

use super::clients;
use super::fault::Fault;
use super::gremlin::Gremlin;
use super::load::{Load, Pressure};
use super::options::{OnViolation, Options, Until};
use super::report::{Act, Episode, Report};
use super::schedule::Schedule;
use super::stage::{Stage, Topology};
use super::tally::Tally;

/// How long nodes may take to have their leases back after a fault is over; after that they count as lost.
const RECOVER: Duration = Duration::from_secs(60);
/// If it takes longer, the nodes' logs are shown.
const LONG: Duration = Duration::from_secs(10);
/// What is still counted with a fault when all leases are back.
const AFTERMATH: Duration = Duration::from_secs(1);
/// Between two faults, in milliseconds.
const CALM_MS: std::ops::Range<u64> = 500..4_000;
/// The share of a run with a Sentinel, if it has both topologies.
const SENTINEL_SHARE: f64 = 0.2;

/// Does what the options say. `say` hears what happens.
///
/// # Panics
/// If a server or node does not start, or a client panicked.
pub async fn run(options: &Options, say: impl Fn(&str)) -> Report {
    let mut acts = Vec::new();
    for topology in &options.topologies {
        let act = Box::pin(act(options, *topology, until(options, *topology), &say)).await;
        let over = act.broken > 0 && options.on_violation == OnViolation::End;
        acts.push(act);
        if over {
            break;
        }
    }
    Report { options: options.clone(), acts }
}

fn until(options: &Options, topology: Topology) -> Until {
    let share = match (options.topologies.len(), topology) {
        (1, _) => return options.until,
        (_, Topology::Sentinel) => SENTINEL_SHARE,
        (_, Topology::Single) => 1.0 - SENTINEL_SHARE,
    };
    match options.until {
        Until::Time(time) => Until::Time(time.mul_f64(share)),
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share"
        )]
        Until::Reads(reads) => Until::Reads((reads as f64 * share).ceil() as u64),
    }
}

async fn act(options: &Options, topology: Topology, until: Until, say: &impl Fn(&str)) -> Act {
    say(&format!("{topology:?}: starting {} nodes", options.nodes));
    let mut stage = Stage::open(options.nodes, topology, options.max_staleness).await;
    let pressure = Pressure { readers: options.readers, pause: options.pause, seed: options.seed };
    let load = Arc::new(Load::new(&pressure, stage.ports(), stage.primary.port(), options.max_staleness));
    let mut tasks = clients::start(&load);
    let mut random = StdRng::seed_from_u64(options.seed);
    let mut schedule = Schedule::of(&options.faults, topology);
    let (began, mut calm, mut episodes) = (Instant::now(), Tally::default(), Vec::new());
    let judged = |calm: &Tally, episodes: &[Episode]| -> u64 {
        calm.judged + episodes.iter().map(|episode| episode.tally.judged).sum::<u64>()
    };
    while goes_on(until, began, judged(&calm, &episodes), &load, options.on_violation) {
        let pause = Duration::from_millis(random.random_range(CALM_MS));
        match until {
            Until::Time(time) => sleep(pause.min(time.saturating_sub(began.elapsed()))).await,
            Until::Reads(_) => sleep(pause).await,
        }
        calm.add(&load.take_tally());
        if !goes_on(until, began, judged(&calm, &episodes), &load, options.on_violation) {
            break;
        }
        if let Some(fault) = schedule.next(&mut random) {
            let episode = Box::pin(episode(fault, &mut stage, &load, &mut random, began, say)).await;
            say(&line(&episode, judged(&calm, &episodes), &load));
            episodes.push(episode);
        }
    }
    load.stop();
    while let Some(end) = tasks.join_next().await {
        end.expect("a client panicked");
    }
    calm.add(&load.take_tally());
    Act {
        topology,
        episodes,
        calm,
        broken: load.broken(),
        violations: load.violations(),
        written: load.written(),
        took: began.elapsed(),
    }
}

fn goes_on(until: Until, began: Instant, judged: u64, load: &Load, on_violation: OnViolation) -> bool {
    let over = match until {
        Until::Time(time) => began.elapsed() >= time,
        Until::Reads(reads) => judged >= reads,
    };
    !over && (on_violation == OnViolation::GoOn || load.broken() == 0)
}

async fn episode(
    fault: Fault,
    stage: &mut Stage,
    load: &Load,
    random: &mut StdRng,
    began: Instant,
    say: &impl Fn(&str),
) -> Episode {
    let at = began.elapsed();
    let detail = Box::pin(Gremlin { stage: &mut *stage, load, random }.strike(fault)).await;
    let lasted = began.elapsed() - at;
    let recovered = stage.until_leases(RECOVER).await;
    if recovered.is_none_or(|took| took > LONG) {
        say(&stage.logs());
    }
    sleep(AFTERMATH).await;
    Episode { fault, at, detail, lasted, recovered, tally: load.take_tally() }
}

fn line(episode: &Episode, judged: u64, load: &Load) -> String {
    let Episode { fault, at, detail, lasted, recovered, tally } = episode;
    format!(
        "{:7.1} s {:21} {detail}: lasted {lasted:.0?}, leases {}; {} errors, stalest {:.0?}; {} judged, {} violations",
        at.as_secs_f64(),
        fault.name(),
        recovered.map_or("not back".to_owned(), |recovered| format!("back after {recovered:.0?}")),
        tally.failed(),
        tally.stalest,
        judged + tally.judged,
        load.broken(),
    )
}
