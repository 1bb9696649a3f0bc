//! The last events of a run, for whoever has to find out what happened.

use std::collections::VecDeque;
use std::fmt::Write as _;

use cache_core::clock::Moment;

use super::world::START;

/// How many events a failure shows.
const KEPT: usize = 120;

#[derive(Debug, Default)]
pub(super) struct Trace {
    lines: VecDeque<String>,
    digest: u64,
}

impl Trace {
    pub(super) fn add(&mut self, now: Moment, what: &str) {
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        let micros = now.since(START).as_micros();
        let line = format!("{:>6}.{:03} ms  {what}", micros / 1_000, micros % 1_000);
        // FNV-1a over all lines, also those forgotten: two runs are the same iff their digests are.
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines.push_back(line);
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |mut text, line| {
            let _ = writeln!(text, "{line}");
            text
        })
    }
}
