//! What a run says in the end: Markdown, to be kept as it is.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use super::fault::Fault;
use super::judge::Violation;
use super::options::Options;
use super::stage::Topology;
use super::tally::Tally;

/// One fault, and what clients saw until all leases were back and a moment longer.
#[derive(Debug)]
pub struct Episode {
    /// which
    pub fault: Fault,
    /// since the start
    pub at: Duration,
    /// what is worth knowing of it
    pub detail: String,
    /// how long it lasted
    pub lasted: Duration,
    /// from its end until every node had its lease; `None` if that did not happen
    pub recovered: Option<Duration>,
    /// what clients saw
    pub tally: Tally,
}

/// One run on one topology.
#[derive(Debug)]
pub struct Act {
    /// which
    pub topology: Topology,
    /// the faults, in their order
    pub episodes: Vec<Episode>,
    /// what clients saw in between
    pub calm: Tally,
    /// how many violations there are
    pub broken: u64,
    /// the first of them
    pub violations: Vec<Violation>,
    /// writes by SQL, and through the nodes
    pub written: (u64, u64),
    /// how long it took
    pub took: Duration,
}

/// A whole run.
#[derive(Debug)]
pub struct Report {
    /// what was asked for
    pub options: Options,
    /// what came of it
    pub acts: Vec<Act>,
}

impl Report {
    /// Whether every promise was kept, and every node came back.
    #[must_use]
    pub fn passed(&self) -> bool {
        let well = |act: &Act| act.broken == 0 && act.episodes.iter().all(|episode| episode.recovered.is_some());
        self.acts.iter().all(well)
    }

    /// Reads that were judged.
    #[must_use]
    pub fn judged(&self) -> u64 {
        self.total().judged
    }

    fn total(&self) -> Tally {
        let mut total = Tally::default();
        for act in &self.acts {
            total.add(&act.calm);
            act.episodes.iter().for_each(|episode| total.add(&episode.tally));
        }
        total
    }

    fn episodes(&self) -> impl Iterator<Item = &Episode> {
        self.acts.iter().flat_map(|act| &act.episodes)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total();
        let broken: u64 = self.acts.iter().map(|act| act.broken).sum();
        let took: Duration = self.acts.iter().map(|act| act.took).sum();
        let (sql, proxy) = self.acts.iter().fold((0, 0), |sum, act| (sum.0 + act.written.0, sum.1 + act.written.1));
        writeln!(f, "{}", self.options)?;
        writeln!(f)?;
        writeln!(
            f,
            "**{} reads judged, {broken} violations**, in {:.0} s: {} hits, {} misses, {} marked as stale, {} with a token; {} \
             reads without an answer; {} not judged. {sql} writes by SQL, {proxy} through the nodes. {} faults.",
            total.judged,
            took.as_secs_f64(),
            total.hits,
            total.misses,
            total.marked,
            total.with_token,
            total.failed(),
            total.dropped,
            self.episodes().count(),
        )?;
        writeln!(f)?;
        f.write_str(&self.table())?;
        writeln!(f)?;
        f.write_str(&self.list())?;
        for violation in self.acts.iter().flat_map(|act| &act.violations) {
            writeln!(f, "\n```text\n{violation}```")?;
        }
        Ok(())
    }
}

const HEAD: &str = "\
| fault | times | reads | errors | longest without an answer | p50 | p99 | max | stalest fresh answer | marked stale | leases back after |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
";

impl Report {
    /// What clients saw, fault by fault.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = HEAD.to_owned();
        let mut calm = Tally::default();
        self.acts.iter().for_each(|act| calm.add(&act.calm));
        table.push_str(&row("none", 0, &calm, "-"));
        let mut kinds: BTreeMap<Fault, Vec<&Episode>> = BTreeMap::new();
        self.episodes().for_each(|episode| kinds.entry(episode.fault).or_default().push(episode));
        for (fault, episodes) in kinds {
            let mut tally = Tally::default();
            episodes.iter().for_each(|episode| tally.add(&episode.tally));
            let recovered: Option<Vec<Duration>> = episodes.iter().map(|episode| episode.recovered).collect();
            let recovered = recovered.and_then(|all| all.into_iter().max()).map_or("never".to_owned(), millis);
            table.push_str(&row(fault.what(), episodes.len(), &tally, &recovered));
        }
        table
    }

    fn list(&self) -> String {
        let mut list = "Faults in their order (seconds since the start of their act: fault, detail, how long it lasted, leases back after):\n\n".to_owned();
        for episode in self.episodes() {
            let recovered = episode.recovered.map_or("never".to_owned(), millis);
            let (at, name, lasted) = (episode.at.as_secs_f64(), episode.fault.name(), millis(episode.lasted));
            let _ = writeln!(list, "* {at:.1} {name} ({}): {lasted}, {recovered}", episode.detail);
        }
        list
    }
}

fn row(what: &str, times: usize, tally: &Tally, recovered: &str) -> String {
    format!(
        "| {what} | {times} | {} | {} | {} | {} | {} | {} | {} | {} | {recovered} |\n",
        tally.answered() + tally.failed(),
        tally.failed(),
        millis(tally.outage),
        millis(tally.latency(0.5)),
        millis(tally.latency(0.99)),
        millis(tally.slowest),
        millis(tally.stalest),
        tally.marked,
    )
}

fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1e3;
    if millis < 10.0 { format!("{millis:.2} ms") } else { format!("{millis:.0} ms") }
}
