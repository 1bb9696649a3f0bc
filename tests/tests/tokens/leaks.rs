//! Invariant C6: nobody gets an answer that was made for somebody whose own query would differ.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio_postgres::Client;
use transom_tests::{Database, Lease, Node, NodeBuilder, Postgres, Redis, eventually};

use super::{SECRET, get, gist, now, token, with};

/// Tables that all roles share, tables whose policies read role, claims or a header, and views above all of these. The
/// functions of `auth` are Supabase's.
const SCHEMA: &str = "
    do $$ begin
        create role leak_a; create role leak_b; create role leak_boss bypassrls;
    exception when duplicate_object or unique_violation then null;
    end $$;
    create schema auth;
    create function auth.uid() returns uuid language sql stable as $$
        select coalesce(
            nullif(current_setting('request.jwt.claim.sub', true), ''),
            (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
        )::uuid $$;
    create function auth.jwt() returns jsonb language sql stable as $$
        select coalesce(
            nullif(current_setting('request.jwt.claim', true), ''),
            nullif(current_setting('request.jwt.claims', true), '')
        )::jsonb $$;
    create function claim(name text) returns text language sql stable as
        $$ select nullif(current_setting('request.jwt.claims', true), '')::json->>name $$;
    create function whose() returns text language plpgsql stable as
        $$ begin return current_setting('request.jwt.claims', true)::json ->> 'sub'; end $$;
    create function hello(whom text default current_user) returns text language sql stable return 'hello ' || whom;
    create function today(at timestamptz default now()) returns text language sql immutable return at::text;
    create function banned() returns text language plpgsql stable as
        $$ declare c json := current_setting('request.jwt.claims', true); begin return c ->> 'banned'; end $$;
    create table marker (id int primary key, step int); insert into marker values (1, 0);
    create table shared (id int primary key, owner text, team text, note text);
    insert into shared select n, '00000000-0000-4000-8000-00000000000' || n % 4, 't' || n % 2, 'first'
        from generate_series(1, 12) n;
    create table members (team text, uid uuid, primary key (team, uid));
    insert into members select 't' || n % 2, ('00000000-0000-4000-8000-00000000000' || n)::uuid from generate_series(0, 2) n;
    create function teams() returns setof text language sql stable security definer
        begin atomic select team from members where uid = auth.uid(); end;
    create function my_teams() returns bigint language sql stable begin atomic
        select count(*) from members where uid = auth.uid(); end;
    do $$ declare name text; begin
        foreach name in array array['claim', 'team', 'role', 'uid', 'tenant', 'path', 'member', 'teams', 'level', 'whole',
                                    'plpgsql', 'header', 'opaque'] loop
            execute format('create table by_%s as table shared; alter table by_%1$s add primary key (id);
                alter table by_%1$s enable row level security', name);
        end loop;
    end $$;
    alter table members enable row level security;
    create policy p on members using (uid = (select auth.uid()));
    create policy p on by_claim using (owner = claim('sub'));
    create policy p on by_team using (team = (current_setting('request.jwt.claims', true)::json->'app'->>'team'));
    create policy a on by_role to leak_a using (team = 't0');
    create policy b on by_role to leak_b using (team = 't1');
    create policy p on by_uid using (owner::uuid = (select auth.uid()));
    create policy p on by_tenant using (team = ((select auth.jwt()) -> 'app' ->> 'team'));
    create policy p on by_path using (team = (auth.jwt() #>> '{app,team}'));
    create policy p on by_member using (exists (select from members m where m.team = by_member.team and m.uid = auth.uid()));
    create policy p on by_teams using (team in (select teams()));
    create policy p on by_level using (true);
    create policy r on by_level as restrictive using (coalesce(auth.jwt() -> 'app' ->> 'level', '0') > right(owner, 1));
    create policy p on by_whole using (current_setting('request.jwt.claims', true) like '%' || team || '%');
    create policy p on by_plpgsql using (owner = whose());
    create policy p on by_header using (nullif(current_setting('request.headers', true), '')::json->>'x-team' is null
        or team = (current_setting('request.headers', true)::json->>'x-team'));
    create policy p on by_opaque using (owner is distinct from banned());
    create view mine as select * from shared where owner = claim('sub');
    create view all_claims as select * from by_claim;
    create view callers_claims with (security_invoker) as select * from by_claim;
    create view callers_teams with (security_invoker) as
        select s.id, s.team, b.note from shared s join by_member b using (id);
    create view roles as select id, owner = current_user as is_role, current_user::text as who, note from shared;
    create materialized view frozen as select team, count(*) as n from shared group by team;
    grant usage on schema public, auth to web_anon, leak_a, leak_b, leak_boss;
    grant select, insert, update, delete on all tables in schema public to leak_a, leak_b, leak_boss;
    revoke insert, update, delete on members, marker, frozen from leak_a, leak_b, leak_boss;
    grant select on shared, by_claim, by_role, by_uid, by_whole, by_level, marker to web_anon;
";

const RELATIONS: [&str; 20] = [
    "shared",
    "by_claim",
    "by_team",
    "by_role",
    "by_uid",
    "by_tenant",
    "by_path",
    "by_member",
    "by_teams",
    "by_level",
    "by_whole",
    "by_plpgsql",
    "by_header",
    "by_opaque",
    "mine",
    "all_claims",
    "callers_claims",
    "callers_teams",
    "roles",
    "frozen",
];
const STEPS: usize = 600;

struct User {
    role: &'static str,
    claims: Value,
    token: Option<String>,
}

fn sub(number: u64) -> String {
    format!("00000000-0000-4000-8000-00000000000{number}")
}

/// Several with the same subject, and several of one team, in each role; no two tokens are equal.
fn users() -> Vec<User> {
    let mut users = vec![User { role: "web_anon", claims: json!({ "role": "web_anon" }), token: None }];
    for role in ["leak_a", "leak_b", "leak_boss"] {
        for number in 0..5 {
            let app = json!({ "team": format!("t{}", number / 2), "level": (number % 3).to_string() });
            let claims = json!({ "role": role, "sub": sub(number % 4), "app": app, "exp": now() + 3600 + number });
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

async fn through(node: &Node, user: &User, relation: &str, filter: &str) -> (Result<Value, String>, String) {
    let order = if relation == "frozen" { "team" } else { "id" };
    let request = node.rest().get(&format!("/{relation}?order={order}{filter}"));
    let request = match &user.token {
        Some(token) => with(request, token),
        None => request,
    };
    let answer = request.send().await;
    let gist = gist(&answer);
    match answer.status {
        200 => (Ok(answer.json()), gist),
        _ => (Err(answer.json()["code"].as_str().unwrap_or_default().to_owned()), gist),
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

/// Past the proxy; also who is a member of what.
async fn write_by_sql(database: &Database, random: &mut StdRng, relation: &str, id: u32, step: usize) {
    let table = if relation.starts_with("by_") { relation } else { "shared" };
    let (team, number) = (random.random_range(0..2), random.random_range(0..4));
    let membership = if random.random_bool(0.5) {
        format!("insert into members values ('t{team}', '{}') on conflict do nothing", sub(number))
    } else {
        format!("delete from members where uid = '{}' and team = 't{team}'", sub(number))
    };
    let owner = sub(random.random_range(0..4));
    let change =
        format!("update {table} set note = '{step} by sql', team = 't{team}', owner = '{owner}' where id = {id}");
    database.execute(&format!("{change}; {membership}")).await;
}

/// Announcements are applied in the order of commits: who knows of this one knows of all before it.
async fn all_know(database: &Database, nodes: &[Node], step: usize) {
    database.execute(&format!("update marker set step = {step}")).await;
    for node in nodes {
        eventually("the marker is seen", Duration::from_secs(10), async || {
            node.rest().get("/marker").send().await.json()[0]["step"] == json!(step)
        })
        .await;
    }
}

#[tokio::test]
async fn no_answer_ever_differs_from_the_users_own_query() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    database.execute(SCHEMA).await;
    let builder = NodeBuilder::on(&database).redis(&redis).set("jwt_secret", SECRET).set("feed", "logical");
    let nodes = [builder.start().await, builder.start().await];
    for node in &nodes {
        node.until_lease(Lease::Held).await;
    }
    let mut client = database.client().await;
    let users = users();
    let (mut in_l1, mut in_l2, mut bypassed, mut refusals) = (0, 0, 0, 0);
    let mut random = StdRng::seed_from_u64(5150);
    for step in 1..=STEPS {
        let user = users.choose(&mut random).expect("there are users");
        let relation = *RELATIONS.choose(&mut random).expect("there are relations");
        let id: u32 = random.random_range(1..=12);
        let written = !["frozen", "callers_teams"].contains(&relation);
        if written && random.random_ratio(1, 8) {
            if random.random_bool(0.5) {
                write(nodes.choose(&mut random).expect("there are nodes"), user, relation, id, step).await;
            } else {
                write_by_sql(&database, &mut random, relation, id, step).await;
            }
            all_know(&database, &nodes, step).await;
        }
        let all = relation == "frozen" || random.random_bool(0.7);
        let (filter, condition) =
            if all { (String::new(), "true".to_owned()) } else { (format!("&id=eq.{id}"), format!("id = {id}")) };
        let direct = directly(&mut client, user, relation, &condition).await;
        // Asked again and elsewhere: a first answer that was wrongly stored shows in the second.
        for node in [0, 1, 0] {
            let (answer, gist) = through(&nodes[node], user, relation, &filter).await;
            assert_eq!(answer, direct, "step {step}: {relation}{filter} by {} at {node} ({gist})", user.claims);
            let claimed = !["shared", "by_role", "roles", "frozen"].contains(&relation);
            in_l1 += usize::from(claimed && gist == "detail=l1; hit");
            in_l2 += usize::from(claimed && gist == "detail=l2; hit");
            bypassed += usize::from(gist.ends_with("fwd=bypass"));
        }
        refusals += usize::from(direct.is_err());
    }
    assert!(in_l1 > STEPS / 2, "L1 had no part in what claims decide: {in_l1} hits");
    assert!(in_l2 > STEPS / 10, "L2 had no part in what claims decide: {in_l2} hits");
    assert!(bypassed > 0 && refusals > 0, "{bypassed} bypassed, {refusals} refused");
}

#[tokio::test]
async fn users_share_what_their_claims_do_not_tell_apart_and_nothing_else() {
    let (_database, node) = node().await;
    let by = |role: &str, number: u64, team: &str, mail: &str| {
        token(&json!({ "role": role, "sub": sub(number), "app": { "team": team, "x": mail }, "email": mail }))
    };
    let one = by("leak_a", 1, "t0", "one");
    let again = by("leak_a", 1, "t1", "again");
    let colleague = by("leak_a", 2, "t0", "colleague");
    let foreign = by("leak_b", 1, "t0", "one");
    let (stored, hit) = ("fwd=uri-miss; stored", "detail=l1; hit");
    for (targets, expected) in [
        // A policy that asks for nothing but the role is decided by the key.
        (&["/shared?order=id", "/by_role?order=id", "/frozen?order=team", "/roles"][..], [stored, hit, hit, stored]),
        (
            &["/by_claim", "/by_uid", "/by_plpgsql", "/mine", "/all_claims", "/callers_claims"],
            [stored, hit, stored, stored],
        ),
        (&["/rpc/whose", "/rpc/my_teams"], [stored, hit, stored, stored]),
        (&["/rpc/hello", "/rpc/hello?whom=x"], [stored, hit, hit, stored]),
        (&["/by_member", "/by_teams", "/callers_teams", "/members"], [stored, hit, stored, stored]),
        (&["/by_team", "/by_tenant", "/by_path"], [stored, stored, hit, stored]),
        // Which claim it is comes with the request, so all of them count.
        (&["/by_whole", "/rpc/claim?name=sub"], [stored, stored, stored, stored]),
    ] {
        for target in targets {
            for (token, expected) in [&one, &again, &colleague, &foreign].into_iter().zip(expected) {
                let answer = get(node.rest(), target, token).await.expect_status(200);
                assert_eq!(gist(&answer), expected, "{target}");
            }
            assert_eq!(gist(&get(node.rest(), target, &one).await), hit, "{target}");
        }
    }
    for target in ["/by_header", "/by_opaque"] {
        for token in [&one, &one] {
            let answer = get(node.rest(), target, token).await.expect_status(200);
            assert_eq!(gist(&answer), "detail=row-level-security; fwd=bypass", "{target}");
        }
    }
    for target in ["/rpc/banned", "/rpc/today"] {
        let answer = get(node.rest(), target, &one).await.expect_status(200);
        assert_eq!(gist(&answer), "detail=function; fwd=bypass", "{target}");
    }
}
