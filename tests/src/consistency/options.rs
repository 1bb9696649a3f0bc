//! What can be asked of a run.

use std::fmt;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::fault::Fault;
use super::stage::Topology;

/// When a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// after this time
    Time(Duration),
    /// after this many judged reads
    Reads(u64),
}

/// What a run does after a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnViolation {
    /// goes on, and reports them all
    GoOn,
    /// ends
    End,
}

/// What is asked of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// how many nodes
    pub nodes: usize,
    /// readers on each
    pub readers: usize,
    /// pause of a reader between two reads
    pub pause: Option<Duration>,
    /// when it ends
    pub until: Until,
    /// what all randomness follows from
    pub seed: u64,
    /// which faults may strike
    pub faults: Vec<Fault>,
    /// on which topologies of Redis, one after the other
    pub topologies: Vec<Topology>,
    /// the bound that the nodes are set to, and judged by
    pub max_staleness: Duration,
    /// what a violation means for the run
    pub on_violation: OnViolation,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 3,
            readers: 3,
            pause: None,
            until: Until::Time(Duration::from_secs(120)),
            seed: 1,
            faults: Fault::ALL.to_vec(),
            topologies: vec![Topology::Single, Topology::Sentinel],
            max_staleness: Duration::from_secs(1),
            on_violation: OnViolation::GoOn,
        }
    }
}

impl Options {
    /// The command line.
    #[must_use]
    pub fn command() -> Command {
        let names: Vec<String> =
            Fault::ALL.iter().map(|fault| format!("  {:22} {}", fault.name(), fault.what())).collect();
        let arg = |name: &'static str, value: &'static str, default: &'static str, help: &'static str| {
            Arg::new(name).long(name).value_name(value).default_value(default).help(help)
        };
        Command::new("consistency")
            .about("Runs nodes, writers, readers and faults, and judges every read")
            .after_help(format!("Faults:\n{}\n\nExits with 0 if every promise was kept.", names.join("\n")))
            .arg(arg("nodes", "N", "3", "nodes"))
            .arg(arg("readers", "N", "3", "readers on each node"))
            .arg(arg("pause", "TIME", "0ms", "pause of a reader between two reads"))
            .arg(arg("for", "TIME", "2m", "how long to run: 90s, 10m, 2h"))
            .arg(
                Arg::new("reads")
                    .long("reads")
                    .value_name("N")
                    .help("run until so many reads are judged, instead of --for"),
            )
            .arg(arg(
                "seed",
                "N",
                "1",
                "decides order, kinds, victims and times of faults, and what is read and written",
            ))
            .arg(arg("faults", "LIST", "all", "all, none, or names separated by commas"))
            .arg(arg("redis", "KIND", "both", "single, sentinel, or both: the last fifth of the run with a Sentinel"))
            .arg(arg("max-staleness", "TIME", "1s", "the bound to set and to judge by"))
            .arg(
                Arg::new("until-violation")
                    .long("until-violation")
                    .action(ArgAction::SetTrue)
                    .help("end with the first violation"),
            )
    }

    /// Reads the command line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(words)?;
        Self::read(&matches).map_err(|problem| command.error(clap::error::ErrorKind::ValueValidation, problem))
    }

    fn read(matches: &ArgMatches) -> Result<Self, String> {
        let text = |name: &str| matches.get_one::<String>(name).map(String::as_str).unwrap_or_default();
        let number =
            |name: &str| text(name).parse::<u64>().map_err(|_| format!("--{name}: {:?} is no number", text(name)));
        let count = |name: &str| match number(name)? {
            count @ 1..=64 => usize::try_from(count).map_err(|error| error.to_string()),
            other => Err(format!("--{name}: {other} is not between 1 and 64")),
        };
        let pause = time(text("pause"))?;
        let until =
            if text("reads").is_empty() { Until::Time(time(text("for"))?) } else { Until::Reads(number("reads")?) };
        Ok(Self {
            nodes: count("nodes")?,
            readers: count("readers")?,
            pause: (!pause.is_zero()).then_some(pause),
            until,
            seed: number("seed")?,
            faults: faults(text("faults"))?,
            topologies: match text("redis") {
                "single" => vec![Topology::Single],
                "sentinel" => vec![Topology::Sentinel],
                "both" => vec![Topology::Single, Topology::Sentinel],
                other => return Err(format!("--redis: {other:?} is neither single, sentinel nor both")),
            },
            max_staleness: time(text("max-staleness"))?,
            on_violation: if matches.get_flag("until-violation") { OnViolation::End } else { OnViolation::GoOn },
        })
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, readers, seed, faults, max_staleness, .. } = self;
        let faults = match faults.len() {
            0 => "no faults".to_owned(),
            all if all == Fault::ALL.len() => "all faults".to_owned(),
            _ => faults.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(", "),
        };
        write!(f, "Seed {seed}, {nodes} nodes, {readers} readers on each, max_staleness {max_staleness:?}; {faults}.")
    }
}

fn faults(text: &str) -> Result<Vec<Fault>, String> {
    match text {
        "all" => Ok(Fault::ALL.to_vec()),
        "none" => Ok(Vec::new()),
        list => list
            .split(',')
            .map(|name| Fault::named(name.trim()).ok_or_else(|| format!("--faults: there is no {name:?}")))
            .collect(),
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is no time"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        "h" => Ok(Duration::from_secs(number * 3_600)),
        _ => Err(format!("{text:?} has no unit: ms, s, m or h")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options, String> {
        let words = std::iter::once("consistency").chain(words.iter().copied()).map(str::to_owned);
        Options::parse(words).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_is_read() {
        let options =
            parse(&["--nodes", "5", "--for", "10m", "--seed", "7", "--faults", "node-killed,slot-dropped"]).unwrap();
        assert_eq!((options.nodes, options.seed, options.until), (5, 7, Until::Time(Duration::from_secs(600))));
        assert_eq!(options.faults, [Fault::NodeKilled, Fault::SlotDropped]);
        assert_eq!(parse(&["--reads", "100"]).unwrap().until, Until::Reads(100));
        assert!(parse(&["--faults", "earthquake"]).unwrap_err().contains("earthquake"));
        assert!(parse(&["--for", "10"]).unwrap_err().contains("unit"));
    }

    #[test]
    fn every_fault_has_a_name_of_its_own_and_can_happen_somewhere() {
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()), Some(fault));
            assert!(fault.fits(Topology::Single) || fault.fits(Topology::Sentinel), "{fault:?}");
        }
    }
}
