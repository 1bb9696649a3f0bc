//! Transom beside a real PostgREST 12.0.2: the same questions, and the same answers, or an exception that is named.

mod aggregates;
mod calls;
mod cases;
mod cross_origin;
mod exchange;
mod exceptions;
mod generator;
mod openapi;
mod pair;
mod roles;
mod settings;
mod tables;
mod writes;

use self::exchange::Ask;
use self::generator::Generator;
use self::pair::Pair;

/// How many reads are made up, unless [`REQUESTS_VARIABLE`] says otherwise.
const READS: usize = 800;
const LIMITED: usize = 250;
const AGGREGATES: usize = 350;
const CALLS: usize = 400;
const BY_ROLES: usize = 300;
const WRITES: usize = 400;
/// For longer runs: `TRANSOM_ORACLE_REQUESTS=100000 tests/run oracle`.
const REQUESTS_VARIABLE: &str = "TRANSOM_ORACLE_REQUESTS";
/// For other runs: the seed of the first request.
const SEED_VARIABLE: &str = "TRANSOM_ORACLE_SEED";

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn requests(default: usize) -> usize {
    number(REQUESTS_VARIABLE).map_or(default, |number| usize::try_from(number).expect("it fits"))
}

fn seed() -> u64 {
    number(SEED_VARIABLE).unwrap_or(12_002)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_made_up_by_chance_are_answered_alike() {
    let pair = Pair::reading().await;
    let mut generator = Generator::new(seed());
    pair.compare((0..requests(READS)).map(|_| generator.read()).collect()).await;
}

/// A limit on rows, which exact counts go beyond and estimated ones heed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_with_a_limit_on_rows_are_answered_alike() {
    let pair = Pair::with(&[("db_max_rows", "3")]).await;
    let mut generator = Generator::new(seed());
    let made_up = |index| if index % 4 == 0 { generator.call() } else { generator.read() };
    pair.compare((0..requests(LIMITED)).map(made_up).collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aggregates_made_up_by_chance_are_answered_alike() {
    let pair = Pair::with(&[("db_aggregates_enabled", "true")]).await;
    let mut generator = Generator::new(seed());
    pair.compare((0..requests(AGGREGATES)).map(|_| generator.aggregate()).collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_made_up_by_chance_are_answered_alike() {
    let pair = Pair::reading().await;
    let mut generator = Generator::new(seed());
    pair.compare((0..requests(CALLS)).map(|_| generator.call()).collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_and_every_token_gets_the_answers_it_got() {
    let pair = Pair::with(&roles::SETTINGS).await;
    let mut generator = Generator::new(seed());
    pair.compare((0..requests(BY_ROLES)).map(|_| generator.read_by_somebody()).collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_written_by_hand_are_answered_alike() {
    let pair = Pair::reading().await;
    let odd = |target: &&str| Ask::get(*target).header("Accept-Profile", "odd");
    let mut asks: Vec<Ask> = cases::READS.iter().map(|target| Ask::get(*target)).collect();
    asks.extend(cases::ODD_READS.iter().map(odd));
    asks.extend(cases::headed_reads());
    asks.extend(cases::methods());
    pair.compare(asks).await;
}

#[tokio::test]
async fn every_exception_is_needed_and_suffices() {
    let pair = Pair::reading().await;
    for exception in exceptions::ALL {
        let asked = pair.ask(&(exception.example)()).await;
        for exchange in asked {
            let mut without = exchange.clone();
            exceptions::settle_all_but(exception.name, &mut without);
            assert!(without.differs(), "not needed: {}\n{exchange}", exception.name);
            assert_eq!(pair::unexplained(&exchange), None, "not enough: {}", exception.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_made_up_by_chance_are_answered_alike_and_do_the_same() {
    let pair = Pair::writing().await;
    let mut generator = Generator::new(seed());
    writes::compare(&pair, (0..requests(WRITES)).map(|_| generator.write()).collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_and_calls_written_by_hand_are_answered_alike_and_do_the_same() {
    writes::compare(&Pair::writing().await, writes::by_hand()).await;
}
