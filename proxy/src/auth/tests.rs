use http::HeaderValue;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;
use crate::config::{TokenKey, VerifyingKey};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_700_000_000;

fn auth(audience: Option<&str>) -> Auth {
    let tokens = Tokens {
        keys: vec![TokenKey { key: VerifyingKey::Common(DecodingKey::from_secret(SECRET)), only: None }],
        audience: audience.map(str::to_owned),
        role_claim: ".role".parse().unwrap(),
        user_claim: None,
    };
    Auth::new(Some("web_anon"), tokens)
}

fn issued(path: &str, claims: &Value) -> Option<(String, u64)> {
    let mut auth = auth(None);
    auth.tokens.user_claim = Some(path.parse().unwrap());
    let issued = ask(&auth, &signed(claims), NOW).unwrap().issued?;
    Some((issued.user.name().to_owned(), issued.at))
}

#[test]
fn a_token_names_its_user_and_when_it_was_issued_if_it_is_asked() {
    let alice = |at| Some(("alice".to_owned(), at));
    assert_eq!(issued(".sub", &json!({ "sub": "alice", "iat": NOW })), alice(NOW));
    assert_eq!(issued(".sub", &json!({ "sub": "alice", "iat": NOW as f64 + 0.9 })), alice(NOW));
    assert_eq!(issued(".sub", &json!({ "sub": "alice", "iat": -7 })), alice(0));
    assert_eq!(issued(".sub", &json!({ "sub": "alice" })), alice(0), "it may be as old as tokens are");
    assert_eq!(issued(".app.user[0]", &json!({ "app": { "user": ["alice"] } })), alice(0));
    assert_eq!(issued(".id", &json!({ "id": 7 })), Some(("7".to_owned(), 0)));
    assert_eq!(issued(".id", &json!({ "id": "null" })), Some(("null".to_owned(), 0)));
    for nobody in [json!({}), json!({ "sub": null }), json!({ "sub": "" })] {
        assert_eq!(issued(".sub", &nobody), None, "{nobody}");
    }
    assert_eq!(ask(&auth(None), &signed(&json!({ "sub": "alice" })), NOW).unwrap().issued, None);
}

fn ask(auth: &Auth, authorization: &str, seconds: u64) -> Result<Principal, String> {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_str(authorization).unwrap());
    auth.principal(&headers, WallMillis(seconds * 1000)).map_err(|error| error.problem().message.into_owned())
}

fn signed(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET);
    format!("Bearer {}", encode(&Header::new(Algorithm::HS256), claims, &key).unwrap())
}

#[test]
fn a_remembered_token_is_not_used_after_it_expired() {
    let auth = auth(None);
    let token = signed(&json!({ "role": "web_user", "exp": NOW }));
    assert_eq!(ask(&auth, &token, NOW + 29).unwrap().role.as_deref(), Some("web_user"));
    assert!(auth.remembered.get(&token.as_bytes()["Bearer ".len()..]).is_some());
    assert_eq!(ask(&auth, &token, NOW + 30), Err("JWT expired".to_owned()));
}

#[test]
fn a_token_that_failed_is_not_remembered() {
    let auth = auth(None);
    let token = signed(&json!({ "role": "web_user", "nbf": NOW + 100 }));
    assert_eq!(ask(&auth, &token, NOW), Err("JWTNotYetValid".to_owned()));
    auth.remembered.run_pending_tasks();
    assert_eq!(auth.remembered.entry_count(), 0);
    assert!(ask(&auth, &token, NOW + 100).is_ok());
}

#[test]
fn claims_reach_postgres_sorted_whole_and_with_the_role() {
    let auth = auth(None);
    let claims = |token: &str| ask(&auth, token, NOW).unwrap().claims.to_string();
    assert_eq!(claims("Basic abc"), r#"{"role":"web_anon"}"#);
    assert_eq!(claims("Bearer "), r#"{"role":"web_anon"}"#);
    assert_eq!(claims(&signed(&json!({ "sub": "x", "a": [1] }))), r#"{"a":[1],"role":"web_anon","sub":"x"}"#);
    assert_eq!(claims(&signed(&json!({ "role": 5 }))), r#"{"role":"5"}"#);
}

#[test]
fn registered_claims_are_judged_in_the_words_of_postgrest() {
    let number = |claim: &str, kind: &str| {
        format!("JWTClaimsSetDecodeError \"Error in $.{claim}: parsing {kind} failed, expected ")
    };
    for (claims, audience, refusal) in [
        (json!({ "exp": NOW - 30 }), None, "JWT expired".to_owned()),
        (json!({ "exp": -5 }), None, "JWT expired".to_owned()),
        (json!({ "exp": "x" }), None, number("exp", "NumericDate") + "Number, but encountered String\""),
        (json!({ "exp": NOW - 99, "nbf": NOW + 99 }), None, "JWT expired".to_owned()),
        (json!({ "nbf": NOW + 31 }), None, "JWTNotYetValid".to_owned()),
        (json!({ "iat": NOW + 31 }), None, "JWTIssuedAtFuture".to_owned()),
        (json!({ "sub": 5 }), None, number("sub", "StringOrURI") + "String, but encountered Number\""),
        (json!({ "jti": 5 }), None, number("jti", "Text") + "String, but encountered Number\""),
        (
            json!({ "sub": "a:b c" }),
            None,
            "JWTClaimsSetDecodeError \"Error in $.sub: failed to parse StringOrURI\"".to_owned(),
        ),
        (json!({ "aud": [] }), None, "JWTNotInAudience".to_owned()),
        (json!({ "aud": "you" }), Some("me"), "JWTNotInAudience".to_owned()),
        (json!({ "aud": ["you"] }), Some("me"), "JWTNotInAudience".to_owned()),
    ] {
        assert_eq!(ask(&auth(audience), &signed(&claims), NOW), Err(refusal), "{claims}");
    }
    for (claims, audience) in [
        (json!({ "exp": NOW - 29, "nbf": NOW + 30, "iat": NOW + 30 }), None),
        (json!({ "exp": null, "sub": null, "aud": null }), Some("me")),
        (json!({ "exp": 1e30 }), None),
        (json!({ "exp": NOW as f64 + 0.5 }), None),
        (json!({ "sub": "urn:x:y" }), None),
        (json!({ "aud": "anybody" }), None),
        (json!({ "aud": ["you", "me"] }), Some("me")),
        (json!({}), Some("me")),
    ] {
        assert!(ask(&auth(audience), &signed(&claims), NOW).is_ok(), "{claims}");
    }
}
