//! What the settings change, and what Postgres is told of a request.

use serde_json::{Value, json};
use transom_tests::{Folder, Node, Response};

use super::{SECRET, builder, database, expect_refused, get, gist, node, token, with};

#[tokio::test]
async fn the_role_is_found_where_the_setting_says() {
    let database = database().await;
    for (path, claims) in [
        (".role", json!({ "role": "token_user" })),
        (".app.role", json!({ "app": { "role": "token_user" } })),
        (".roles[1]", json!({ "roles": ["web_anon", "token_user"] })),
        (
            ".\"https://example.org/auth\".roles[0].name",
            json!({ "https://example.org/auth": { "roles": [{ "name": "token_user" }] } }),
        ),
    ] {
        let node = builder(&database).set("jwt_role_claim_key", path).start().await;
        let told = get(node.rest(), "/told", &token(&claims)).await.expect_status(200).json();
        assert_eq!(told[0]["role"], "token_user", "{path}");
        let elsewhere = get(node.rest(), "/told", &token(&json!({ "rolle": "token_user" }))).await;
        assert_eq!(elsewhere.expect_status(200).json()[0]["role"], "web_anon", "{path}");
    }
}

#[tokio::test]
async fn a_token_for_somebody_else_is_refused() {
    let database = database().await;
    let node = builder(&database).set("jwt_aud", "me").start().await;
    for (audience, meant) in [
        (json!("me"), true),
        (json!(["you", "me"]), true),
        (Value::Null, true),
        (json!("you"), false),
        (json!(["you"]), false),
        (json!([]), false),
    ] {
        let token = token(&json!({ "role": "token_user", "aud": audience }));
        let answer = get(node.rest(), "/airlines", &token).await;
        if meant {
            answer.expect_status(200);
        } else {
            expect_refused(answer, "JWTNotInAudience");
        }
    }
}

#[tokio::test]
async fn the_secret_may_be_in_a_file_and_in_base64() {
    let database = database().await;
    let folder = Folder::new("secret");
    let plain = folder.write("plain", format!("{SECRET}\n"));
    // SECRET in Base64
    let base64 =
        "YSBzZWNyZXQgb2YgdGhlIHRlc3RzLCB3aGljaCBpcyBsb25nIGVub3VnaCBmb3IgSFMyNTYsIEhTMzg0IGFuZCBIUzUxMiBhbGlrZQ==";
    for (secret, is_base64) in [(format!("@{}", plain.display()), "false"), (base64.to_owned(), "true")] {
        let node =
            builder(&database).set("jwt_secret", secret.clone()).set("jwt_secret_is_base64", is_base64).start().await;
        let token = token(&json!({ "role": "token_user" }));
        get(node.rest(), "/airlines", &token).await.expect_status(200);
        let shown = node.admin().get("/config").send().await.expect_status(200).json();
        assert_eq!(shown["jwt_secret"]["value"], "***");
    }
}

fn parsed(told: &Value, name: &str) -> Value {
    serde_json::from_str(told[name].as_str().unwrap_or_default()).unwrap_or_else(|error| panic!("{told}: {error}"))
}

#[tokio::test]
async fn a_view_sees_the_request_that_asks_and_not_an_earlier_one() {
    let (_database, node) = node().await;
    for number in 0..3 {
        let token = token(&json!({ "role": "token_user", "sub": format!("user-{number}"), "n": [1, { "a": null }] }));
        let request = with(node.rest().get("/told?select=*"), &token)
            .header("X-Number", number.to_string())
            .header("Cookie", format!("a=b; n={number}"));
        let answer = request.send().await.expect_status(200);
        assert_eq!(gist(&answer), "detail=function; fwd=bypass");
        let told = &answer.json()[0];
        assert_eq!((&told["method"], &told["path"]), (&json!("GET"), &json!("/told")));
        let claims = json!({ "role": "token_user", "sub": format!("user-{number}"), "n": [1, { "a": null }] });
        assert_eq!(parsed(told, "claims"), claims);
        assert_eq!(parsed(told, "headers")["x-number"], number.to_string());
        assert_eq!(parsed(told, "headers")["authorization"], format!("Bearer {token}"));
        assert_eq!(parsed(told, "cookies"), json!({ "a": "b", "n": number.to_string() }));
        let anonymous = node.rest().get("/told?select=*").send().await.expect_status(200).json();
        assert_eq!(parsed(&anonymous[0], "claims"), json!({ "role": "web_anon" }));
        assert_eq!(parsed(&anonymous[0], "cookies"), json!({}));
    }
}

