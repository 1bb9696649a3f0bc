//! Templates are known to every announcer before anything is filled by them, whatever Redis forgets.

use std::time::Duration;

use cache_core::cache::{Lookup, Stored, TwoTier};
use cache_core::clock::Clock;
use cache_core::coherence::{Epoch, Heard, Kind, WriteId};
use cache_core::dependence::Dependence;
use cache_core::freshness::Directives;
use cache_core::limits::Limits;
use cache_core::tag::{SlotCount, Tag, Tags};
use cache_core::template::{Edition, Published, RegisterError, TEMPLATES_MAX, Template, Templates};
use transom_tests::{Redis, eventually};

use super::{Body, LIFETIMES, MAX_STALENESS, Node, REDIS_TIMEOUT, SOON, key};

const PATIENCE: Duration = Duration::from_secs(5);

fn named<const N: usize>(names: [&str; N]) -> [Template; N] {
    names.map(Template::named)
}

/// Whatever Redis says in the end: on a busy machine it may be late.
async fn register(node: &Node, templates: &[Template]) -> Result<Epoch, RegisterError> {
    eventually("redis answers", SOON, async || match node.cache.register(templates).await {
        Err(RegisterError::Redis(error)) => Err(error),
        said => Ok(said),
    })
    .await
}

async fn templates(node: &Node) -> Templates {
    eventually("redis answers", SOON, async || node.cache.templates().await).await
}

async fn publish(node: &Node, name: &str, edition: Edition, writes: &[WriteId]) -> Published {
    let tags = [Tag::named(name)];
    eventually("redis answers", SOON, async || node.cache.publish_knowing(tags, Kind::Change, edition, writes).await)
        .await
}

/// As the feed's leader does: reads the templates again until nobody registers a new one meanwhile.
async fn publish_at_last(node: &Node, name: &str) -> Templates {
    eventually("no template is new", SOON, async || {
        let known = templates(node).await;
        matches!(publish(node, name, known.edition, &[]).await, Published::Yes(_)).then_some(known)
    })
    .await
}

#[tokio::test]
async fn who_does_not_know_a_template_announces_nothing() {
    let redis = Redis::start().await;
    let [leader, reader, peer] = Node::three(&redis).await;
    let before = templates(&leader).await;
    assert!(before.known.is_empty());
    assert!(matches!(publish(&leader, "t(a=1)", before.edition, &[]).await, Published::Yes(_)));

    let [a, b] = named(["t(a)", "t(a,b)"]);
    let epoch = register(&reader, std::slice::from_ref(&a)).await.unwrap();
    let ticket = reader.cache.begin_in(epoch, key("t?a=1"), Tags::from_iter([Tag::named("t(a=1)")])).unwrap();
    reader.cache.store(ticket, Body("old".into()), LIFETIMES);
    assert_eq!(publish(&leader, "t(a=1)", before.edition, &[]).await, Published::Outdated);
    assert!(reader.l1("t?a=1").is_some(), "what was refused had an effect");

    let after = publish_at_last(&leader, "t(a=1)").await;
    assert_eq!(after.known, [a.clone()].into());
    eventually("the announcement arrives", SOON, async || reader.l1("t?a=1").is_none()).await;

    assert_eq!(register(&peer, std::slice::from_ref(&a)).await.unwrap(), epoch);
    assert!(matches!(publish(&leader, "t", after.edition, &[]).await, Published::Yes(_)), "it was known already");
    register(&peer, &[b.clone(), a.clone()]).await.unwrap();
    assert_eq!(publish(&leader, "t", after.edition, &[]).await, Published::Outdated);
    assert_eq!(publish_at_last(&leader, "t").await.known, [a, b].into());
    eventually("a purge depends on no template", SOON, async || leader.announce("purged", Kind::Purge).await).await;
}

#[tokio::test]
async fn what_is_known_is_not_asked_for() {
    let mut redis = Redis::start().await;
    let node = Node::start(&redis.url()).await;
    let [a, b] = named(["t(a)", "t(b)"]);
    let epoch = register(&node, std::slice::from_ref(&a)).await.unwrap();
    redis.kill();
    assert_eq!(node.cache.register(std::slice::from_ref(&a)).await.unwrap(), epoch);
    assert!(matches!(node.cache.register(&[a, b]).await, Err(RegisterError::Redis(_))));
}

