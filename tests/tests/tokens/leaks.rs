//! Invariant C6: nobody gets an answer that was made for somebody whose own query would differ.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio_postgres::Client;
use transom_tests::{Database, Node, NodeBuilder, Postgres};

use super::{SECRET, get, gist, token, with};

/// Tables that all roles share, tables whose policies read role, claims or a header, and views above all of these.
const SCHEMA: &str = "
    do $$ begin
        create role leak_a; create role leak_b; create role leak_boss bypassrls;
    exception when duplicate_object or unique_violation then null;
    end $$;
    create function claim(name text) returns text language sql stable as
        $$ select nullif(current_setting('request.jwt.claims', true), '')::json->>name $$;
    create table shared (id int primary key, owner text, team text, note text);
    insert into shared select n, 'u' || n % 4, 't' || n % 2, 'first' from generate_series(1, 12) n;
    create table by_claim as table shared; alter table by_claim add primary key (id);
    create table by_team as table shared; alter table by_team add primary key (id);
    create table by_role as table shared; alter table by_role add primary key (id);
    alter table by_claim enable row level security;
    alter table by_team enable row level security;
    alter table by_role enable row level security;
    create policy p on by_claim using (owner = claim('sub'));
    create policy p on by_team using (team = (current_setting('request.jwt.claims', true)::json->'app'->>'team'));
    create policy a on by_role to leak_a using (team = 't0');
    create policy b on by_role to leak_b using (team = 't1');
    create view mine as select * from shared where owner = claim('sub');
    create view all_claims as select * from by_claim;
    create view callers_claims with (security_invoker) as select * from by_claim;
    create view roles as select id, owner = current_user as is_role, note from shared;
    create materialized view frozen as select team, count(*) as n from shared group by team;
    grant usage on schema public to leak_a, leak_b, leak_boss;
    grant select, insert, update, delete on shared, by_claim, by_team, by_role, mine, all_claims, callers_claims, roles
        to leak_a, leak_b, leak_boss;
    grant select on frozen to leak_a, leak_b, leak_boss;
    grant select on shared, by_claim, by_role to web_anon;
";

const RELATIONS: [&str; 9] =
    ["shared", "by_claim", "by_team", "by_role", "mine", "all_claims", "callers_claims", "roles", "frozen"];
const STEPS: usize = 600;

struct User {
    role: &'static str,
    claims: Value,
    token: Option<String>,
}

fn users() -> Vec<User> {
    let mut users = vec![User { role: "web_anon", claims: json!({ "role": "web_anon" }), token: None }];
    for role in ["leak_a", "leak_b", "leak_boss"] {
        for number in 0..4 {
            let claims =
                json!({ "role": role, "sub": format!("u{number}"), "app": { "team": format!("t{}", number / 2) } });
            users.push(User { role, token: Some(token(&claims)), claims });
        }
    }
    users
}

async fn node() -> (Database, Node) {
    let database = Postgres::shared().await.database().await;
    database.execute(SCHEMA).await;
    let node = NodeBuilder::on(&database).set("jwt_secret", SECRET).start().await;
    (database, node)
}

/// What this user's own query returns: the rows, or the SQLSTATE.
async fn directly(client: &mut Client, user: &User, relation: &str, condition: &str) -> Result<Value, String> {
    let transaction = client.transaction().await.expect("postgres runs");
    let set = "select set_config('request.jwt.claims', $1, true), set_config('role', $2, true)";
    transaction.execute(set, &[&user.claims.to_string(), &user.role]).await.expect("the role is there");
    let order = if relation == "frozen" { "team" } else { "id" };
    let sql = format!(
        "select coalesce(json_agg(r order by {order}), '[]')::text from (select * from {relation} where {condition}) r"
    );
    match transaction.query_one(&sql, &[]).await {
        Ok(row) => Ok(serde_json::from_str(row.get(0)).expect("it is JSON")),
        Err(error) => Err(error.code().expect("postgres refused").code().to_owned()),
    }
}

