//! Signatures: every algorithm, and what only looks like one.

use jsonwebtoken::{Algorithm, EncodingKey, jwk::Jwk};
use serde_json::{Value, json};
use transom_tests::{Database, Node};

use super::{SECRET, builder, database, expect_refused, get, node, signed, token};

const RSA: &str = include_str!("test_keys/rsa.pem");
const P256: &str = include_str!("test_keys/p256.pem");
const P384: &str = include_str!("test_keys/p384.pem");
const ED25519: &str = include_str!("test_keys/ed.pem");

/// A key on P-521, and a token of the role `token_user` that it signed with ES512: made by OpenSSL, because the library cannot.
const P521: &str = r#"{"kty":"EC","crv":"P-521",
    "x":"AD-I67qP7p9kUhNITPwFBzq0TCFWyxfgg0aWTxuj419bw5eOY4PAAhtG2R5o9A7rb6FVmzhcQrC9BTpHeK49yJpR",
    "y":"AXcBjCwAQeo8zsX0nYdcbNejspIdWX2EryFDTYQiPkUWSNCf_it5NaK0pOijY4IgGC8Mm4G2pnNmdbJPamDwDNMT"}"#;
const SIGNED_WITH_ES512: &str = "eyJhbGciOiJFUzUxMiJ9.eyJyb2xlIjoidG9rZW5fdXNlciJ9.AIi-F4MNyjAXTwtmqZonsObn8G6YS1NooKnrXjeXvthgn_oekd\
    gbPxy2kyG16ZiY1EYqqV6yw21dNl__WkQbD_UiAVJOEpK9b8r5RUqEOTZbn50lDTFagPy9xal_GQfmcnNOD-KD8OxJBKYGt-LQhN\
    qiqivg-pgrRPlB6fIpWHCP6iIJ";

const FORGED: &str = "JWSError JWSInvalidSignature";

fn key(algorithm: Algorithm) -> EncodingKey {
    use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512};
    let key = match algorithm {
        HS256 | HS384 | HS512 => Ok(EncodingKey::from_secret(SECRET.as_bytes())),
        ES256 => EncodingKey::from_ec_pem(P256.as_bytes()),
        ES384 => EncodingKey::from_ec_pem(P384.as_bytes()),
        EdDSA => EncodingKey::from_ed_pem(ED25519.as_bytes()),
        _ => EncodingKey::from_rsa_pem(RSA.as_bytes()),
    };
    key.expect("the test keys are whole")
}

/// The public part of a key; for a symmetric one, all of it. Without `alg`, so that any algorithm of its kind will do.
fn public(algorithm: Algorithm) -> Value {
    let mut jwk = Jwk::from_encoding_key(&key(algorithm), algorithm).expect("the key fits the algorithm");
    jwk.common.key_algorithm = None;
    serde_json::to_value(jwk).expect("a JWK is JSON")
}

async fn node_with_keys(keys: &[Value]) -> (Database, Node) {
    let secret = json!({ "keys": keys }).to_string();
    let database = database().await;
    let node = builder(&database).set("jwt_secret", secret).start().await;
    (database, node)
}

#[tokio::test]
async fn every_algorithm_lets_its_signers_in() {
    use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512};
    let (_database, node) = node_with_keys(&[HS256, RS256, ES256, ES384, EdDSA].map(public)).await;
    for algorithm in [HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA] {
        let token = signed(algorithm, &json!({ "role": "token_user" }), &key(algorithm));
        get(node.rest(), "/airlines", &token).await.expect_status(200);
        let (message, signature) = token.rsplit_once('.').expect("three parts");
        let other = if signature.starts_with('A') { "B" } else { "A" };
        let forged = format!("{message}.{other}{}", &signature[1..]);
        expect_refused(get(node.rest(), "/airlines", &forged).await, FORGED);
    }
}

#[tokio::test]
async fn es512_lets_its_signers_in() {
    let point: Value = serde_json::from_str(P521).expect("it is a JWK");
    let mut named = point.clone();
    named["alg"] = json!("ES512");
    for keys in [vec![point.clone()], vec![public(Algorithm::ES256), named]] {
        let (_database, node) = node_with_keys(&keys).await;
        get(node.rest(), "/airlines", SIGNED_WITH_ES512).await.expect_status(200);
        let (message, signature) = SIGNED_WITH_ES512.rsplit_once('.').expect("three parts");
        for forged in [format!("AB{}", &signature[2..]), signature[..88].to_owned(), String::new()] {
            expect_refused(get(node.rest(), "/airlines", &format!("{message}.{forged}")).await, FORGED);
        }
    }
    let (_database, node) = node_with_keys(&[public(Algorithm::ES256)]).await;
    expect_refused(get(node.rest(), "/airlines", SIGNED_WITH_ES512).await, FORGED);
}

