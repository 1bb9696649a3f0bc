//! Tokens: who is let in, as whom, what Postgres is told, and that nobody gets what another one asked.

mod algorithms;
mod leaks;
mod settings;

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use transom_tests::{CacheStatus, Database, Http, Node, NodeBuilder, Postgres, Request, Response};

const SECRET: &str = "a secret of the tests, which is long enough for HS256, HS384 and HS512 alike";

/// Roles belong to the whole cluster, which other tests share: they may be there, and somebody may be making
/// them, all or none.
const SCHEMA: &str = "
    do $$ begin
        create role token_user;
        create role token_other;
        create role token_login login noinherit;
        grant web_anon, token_user to token_login;
    exception when duplicate_object or unique_violation then null;
    end $$;
    grant usage on schema public to token_user, token_other;
    grant select on airlines, airports to token_user, token_other;
    grant insert, update, delete on airlines to token_user;
    create table locked (id int);
    create view told as select current_user::text as role,
        current_setting('request.jwt.claims', true) as claims, current_setting('request.method', true) as method,
        current_setting('request.path', true) as path, current_setting('request.headers', true) as headers,
        current_setting('request.cookies', true) as cookies;
    create table writes (id int primary key, told json);
    create function tell() returns trigger language plpgsql as $$ begin
        new.told := json_build_object('role', current_user, 'sub', current_setting('request.jwt.claims')::json->>'sub',
            'method', current_setting('request.method'), 'path', current_setting('request.path'),
            'x', current_setting('request.headers')::json->>'x-test',
            'c', current_setting('request.cookies')::json->>'c');
        return new;
    end $$;
    create trigger tell before insert on writes for each row execute function tell();
    grant select on told to web_anon, token_user;
    grant select, insert on writes to token_user;
";

async fn database() -> Database {
    let database = Postgres::shared().await.database().await;
    database.execute(SCHEMA).await;
    database
}

/// A node that logs in as a role which may become the anonymous one and `token_user`, and nobody else.
fn builder(database: &Database) -> NodeBuilder {
    let url = database.url().replace("postgres://postgres@", "postgres://token_login@");
    NodeBuilder::on(database).set("database_url", url).set("jwt_secret", SECRET)
}

async fn node() -> (Database, Node) {
    let database = database().await;
    let node = builder(&database).start().await;
    (database, node)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs()
}

fn token(claims: &Value) -> String {
    signed(Algorithm::HS256, claims, &EncodingKey::from_secret(SECRET.as_bytes()))
}

fn signed(algorithm: Algorithm, claims: &Value, key: &EncodingKey) -> String {
    encode(&Header::new(algorithm), claims, key).expect("the key fits the algorithm")
}

fn with(request: Request, token: &str) -> Request {
    request.header("authorization", format!("Bearer {token}"))
}

async fn get(http: &Http, target: &str, token: &str) -> Response {
    with(http.get(target), token).send().await
}

fn gist(response: &Response) -> String {
    CacheStatus::of(response).gist()
}

/// PGRST301 with these words, in the body and in the challenge.
fn expect_refused(response: Response, message: &str) {
    let response = response.expect_status(401);
    let expected = json!({ "code": "PGRST301", "message": message, "details": null, "hint": null });
    assert_eq!(response.json(), expected);
    let description = format!("Bearer error=\"invalid_token\", error_description={message:?}");
    assert_eq!(response.header("www-authenticate"), description);
}

#[tokio::test]
async fn the_role_of_the_token_answers_or_else_the_anonymous_one() {
    let (_database, node) = node().await;
    for (claims, role) in [
        (json!({ "role": "token_user", "sub": "x" }), "token_user"),
        (json!({ "role": "web_anon" }), "web_anon"),
        (json!({ "sub": "x" }), "web_anon"),
    ] {
        let told = get(node.rest(), "/told", &token(&claims)).await.expect_status(200);
        assert_eq!(told.json()[0]["role"], role, "{claims}");
    }
    for authorization in ["", "Bearer", "Bearer ", "Basic dTpw"] {
        let told = node.rest().get("/told").header("authorization", authorization).send().await.expect_status(200);
        assert_eq!(told.json()[0]["role"], "web_anon", "{authorization}");
    }
    let spaced = format!("bearer   {}", token(&json!({ "role": "token_user" })));
    let told = node.rest().get("/told").header("authorization", spaced).send().await.expect_status(200);
    assert_eq!(told.json()[0]["role"], "token_user");
}

