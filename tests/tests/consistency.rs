//! The consistency checker: that it finds what is wrong with a history, and nothing wrong with a short run.

use std::time::{Duration, Instant};

use transom_tests::consistency::fault::Fault;
use transom_tests::consistency::history::{REMEMBER, Token};
use transom_tests::consistency::judge::{Claim, Evidence, Judge, Observation, Verdict, Wrong};
use transom_tests::consistency::options::{OnViolation, Until};
use transom_tests::consistency::question::{Key, Question, Seen, Sighting, Table};
use transom_tests::consistency::stage::Topology;
use transom_tests::consistency::{self, Options};

const BOUND: Duration = Duration::from_secs(1);
const ITEM: Key = Key { table: Table::Item, id: 1 };
const OTHER: Key = Key { table: Table::Item, id: 2 };

/// A judge and a clock of its own, in milliseconds.
struct Court {
    judge: Judge,
    start: Instant,
}

impl Court {
    fn new() -> Self {
        let start = Instant::now();
        Self { judge: Judge::new(BOUND, start), start }
    }

    fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }

    /// Version by version: when it was sent, and answered.
    fn written(self, key: Key, writes: &[(u64, u64)]) -> Self {
        for (sent, answered) in writes {
            self.judge.invoke(key, self.at(*sent));
            self.judge.acknowledge(key, None, self.at(*answered));
        }
        self
    }

    fn read(&self, at: u64, sightings: &[(Key, u64)]) -> Observation {
        let sighting = |&(key, version)| Sighting { key, seen: Seen::Version(version), owner: None };
        Observation {
            begun: self.at(at),
            ended: self.at(at + 1),
            sightings: sightings.iter().map(sighting).collect(),
            token: None,
            principal: None,
            claim: Claim::Fresh,
            evidence: Box::new(Evidence::default()),
        }
    }
}

fn token(seq: u64) -> Option<Token> {
    Token::parse(&format!("e1:{seq}"))
}

fn wrong(verdict: Verdict) -> Wrong {
    match verdict {
        Verdict::Broken(violation) => violation.wrong,
        other => panic!("nothing was found wrong: {other:?}"),
    }
}

fn staleness(verdict: Verdict) -> Duration {
    match verdict {
        Verdict::Fine(judged) => judged.staleness,
        other => panic!("not fine: {other:?}"),
    }
}

#[test]
fn what_was_superseded_for_longer_than_the_bound_is_too_old() {
    let court = Court::new().written(ITEM, &[(100, 110)]);
    assert_eq!(staleness(court.judge.submit(court.read(1_110, &[(ITEM, 0)]))), BOUND);
    let late = court.judge.submit(court.read(1_111, &[(ITEM, 0)]));
    assert_eq!(wrong(late), Wrong::TooOld { by: Some(Duration::from_millis(1_001)) });
    assert_eq!(staleness(court.judge.submit(court.read(9_000, &[(ITEM, 1)]))), Duration::ZERO);
}

#[test]
fn what_is_marked_as_stale_may_be_old() {
    let court = Court::new().written(ITEM, &[(100, 110)]);
    let marked = Observation { claim: Claim::Stale, ..court.read(5_000, &[(ITEM, 0)]) };
    staleness(court.judge.submit(marked));
}

#[test]
fn a_write_that_was_not_answered_may_be_seen_or_not() {
    let court = Court::new();
    court.judge.invoke(ITEM, court.at(100));
    for version in [0, 1] {
        assert_eq!(staleness(court.judge.submit(court.read(9_000, &[(ITEM, version)]))), Duration::ZERO);
    }
}

#[test]
fn what_nobody_wrote_is_found() {
    let court = Court::new().written(ITEM, &[(100, 110)]);
    assert_eq!(wrong(court.judge.submit(court.read(200, &[(ITEM, 2)]))), Wrong::NeverWritten);
    // A version that was sent after the answer came cannot be in it.
    assert_eq!(wrong(court.judge.submit(court.read(50, &[(ITEM, 1)]))), Wrong::NeverWritten);
}

#[test]
fn what_is_long_forgotten_is_still_too_old() {
    let much_later = 200 + u64::try_from(REMEMBER.as_millis()).expect("it is short");
    let court = Court::new().written(ITEM, &[(100, 110), (much_later, much_later + 1)]);
    let ancient = court.judge.submit(court.read(much_later + 10, &[(ITEM, 0)]));
    assert_eq!(wrong(ancient), Wrong::TooOld { by: None });
}

#[test]
fn a_reader_with_a_token_gets_nothing_from_before_it() {
    let court = Court::new();
    court.judge.invoke(ITEM, court.at(100));
    court.judge.acknowledge(ITEM, token(5), court.at(110));
    let with = |token, claim| Observation { token, claim, ..court.read(120, &[(ITEM, 0)]) };
    for claim in [Claim::Fresh, Claim::Stale] {
        assert_eq!(wrong(court.judge.submit(with(token(5), claim))), Wrong::BeforeToken { floor: 1 });
        assert_eq!(wrong(court.judge.submit(with(token(6), claim))), Wrong::BeforeToken { floor: 1 });
    }
    staleness(court.judge.submit(with(token(4), Claim::Fresh)));
    staleness(court.judge.submit(with(Token::parse("e2:9"), Claim::Fresh)));
}

