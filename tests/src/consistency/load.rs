//! Everything that readers and writers share.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::RwLock;
use tokio_postgres::Client;

use super::history::Token;
use super::judge::{Claim, Judge, Verdict, Violation};
use super::question::{Question, USERS};
use super::schema::{DATABASE, bearer};
use super::tally::Tally;

/// Tokens that readers choose from.
const TOKENS_MAX: usize = 64;
/// Violations that are kept with their evidence; more are only counted.
const EVIDENCE_MAX: usize = 50;

/// How much load there is to be.
#[derive(Debug, Clone)]
pub struct Pressure {
    /// readers on each node
    pub readers: usize,
    /// pause of a reader between two reads
    pub pause: Option<Duration>,
    /// what all randomness follows from
    pub seed: u64,
}

/// How a writer reaches the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// past the nodes
    Sql,
    /// through one node or another
    Proxy,
}

/// Readers and writers at work.
#[derive(Debug)]
pub struct Load {
    pub(super) judge: Judge,
    pub(super) ports: Vec<u16>,
    pub(super) bearers: Vec<String>,
    pub(super) seed: u64,
    pub(super) pause: Option<Duration>,
    /// writers hold it while they write; whoever holds it alone has no write under way
    pub(super) gate: RwLock<()>,
    postgres_port: AtomicU16,
    tokens: Mutex<VecDeque<Token>>,
    tallies: Vec<Mutex<Tally>>,
    violations: Mutex<Vec<Violation>>,
    broken: AtomicU64,
    written: [AtomicU64; 2],
    stop: AtomicBool,
    newest: Mutex<Question>,
}

impl Load {
    /// For clients of the nodes on these ports.
    #[must_use]
    pub fn new(pressure: &Pressure, ports: Vec<u16>, postgres_port: u16, max_staleness: Duration) -> Self {
        let readers = ports.len() * pressure.readers;
        Self {
            judge: Judge::new(max_staleness, Instant::now()),
            ports,
            bearers: USERS.into_iter().map(|user| format!("Bearer {}", bearer(user))).collect(),
            seed: pressure.seed,
            pause: pressure.pause,
            gate: RwLock::new(()),
            postgres_port: AtomicU16::new(postgres_port),
            tokens: Mutex::default(),
            tallies: (0..readers).map(|_| Mutex::default()).collect(),
            violations: Mutex::default(),
            broken: AtomicU64::new(0),
            written: [AtomicU64::new(0), AtomicU64::new(0)],
            stop: AtomicBool::new(false),
            newest: Mutex::new(Question::Narrow(0, 0)),
        }
    }

    /// How many readers there are to be.
    pub(super) fn readers(&self) -> usize {
        self.tallies.len()
    }

    /// Ends it; the tasks end by themselves.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Takes what was counted since the last time.
    ///
    /// # Panics
    /// If a reader did.
    pub fn take_tally(&self) -> Tally {
        let mut all = Tally::default();
        for tally in &self.tallies {
            all.add(&std::mem::take(&mut *tally.lock().expect("nobody panics holding this")));
        }
        all
    }

    /// The violations so far, with evidence.
    ///
    /// # Panics
    /// If a reader did.
    pub fn violations(&self) -> Vec<Violation> {
        self.violations.lock().expect("nobody panics holding this").clone()
    }

    /// How many violations there are.
    pub fn broken(&self) -> u64 {
        self.broken.load(Relaxed)
    }

    /// Writes by SQL, and through the nodes.
    pub fn written(&self) -> (u64, u64) {
        (self.written[0].load(Relaxed), self.written[1].load(Relaxed))
    }

    /// From now on writers find Postgres there.
    pub fn move_to(&self, port: u16) {
        self.postgres_port.store(port, Relaxed);
    }

    /// What nobody had asked until a moment ago.
    pub(super) fn newest(&self) -> Question {
        *self.newest.lock().expect("nobody panics holding this")
    }

    /// From now on readers ask this too.
    pub(super) fn ask_too(&self, question: Question) {
        *self.newest.lock().expect("nobody panics holding this") = question;
    }

    /// What the judge says of a read.
    pub(super) fn note(&self, reader: usize, verdict: Verdict) {
        match verdict {
            Verdict::Fine(judged) => self.tally(reader, |tally| {
                tally.judged += 1;
                if judged.claim == Claim::Fresh {
                    tally.stalest = tally.stalest.max(judged.staleness);
                }
            }),
            Verdict::Broken(violation) => {
                self.tally(reader, |tally| tally.judged += 1);
                self.broken.fetch_add(1, Relaxed);
                let mut violations = self.violations.lock().expect("nobody panics holding this");
                if violations.len() < EVIDENCE_MAX {
                    violations.push(*violation);
                }
            }
            Verdict::Deferred => {}
            Verdict::Dropped => self.tally(reader, |tally| tally.dropped += 1),
        }
    }

    pub(super) fn goes_on(&self) -> bool {
        !self.stop.load(Relaxed)
    }

    pub(super) fn tally(&self, reader: usize, count: impl FnOnce(&mut Tally)) {
        count(&mut self.tallies[reader].lock().expect("nobody panics holding this"));
    }

    pub(super) fn tokens(&self) -> std::sync::MutexGuard<'_, VecDeque<Token>> {
        self.tokens.lock().expect("nobody panics holding this")
    }

    pub(super) fn keep_token(&self, token: Token) {
        let mut tokens = self.tokens();
        tokens.push_back(token);
        if tokens.len() > TOKENS_MAX {
            tokens.pop_front();
        }
    }

    pub(super) fn count_write(&self, way: Way) {
        let place = match way {
            Way::Sql => 0,
            Way::Proxy => 1,
        };
        self.written[place].fetch_add(1, Relaxed);
    }

    /// A session past the nodes.
    pub(super) async fn postgres(&self) -> Option<Client> {
        crate::postgres::connect(self.postgres_port.load(Relaxed), DATABASE).await.ok()
    }
}