/// After Redis forgot, the templates come back with the fills, and no ticket mixes the two epochs.
async fn begins_anew(nodes: &[Node; 3], before: Edition) {
    let [a] = named(["t(a)"]);
    for node in nodes {
        eventually("a ticket of a new epoch", SOON, async || {
            let Ok(epoch) = node.cache.register(std::slice::from_ref(&a)).await else { return false };
            epoch != before.epoch && node.cache.begin_in(epoch, key("row"), Tags::from_iter([])).is_some()
        })
        .await;
        assert!(node.cache.begin_in(before.epoch, key("row"), Tags::from_iter([])).is_none());
    }
    assert_eq!(publish(&nodes[0], "row", before, &[]).await, Published::Outdated);
    assert_eq!(publish_at_last(&nodes[0], "row").await.known, [a].into());
}

async fn with_a_template(nodes: &[Node; 3]) -> Edition {
    register(&nodes[0], &named(["t(a)", "t(b)"])).await.unwrap();
    let known = templates(&nodes[1]).await;
    assert_eq!(known.known.len(), 2);
    known.edition
}

#[tokio::test]
async fn templates_that_redis_forgot_are_registered_again() {
    let mut redis = Redis::start().await;
    let nodes = Node::three(&redis).await;
    let before = with_a_template(&nodes).await;
    redis.restart_empty().await;
    begins_anew(&nodes, before).await;
}

#[tokio::test]
async fn templates_that_were_evicted_alone_take_the_epoch_with_them() {
    let redis = Redis::start().await;
    let nodes = Node::three(&redis).await;
    let before = with_a_template(&nodes).await;
    redis.command(&["DEL", "{transom:test}:templates"]).await.unwrap();
    begins_anew(&nodes, before).await;
}

#[tokio::test]
async fn templates_that_a_fall_undid_take_the_epoch_with_them() {
    let mut redis = Redis::start().await;
    let nodes = Node::three(&redis).await;
    redis.command(&["SAVE"]).await.unwrap();
    let before = with_a_template(&nodes).await;
    redis.kill();
    redis.restart().await;
    begins_anew(&nodes, before).await;
}

#[tokio::test]
async fn beyond_their_bound_templates_are_refused_without_asking() {
    let mut redis = Redis::start().await;
    let [one, two, _] = Node::three(&redis).await;
    let many: Vec<Template> = (0..TEMPLATES_MAX).map(|number| Template::named(format!("t(c{number})"))).collect();
    register(&one, &many[1..]).await.unwrap();
    let [a, b] = named(["t(a)", "t(b)"]);
    let full = |answer| matches!(answer, Err(RegisterError::Full));
    assert!(full(register(&two, &[a.clone(), b.clone()]).await), "there is room for one");
    let epoch = register(&one, std::slice::from_ref(&a)).await.unwrap();
    assert_eq!(templates(&one).await.edition.version, TEMPLATES_MAX as u64);
    assert!(full(register(&one, std::slice::from_ref(&b)).await));
    redis.kill();
    assert!(full(register(&one, &[b]).await), "it was asked before");
    assert_eq!(register(&one, &[a, many[7].clone()]).await.unwrap(), epoch);
}

#[tokio::test]
async fn a_writer_hears_the_announcement_that_somebody_else_made() {
    let redis = Redis::start().await;
    let [leader, writer, _] = Node::three(&redis).await;
    let (mine, other) = (WriteId::random(), WriteId::random());
    let mut echo = writer.cache.expect(mine);
    assert_eq!(writer.fill("row", "old"), Stored::Yes);
    let edition = templates(&leader).await.edition;
    let Published::Yes(token) = publish(&leader, "row", edition, &[other, mine]).await else {
        panic!("nobody registers here")
    };
    assert_eq!(echo.wait(PATIENCE).await, Heard::Yes(token));
    assert_eq!(writer.l1("row"), None);
    assert_eq!(writer.fill("row", "new"), Stored::Yes, "the writer's watermark has reached its write");
    assert_eq!(writer.l1("row").as_deref(), Some("new"));
}

