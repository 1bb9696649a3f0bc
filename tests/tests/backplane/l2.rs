//! L2: what a node may take from there, and what it asks for at all.

use cache_core::coherence::Kind;
use cache_core::outcome::TierResult;
use cache_core::template::Template;
use futures_util::future::join_all;
use transom_tests::{Redis, Reply, eventually};

use super::{NOISE, Node, PATIENCE, REDIS_TIMEOUT, SOON, key};

#[tokio::test]
async fn what_a_peer_filled_is_promoted() {
    let redis = Redis::start().await;
    let nodes = Node::three(&redis).await;
    assert_eq!(nodes[1].l2("row").await, Err(TierResult::Absent));
    assert_eq!(nodes[1].l1("row"), None);
    nodes[0].share(&nodes[1], "row", "value").await;
    assert_eq!(nodes[1].l1("row").as_deref(), Some("value"));
}

#[tokio::test]
async fn what_another_release_stored_is_absent() {
    let redis = Redis::start().await;
    let nodes = Node::three(&redis).await;
    nodes[0].share(&nodes[1], "row", "value").await;
    let name = format!("transom:test:e:{{{:032x}}}", key("row").digest());
    // The version follows the magic of four bytes.
    redis.command(&["SETRANGE", &name, "4", "\u{63}"]).await.unwrap();
    assert_eq!(nodes[2].l2("row").await, Err(TierResult::Absent));
    redis.command(&["SET", &name, "TRNS and no entry"]).await.unwrap();
    assert_eq!(nodes[2].l2("row").await, Err(TierResult::Absent));
}

/// How often something was looked for in vain: only lookups of absent entries do that, the scripts find what they seek.
async fn misses(redis: &Redis) -> u64 {
    let info = redis.info("stats").await;
    info.lines().find_map(|line| line.strip_prefix("keyspace_misses:")).unwrap().parse().unwrap()
}

/// A stalled Redis costs one timeout, and no more commands until it answers a probe.
#[tokio::test]
async fn a_breaker_spares_the_second_timeout() {
    let redis = Redis::start().await;
    let node = Node::waiting(&redis.url(), REDIS_TIMEOUT).await;
    // The scripts look for templates, and there are some.
    eventually("a template", SOON, async || node.cache.register(&[Template::named("t(a)")]).await).await;
    node.l2("row").await.unwrap_err();
    let before = misses(&redis).await;
    redis.pause();
    let began = std::time::Instant::now();
    for _ in 0..200 {
        assert_eq!(node.l2("row").await, Err(TierResult::Unavailable));
    }
    let took = began.elapsed();
    assert!(took < REDIS_TIMEOUT + NOISE, "200 lookups waited {took:?} together");
    assert_eq!(node.cache.l2_available(), Some(false));
    redis.resume();
    let sent = misses(&redis).await - before;
    assert!(sent <= 1, "{sent} lookups were sent in vain");
    eventually("the breaker closes", SOON, async || node.cache.l2_available() == Some(true)).await;
    node.leased().await;
    assert_eq!(node.l2("row").await, Err(TierResult::Absent));
}

/// The entry is there and Redis would answer, but the node could not announce a write that the entry may not show.
#[tokio::test]
async fn a_node_that_owes_an_announcement_takes_nothing_from_l2() {
    let redis = Redis::start().await;
    let nodes = Node::three(&redis).await;
    nodes[0].share(&nodes[1], "row", "old").await;
    // Scripts fail, everything else works.
    redis.command(&["ACL", "SETUSER", "default", "-evalsha", "-eval"]).await.unwrap();
    nodes[1].announce("row", Kind::Change).await.unwrap_err();
    assert!(nodes[1].cache.owes());
    assert_eq!(nodes[1].l1("row"), None);
    assert_eq!(nodes[1].l2("row").await, Err(TierResult::Unavailable));
    redis.command(&["ACL", "SETUSER", "default", "+@all"]).await.unwrap();
    eventually("the debt is paid", SOON, async || !nodes[1].cache.owes()).await;
    eventually("the peer heard", SOON, async || nodes[0].l1("row").is_none()).await;
    nodes[1].leased().await;
    assert!(matches!(nodes[1].l2("row").await, Err(TierResult::Incoherent | TierResult::Unavailable)));
    let reply = redis.command(&["PING"]).await.unwrap();
    assert_eq!(reply, Reply::Simple("PONG".to_owned()));
}

#[tokio::test]
async fn reads_that_wait_together_are_one_command_and_each_gets_its_own_answer() {
    let redis = Redis::start().await;
    let nodes = Node::three(&redis).await;
    let names: Vec<String> = (0..100).map(|number| format!("row {number}")).collect();
    for name in names.iter().step_by(2) {
        nodes[0].share(&nodes[1], name, &format!("value of {name}")).await;
    }
    nodes[2].leased().await;
    let before = (redis.calls("get").await, redis.calls("mget").await);
    let answers = join_all(names.iter().map(|name| nodes[2].l2(name))).await;
    let sent = (redis.calls("get").await - before.0, redis.calls("mget").await - before.1);
    for (number, (name, answer)) in names.iter().zip(answers).enumerate() {
        let expected = if number % 2 == 0 { Ok(format!("value of {name}")) } else { Err(TierResult::Absent) };
        assert_eq!(answer, expected, "{name}");
    }
    assert!(sent.0 + sent.1 < 20, "{sent:?} commands for a hundred reads");
}

/// Two hundred reads wait when Redis stalls: a few commands are all that Redis hears of them.
#[tokio::test]
async fn a_line_ends_with_the_command_that_waited_in_vain() {
    let redis = Redis::start().await;
    let node = Node::waiting(&redis.url(), REDIS_TIMEOUT).await;
    node.l2("row").await.unwrap_err();
    redis.pause();
    let began = std::time::Instant::now();
    let names: Vec<String> = (0..200).map(|number| format!("row {number}")).collect();
    let answers = join_all(names.iter().map(|name| node.l2(name))).await;
    let took = began.elapsed();
    assert!(answers.iter().all(|answer| *answer == Err(TierResult::Unavailable)), "{answers:?}");
    assert!(took < REDIS_TIMEOUT + NOISE, "two hundred reads waited {took:?} together");
    redis.resume();
    eventually("the breaker closes", SOON, async || node.cache.l2_available() == Some(true)).await;
    assert_eq!(redis.calls("mget").await, 3, "no more are under way beside the first read, and none came after them");
}

/// The one who went to Redis for all, and one who waits in line.
#[tokio::test]
async fn who_gives_up_strands_nobody() {
    let redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    redis.pause();
    let began = std::time::Instant::now();
    let impatient = async {
        // They time out, unless the machine stalls for so long that the node asks Redis nothing.
        drop(tokio::join!(
            tokio::time::timeout(REDIS_TIMEOUT / 4, node.l2("first")),
            tokio::time::timeout(REDIS_TIMEOUT / 8, node.l2("second")),
        ));
        redis.resume();
    };
    let ((), third, fourth) = tokio::join!(impatient, node.l2("third"), node.l2("fourth"));
    assert!(began.elapsed() < PATIENCE, "they waited for those who had gone: {third:?} {fourth:?}");
}