#[tokio::test]
async fn a_key_that_names_its_algorithm_serves_no_other() {
    let mut jwk = public(Algorithm::RS256);
    jwk["alg"] = json!("RS512");
    let (_database, node) = node_with_keys(&[jwk]).await;
    let claims = json!({ "role": "token_user" });
    let with = |algorithm| signed(algorithm, &claims, &key(algorithm));
    get(node.rest(), "/airlines", &with(Algorithm::RS512)).await.expect_status(200);
    expect_refused(get(node.rest(), "/airlines", &with(Algorithm::RS256)).await, FORGED);
}

/// Whoever knows the public key must not be able to sign with it.
#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    let (_database, node) = node_with_keys(&[Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA].map(public)).await;
    let jwk = public(Algorithm::RS256);
    let modulus = jwk["n"].as_str().expect("an RSA key has one").to_owned();
    for known in [modulus, jwk.to_string(), RSA.to_owned(), json!({ "keys": [jwk] }).to_string()] {
        let forged =
            signed(Algorithm::HS256, &json!({ "role": "token_user" }), &EncodingKey::from_secret(known.as_bytes()));
        expect_refused(get(node.rest(), "/airlines", &forged).await, FORGED);
    }
}

#[tokio::test]
async fn what_is_no_signed_token_is_refused_in_the_words_of_postgrest() {
    let (_database, node) = node().await;
    let good = token(&json!({ "role": "token_user" }));
    let [_, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let parts = |n| format!("JWSError (CompactDecodeError Invalid number of parts: Expected 3 parts; got {n})");
    let header = |why: &str| format!("JWSError (JSONDecodeError {why:?})");
    let unknown = "unrecognised value; expected: [\"HS256\",\"HS384\",\"HS512\",\"RS256\",\"RS384\",\"RS512\",\"ES256\",\
        \"ES384\",\"ES512\",\"PS256\",\"PS384\",\"PS512\",\"none\",\"EdDSA\"]";
    let wrong_key = EncodingKey::from_secret(b"another secret, which is as long as it has to be");
    for (token, words) in [
        ("abc".to_owned(), parts(1)),
        ("a.b".to_owned(), parts(2)),
        ("a.b.c.d".to_owned(), parts(4)),
        ("a.b.c".to_owned(), header("Not valid base64url")),
        (format!("{good}="), header("Not valid base64url")),
        (format!("{good} x"), header("Not valid base64url")),
        // {"alg":"none"}, {"alg":"XX"}, {"alg":"HS256","crit":["x"]}
        (format!("eyJhbGciOiJub25lIn0.{payload}."), "JWSError JWSNoSignatures".to_owned()),
        (format!("eyJhbGciOiJub25lIn0.{payload}.{signature}"), "JWSError JWSNoSignatures".to_owned()),
        (format!("eyJhbGciOiJYWCJ9.{payload}.{signature}"), header(unknown)),
        (format!("eyJhbGciOiJIUzI1NiIsImNyaXQiOlsieCJdfQ.{payload}.{signature}"), header("crit key is not understood")),
        (signed(Algorithm::HS256, &json!({ "role": "token_user" }), &wrong_key), FORGED.to_owned()),
        // The header says RS256, the key is a shared secret: {"alg":"RS256"}
        (format!("eyJhbGciOiJSUzI1NiJ9.{payload}.{signature}"), FORGED.to_owned()),
    ] {
        expect_refused(get(node.rest(), "/airlines", &token).await, &words);
        // Also for what would be a hit, and for a write.
        let write = super::with(node.rest().delete("/airlines"), &token).send().await;
        expect_refused(write, &words);
    }
}

/// RFC 7518, section 3.2, and what PostgREST does.
#[tokio::test]
async fn a_secret_shorter_than_the_hash_does_not_serve_it() {
    let secret = &SECRET[..40];
    let database = database().await;
    let node = builder(&database).set("jwt_secret", secret).start().await;
    let with =
        |algorithm| signed(algorithm, &json!({ "role": "token_user" }), &EncodingKey::from_secret(secret.as_bytes()));
    get(node.rest(), "/airlines", &with(Algorithm::HS256)).await.expect_status(200);
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        expect_refused(get(node.rest(), "/airlines", &with(algorithm)).await, FORGED);
    }
}