async fn through(node: &Node, user: &User, relation: &str, filter: &str) -> (Result<Value, String>, bool) {
    let order = if relation == "frozen" { "team" } else { "id" };
    let request = node.rest().get(&format!("/{relation}?order={order}{filter}"));
    let request = match &user.token {
        Some(token) => with(request, token),
        None => request,
    };
    let answer = request.send().await;
    let hit = gist(&answer) == "detail=l1; hit";
    match answer.status {
        200 => (Ok(answer.json()), hit),
        _ => (Err(answer.json()["code"].as_str().unwrap_or_default().to_owned()), hit),
    }
}

async fn write(node: &Node, user: &User, relation: &str, id: u32, step: usize) {
    let note = format!("{step} by {}", user.claims["sub"]);
    let target = format!("/{relation}?id=eq.{id}");
    let request = node.rest().patch(&target, &json!({ "note": note }));
    let request = match &user.token {
        Some(token) => with(request, token),
        None => request,
    };
    let status = request.send().await.status;
    assert!([204, 401, 403, 400].contains(&status), "{relation} {}: {status}", user.claims);
}

#[tokio::test]
async fn no_answer_ever_differs_from_the_users_own_query() {
    let (database, node) = node().await;
    let mut client = database.client().await;
    let users = users();
    let (mut hits, mut refusals) = (0, 0);
    let mut random = StdRng::seed_from_u64(5150);
    for step in 0..STEPS {
        let user = users.choose(&mut random).expect("there are users");
        let relation = *RELATIONS.choose(&mut random).expect("there are relations");
        let id: u32 = random.random_range(1..=12);
        if relation != "frozen" && random.random_ratio(1, 6) {
            write(&node, user, relation, id, step).await;
        }
        let all = relation == "frozen" || random.random_bool(0.5);
        let (filter, condition) =
            if all { (String::new(), "true".to_owned()) } else { (format!("&id=eq.{id}"), format!("id = {id}")) };
        let direct = directly(&mut client, user, relation, &condition).await;
        // Asked twice: a first answer that was wrongly stored shows in the second.
        for _ in 0..2 {
            let (answer, hit) = through(&node, user, relation, &filter).await;
            assert_eq!(answer, direct, "step {step}: {relation}{filter} by {} (hit: {hit})", user.claims);
            hits += usize::from(hit);
        }
        refusals += usize::from(direct.is_err());
    }
    assert!(hits > STEPS / 10, "the cache had no part in it: {hits} hits");
    assert!(refusals > 0, "nobody was refused anything");
}

#[tokio::test]
async fn users_of_one_role_share_what_no_policy_guards_and_nothing_else() {
    let (_database, node) = node().await;
    let by = |role: &str, sub: &str| token(&json!({ "role": role, "sub": sub }));
    let (one, other, foreign) = (by("leak_a", "u1"), by("leak_a", "u2"), by("leak_b", "u1"));
    // A policy that asks for nothing but the role is decided by the key.
    for target in ["/shared?order=id", "/by_role?order=id", "/frozen?order=team"] {
        let first = get(node.rest(), target, &one).await.expect_status(200);
        assert_eq!(gist(&first), "fwd=uri-miss; stored", "{target}");
        let second = get(node.rest(), target, &other).await.expect_status(200);
        assert_eq!((gist(&second).as_str(), second.text()), ("detail=l1; hit", first.text()), "{target}");
        assert_eq!(gist(&get(node.rest(), target, &foreign).await), "fwd=uri-miss; stored", "{target}");
    }
    for target in ["/by_claim", "/by_team", "/mine", "/callers_claims", "/roles"] {
        for token in [&one, &other, &foreign, &one] {
            let answer = get(node.rest(), target, token).await.expect_status(200);
            assert!(gist(&answer).ends_with("; fwd=bypass"), "{target}: {}", gist(&answer));
        }
    }
}
