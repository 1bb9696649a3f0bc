//! Clients that read, and hand what they get to the judge.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, HOST};
use http_body_util::Full;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::sleep;

use crate::connection::{Answer, Connection, NoAnswer};
use crate::consistency::history::Token;
use crate::consistency::judge::{Claim, Evidence, Observation, Verdict, Violation, Wrong};
use crate::consistency::load::Load;
use crate::consistency::question::Question;
use crate::consistency::tally::{Ending, From, Outage};

/// Pause after a request that got no answer: a client that is refused does not hammer.
const AFTER_FAILURE: Duration = Duration::from_millis(20);
/// One in so many readers shows a token.
const WITH_TOKEN: f64 = 0.25;

/// One client of one node, until the load ends.
pub(super) async fn run(load: Arc<Load>, node: usize, number: usize) {
    let mut reader = Reader {
        connection: Connection::to(load.ports[node]),
        random: StdRng::seed_from_u64(load.seed ^ (number as u64) << 16),
        outage: Outage::default(),
        load,
        node,
        number,
    };
    while reader.load.goes_on() {
        reader.read().await;
    }
}

struct Reader {
    load: Arc<Load>,
    connection: Connection,
    random: StdRng,
    outage: Outage,
    node: usize,
    number: usize,
}

impl Reader {
    async fn read(&mut self) {
        let question = Question::random(&mut self.random, self.load.newest());
        let token = self.token();
        let request = self.request(question, token.as_ref());
        let begun = Instant::now();
        let answer = self.connection.send(request).await;
        let ended = Instant::now();
        let ending = match &answer {
            Ok(answer) if answer.status >= 500 => Ending::Refused,
            Ok(answer) => Ending::Answered { from: came_from(answer) },
            Err(NoAnswer::Connection) => Ending::Unconnected,
            Err(NoAnswer::Hung) => Ending::Hung,
        };
        let outage = match ending {
            Ending::Answered { .. } => self.outage.over(),
            Ending::Refused | Ending::Unconnected | Ending::Hung => {
                self.outage.failed(begun);
                Duration::ZERO
            }
        };
        self.load.tally(self.number, |tally| {
            tally.ended(ending, ended - begun);
            tally.outage = tally.outage.max(outage);
            tally.with_token += u64::from(token.is_some());
        });
        match answer {
            Ok(answer) if answer.status < 500 => self.judge(question, token, &answer, begun, ended),
            _ => sleep(AFTER_FAILURE).await,
        }
        if let Some(pause) = self.load.pause {
            sleep(pause).await;
        }
    }

    /// Often the newest, which asks most of a node.
    fn token(&mut self) -> Option<Token> {
        if !self.random.random_bool(WITH_TOKEN) {
            return None;
        }
        let tokens = self.load.tokens();
        if self.random.random_bool(0.5) {
            tokens.back().cloned()
        } else {
            tokens.iter().collect::<Vec<_>>().choose(&mut self.random).map(|token| (*token).clone())
        }
    }

    fn request(&self, question: Question, token: Option<&Token>) -> Request<Full<Bytes>> {
        let mut request = Request::get(format!("/rest/v1{}", question.target())).header(HOST, "checker");
        if let Some(user) = question.user() {
            request = request.header(AUTHORIZATION, &self.load.bearers[user]);
        }
        if question.counts() {
            request = request.header("prefer", "count=exact");
        }
        if let Some(token) = token {
            request = request.header("transom-min-token", token.to_string());
        }
        request.body(Full::default()).expect("every part is a valid one")
    }

    fn judge(&self, question: Question, token: Option<Token>, answer: &Answer, begun: Instant, ended: Instant) {
        let cache_status = answer.header("cache-status");
        let evidence = Evidence { node: self.node, target: question.target(), cache_status: cache_status.to_owned() };
        let claim = if cache_status.contains("stale-") { Claim::Stale } else { Claim::Fresh };
        let principal = question.principal();
        let mut observation =
            Observation { begun, ended, sightings: Vec::new(), token, principal, claim, evidence: Box::new(evidence) };
        let sightings = match answer.status {
            // 206: a count was asked for, and there are more rows than the one that was asked for.
            200 | 206 => question.sightings(&answer.body, answer.total()),
            status => Err(format!("{status} {}", String::from_utf8_lossy(&answer.body))),
        };
        let verdict = match sightings {
            Ok(sightings) => {
                observation.sightings = sightings;
                self.load.judge.submit(observation)
            }
            Err(what) => Verdict::Broken(Box::new(Violation {
                wrong: Wrong::Malformed(what),
                key: None,
                observation,
                history: Vec::new(),
            })),
        };
        self.load.note(self.number, verdict);
    }
}

fn came_from(answer: &Answer) -> From {
    let status = answer.header("cache-status");
    match status.contains("; hit") {
        true if status.contains("stale-") => From::StaleCache,
        true => From::Cache,
        false => From::Origin,
    }
}