#[tokio::test]
async fn who_may_not_is_told_to_log_in_or_that_it_is_forbidden() {
    let (_database, node) = node().await;
    let user = token(&json!({ "role": "token_user" }));
    let anonymous = node.rest().get("/locked").send().await.expect_status(401);
    assert_eq!(anonymous.header("www-authenticate"), "Bearer");
    for claims in [json!({ "role": "web_anon" }), json!({ "sub": "x" })] {
        assert_eq!(get(node.rest(), "/locked", &token(&claims)).await.expect_status(401).json()["code"], "42501");
    }
    let forbidden = get(node.rest(), "/locked", &user).await.expect_status(403);
    assert_eq!((forbidden.json()["code"].as_str(), forbidden.header("www-authenticate")), (Some("42501"), ""));
    let write = with(node.rest().post("/airports", &json!({ "faa": "ZZZ" })), &user).send().await;
    assert_eq!(write.expect_status(403).json()["code"], "42501");
}

#[tokio::test]
async fn a_role_that_the_connection_may_not_become_is_refused_by_postgres() {
    let (_database, node) = node().await;
    for (role, status, code, message) in [
        ("token_other", 403, "42501", "permission denied to set role \"token_other\""),
        ("postgres", 403, "42501", "permission denied to set role \"postgres\""),
        ("nobody_at_all", 400, "22023", "role \"nobody_at_all\" does not exist"),
        ("", 400, "22023", "role \"\" does not exist"),
        ("Token_User", 400, "22023", "role \"Token_User\" does not exist"),
    ] {
        let token = token(&json!({ "role": role }));
        let answers =
            [get(node.rest(), "/airlines", &token).await, with(node.rest().delete("/airlines"), &token).send().await];
        for answer in answers {
            let json = answer.expect_status(status).json();
            assert_eq!((json["code"].as_str(), json["message"].as_str()), (Some(code), Some(message)));
        }
    }
}

#[tokio::test]
async fn a_token_without_a_secret_to_verify_it_is_refused() {
    let database = database().await;
    let node = NodeBuilder::on(&database).start().await;
    for request in [node.rest().get("/airlines"), node.rest().delete("/airlines")] {
        let refused = with(request, &token(&json!({ "role": "token_user" }))).send().await.expect_status(500);
        assert_eq!(refused.json()["code"], "PGRST300");
    }
}

#[tokio::test]
async fn times_have_a_leeway_of_half_a_minute() {
    let (_database, node) = node().await;
    let at = |seconds: i64| now().saturating_add_signed(seconds);
    for (claim, seconds, refusal) in [
        ("exp", 60, None),
        ("exp", -20, None),
        ("exp", -31, Some("JWT expired")),
        ("nbf", 20, None),
        ("nbf", 60, Some("JWTNotYetValid")),
        ("iat", 20, None),
        ("iat", 60, Some("JWTIssuedAtFuture")),
    ] {
        let answer = get(node.rest(), "/airlines", &token(&json!({ "role": "token_user", claim: at(seconds) }))).await;
        match refusal {
            None => drop(answer.expect_status(200)),
            Some(words) => expect_refused(answer, words),
        }
    }
}

/// Neither the remembered token nor the remembered request outlives it. The raw request index
/// answers without looking at the token.
#[tokio::test]
async fn a_token_that_expires_between_two_hits_is_refused() {
    let (_database, node) = node().await;
    let expires = now() + 3;
    let token = token(&json!({ "role": "token_user", "exp": expires - 30 }));
    get(node.rest(), "/airlines", &token).await.expect_status(200);
    let mut hits = 0;
    let refused = loop {
        let sent = now();
        let answer = get(node.rest(), "/airlines", &token).await;
        assert!(sent < expires || answer.status == 401, "served after it expired: {answer:?}");
        assert!(now() < expires + 20, "it never ends");
        if answer.status == 401 {
            break answer;
        }
        hits += usize::from(gist(&answer) == "detail=l1; hit");
    };
    expect_refused(refused, "JWT expired");
    assert!(now() >= expires && hits > 0);
    // The answer itself is still there for others.
    let other = get(node.rest(), "/airlines", &self::token(&json!({ "role": "token_user" }))).await;
    assert_eq!(gist(&other), "detail=l1; hit");
}