#[tokio::test]
async fn an_announcement_of_many_pages_is_heard_at_its_end() {
    let redis = Redis::start().await;
    let [leader, writer, _] = Node::three(&redis).await;
    let mine = WriteId::random();
    let mut echo = writer.cache.expect(mine);
    let names: Vec<String> = (0..5_000).map(|number| number.to_string()).collect();
    for name in &names {
        writer.fill(name, "old");
    }
    let edition = templates(&leader).await.edition;
    let tags: Vec<Tag> = names.iter().map(|name| Tag::named(name)).collect();
    let published = eventually("redis answers", SOON, async || {
        leader.cache.publish_knowing(tags.iter().copied(), Kind::Change, edition, &[mine]).await
    })
    .await;
    let Published::Yes(token) = published else { panic!("nobody registers here") };
    assert_eq!(echo.wait(PATIENCE).await, Heard::Yes(token));
    assert!(names.iter().all(|name| writer.l1(name).is_none()));
}

fn alone() -> TwoTier<Body> {
    let limits = Limits {
        l1_bytes_max: 1 << 20,
        entry_bytes_max: 1 << 16,
        slots: SlotCount::DEFAULT,
        max_staleness: MAX_STALENESS,
        redis_timeout: REDIS_TIMEOUT,
        fill_lease_for: Duration::ZERO,
    };
    TwoTier::alone(limits, Clock::start())
}

/// Fills with an answer that tells on what it depends, and says whether it is still there after each of these was announced.
async fn kept_after(cache: &TwoTier<Body>, announced: &[&str]) -> Vec<bool> {
    let tags = |names: &[&str]| names.iter().map(|name| Tag::named(name)).collect::<Tags>();
    let (wide, certain) = (tags(&["t(all)", "t(*)"]), tags(&["t(all)"]));
    let on = Dependence::exactly(wide.clone(), named(["t(a/16)"]).into(), wide).with_certain(certain);
    let mut kept = Vec::new();
    for name in announced {
        let ticket = cache.begin_on(&key(name), &on).await.narrowed([Tag::named("t(a/16=1)")]);
        assert_eq!(cache.store(ticket, Body("page".into()), LIFETIMES).1, Stored::Yes);
        cache.announce([Tag::named(name)], Kind::Change).await.unwrap();
        let found = cache.lookup_l1(&key(name), &Directives::default(), cache.clock().now());
        kept.push(matches!(found, Lookup::Found(_)));
    }
    kept
}

#[tokio::test]
async fn an_answer_that_tells_on_what_it_depends_depends_on_no_more() {
    let announced = ["t(*)", "t(a/16=0)", "t(a/16=1)", "t(all)"];
    assert_eq!(kept_after(&alone(), &announced).await, [true, true, false, false]);
    // Nobody would announce that it changed.
    let full = alone();
    let many: Vec<Template> = (0..TEMPLATES_MAX).map(|number| Template::named(number.to_string())).collect();
    full.register(&many).await.unwrap();
    assert_eq!(kept_after(&full, &announced).await, [false, true, true, false]);
}

#[tokio::test]
async fn a_node_without_peers_keeps_the_same_promises() {
    let cache = alone();
    let edition = cache.templates().await.unwrap().edition;
    let epoch = cache.register(&named(["t(a)"])).await.unwrap();
    let ticket = cache.begin_in(epoch, key("row"), Tags::from_iter([Tag::named("t(a=1)")])).unwrap();
    assert_eq!(cache.store(ticket, Body("old".into()), LIFETIMES).1, Stored::Yes);
    let mine = WriteId::random();
    let mut echo = cache.expect(mine);
    let tags = [Tag::named("t(a=1)")];
    assert_eq!(cache.publish_knowing(tags, Kind::Change, edition, &[mine]).await.unwrap(), Published::Outdated);
    let edition = cache.templates().await.unwrap().edition;
    let Published::Yes(token) = cache.publish_knowing(tags, Kind::Change, edition, &[mine]).await.unwrap() else {
        panic!("nobody registers here")
    };
    assert_eq!(echo.wait(PATIENCE).await, Heard::Yes(token));
}