#[tokio::test]
async fn a_trigger_sees_the_request_that_writes() {
    let (_database, node) = node().await;
    let token = token(&json!({ "role": "token_user", "sub": "me" }));
    let request = with(node.rest().post("/writes", &json!({ "id": 1 })), &token).header("cookie", "c=d");
    let written = request.header("x-test", "y").header("prefer", "return=representation").send().await;
    let told = &written.expect_status(201).json()[0]["told"];
    let expected =
        json!({ "role": "token_user", "sub": "me", "method": "POST", "path": "/writes", "x": "y", "c": "d" });
    assert_eq!(*told, expected);
}

const PRE_REQUEST: &str = "
    create schema guard;
    grant usage on schema guard to web_anon, token_user;
    create table audit (who text);
    grant select, insert on audit to token_user;
    create function guard.check() returns void language plpgsql as $$ begin
        if current_setting('request.headers')::json->>'x-refuse' is not null then
            raise exception 'refused' using errcode = 'PT418', detail = 'for ' || current_user, hint = 'ask nicely';
        end if;
        if current_setting('request.method') <> 'GET' then
            insert into public.audit values (current_setting('request.jwt.claims')::json->>'sub');
        end if;
    end $$;
";

fn expect_refused_by_function(answer: Response, role: &str) {
    let expected =
        json!({ "code": "PT418", "message": "refused", "details": format!("for {role}"), "hint": "ask nicely" });
    assert_eq!(answer.expect_status(418).json(), expected);
}

#[tokio::test]
async fn the_pre_request_may_refuse_whatever_was_answered_before() {
    let database = database().await;
    database.execute(PRE_REQUEST).await;
    let node: Node = builder(&database).set("db_pre_request", "guard.check").start().await;
    let user = token(&json!({ "role": "token_user", "sub": "me" }));
    for _ in 0..2 {
        for answer in [node.rest().get("/airlines").send().await, get(node.rest(), "/airlines", &user).await] {
            assert_eq!(gist(&answer.expect_status(200)), "detail=pre-request; fwd=bypass");
        }
        let refused = node.rest().get("/airlines").header("x-refuse", "1").send().await;
        expect_refused_by_function(refused, "web_anon");
    }
    let airline = json!({ "carrier": "ZZ", "name": "z" });
    let write = || with(node.rest().post("/airlines", &airline), &user);
    expect_refused_by_function(write().header("x-refuse", "1").send().await, "token_user");
    assert_eq!(database.value("select count(*) from airlines where carrier = 'ZZ'").await.as_deref(), Some("0"));
    write().send().await.expect_status(201);
    // What the function itself wrote is part of the transaction.
    assert_eq!(database.value("select who from audit").await.as_deref(), Some("me"));
}

/// A node with the function and one without may share L2: the writes of the first must reach the entries of the second.
#[tokio::test]
async fn what_the_pre_request_changes_is_announced() {
    let database = database().await;
    database.execute(PRE_REQUEST).await;
    let redis = transom_tests::Redis::start().await;
    // Time for Redis on a busy machine: a write that could not be announced has no token.
    let patient = builder(&database).redis(&redis).set("redis_timeout", "2s");
    let guarded = patient.set("db_pre_request", "guard.check").start().await;
    let plain = builder(&database).redis(&redis).start().await;
    let user = token(&json!({ "role": "token_user", "sub": "me" }));
    for rows in ["[]", r#"[{"who":"me"}]"#] {
        let read = get(plain.rest(), "/audit", &user).await.expect_status(200);
        assert_eq!(read.text(), rows);
        assert_eq!(gist(&get(plain.rest(), "/audit", &user).await), "detail=l1; hit");
        if rows == "[]" {
            let airline = json!({ "carrier": "ZZ", "name": "z" });
            let written = with(guarded.rest().post("/airlines", &airline), &user).send().await.expect_status(201);
            let proof = written.header("transom-token").to_owned();
            let read = with(plain.rest().get("/audit"), &user).header("transom-min-token", &proof).send().await;
            assert_eq!(read.text(), r#"[{"who":"me"}]"#);
        }
    }
}