#[test]
fn somebody_elses_row_is_found() {
    let court = Court::new();
    let mut read = court.read(100, &[(Key { table: Table::ByRole, id: 0 }, 0)]);
    read.principal = Some("checker_a");
    read.sightings[0].owner = Some("checker_a".to_owned());
    staleness(court.judge.submit(read.clone()));
    read.sightings[0].owner = Some("checker_b".to_owned());
    assert_eq!(wrong(court.judge.submit(read)), Wrong::SomebodyElses { owner: "checker_b".to_owned() });
}

#[test]
fn an_answer_is_from_one_moment() {
    // The other's first version was over before the item's second was sent.
    let court = Court::new().written(OTHER, &[(100, 110)]).written(ITEM, &[(200, 210)]);
    staleness(court.judge.submit(court.read(250, &[(ITEM, 0), (OTHER, 0)])));
    staleness(court.judge.submit(court.read(250, &[(ITEM, 1), (OTHER, 1)])));
    assert_eq!(wrong(court.judge.submit(court.read(250, &[(ITEM, 1), (OTHER, 0)]))), Wrong::Torn);
}

#[test]
fn a_row_that_is_missing_from_a_filtered_list_was_in_another_phase() {
    let court = Court::new().written(ITEM, &[(100, 110)]);
    let mut read = court.read(1_111, &[]);
    read.sightings = vec![Sighting { key: ITEM, seen: Seen::Phase(0), owner: None }];
    assert_eq!(wrong(court.judge.submit(read)), Wrong::TooOld { by: Some(Duration::from_millis(1_001)) });
}

#[test]
fn what_a_failover_took_back_must_not_be_served_for_long() {
    let court = Court::new().written(ITEM, &[(100, 110), (200, 210), (300, 310)]);
    court.judge.doubt();
    // Both are right: one node has not heard of it, the other has asked the new primary.
    for version in [3, 1] {
        let waits = court.judge.submit(court.read(2_500, &[(ITEM, version)]));
        assert!(matches!(waits, Verdict::Deferred), "{waits:?}");
    }
    let (verdicts, lost) = court.judge.resolve(&[(ITEM, 1)], court.at(2_000), court.at(3_000));
    assert_eq!((verdicts.into_iter().map(staleness).count(), lost), (2, 2));
    staleness(court.judge.submit(court.read(9_000, &[(ITEM, 1)])));
    staleness(court.judge.submit(court.read(4_000, &[(ITEM, 3)])));
    let late = court.judge.submit(court.read(4_001, &[(ITEM, 3)]));
    assert_eq!(wrong(late), Wrong::TooOld { by: Some(Duration::from_millis(1_001)) });
    // The number of a lost version is not used again.
    assert_eq!(court.judge.invoke(ITEM, court.at(9_000)), 4);
}

#[test]
fn an_answer_that_lacks_a_row_or_contradicts_itself_is_found() {
    let part = r#"[{"id":0,"version":3,"part":[{"id":0,"version":1},{"id":1,"version":2}]}]"#;
    assert_eq!(Question::WithParts(0).sightings(part.as_bytes(), None).expect("it is whole").len(), 3);
    for (question, body, total) in [
        (Question::Point(1), "[]", None),
        (Question::Point(1), r#"[{"id":2,"version":0}]"#, None),
        (Question::Point(1), "{}", None),
        (Question::WithParts(0), r#"[{"id":0,"version":3,"part":[{"id":0,"version":1}]}]"#, None),
        (Question::Phase(1, 0), r#"[{"id":1,"version":1}]"#, None),
        (Question::OfRole(0), "[]", None),
        (Question::Count(0), r#"[{"version":7,"size":3}]"#, Some(4)),
        (Question::Count(0), "[]", Some(0)),
    ] {
        assert!(question.sightings(body.as_bytes(), total).is_err(), "{question:?}: {body}");
    }
}

/// Short, because all of it is run by everybody all the time; `docs/consistency.md` says how to run it for longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_run_keeps_every_promise() {
    let options = Options {
        faults: vec![Fault::LeaderKilled, Fault::RedisEmptied, Fault::SubscriberDeaf],
        topologies: vec![Topology::Single],
        readers: 2,
        pause: Some(Duration::from_millis(2)),
        until: Until::Time(Duration::from_secs(15)),
        on_violation: OnViolation::GoOn,
        ..Options::default()
    };
    let report = consistency::run(&options, |line| println!("{line}")).await;
    assert!(report.passed(), "{report}");
    assert!(report.judged() > 1_000, "too little was read to say anything: {report}");
}
