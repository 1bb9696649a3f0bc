//! What functions say of the answer: its status, its headers, and errors in their own words.

use serde_json::json;

use super::{node, shop};

const SAYS: &str = r#"
    create function shop.says(headers text, status text) returns int language plpgsql as $$
    begin
        perform set_config('response.headers', headers, true), set_config('response.status', status, true);
        return 1;
    end $$;
    create function shop.refuses(message text, detail text) returns int language plpgsql as $$
    begin
        raise sqlstate 'PGRST' using message = message, detail = detail;
    end $$;"#;

#[tokio::test]
async fn a_function_chooses_status_and_headers_for_its_own_answer_alone() {
    let database = shop(SAYS).await;
    let node = node(&database, &[]).await;
    let headers = r#"[{"X-A":"1"},{"Set-Cookie":"a=b"},{"Set-Cookie":"c=d"},{"Content-Type":"text/x"}]"#;
    let body = json!({"headers": headers, "status": "202"});
    let posted = node.rest().post("/rpc/says", &body).send().await.expect_status(202);
    assert_eq!((posted.header("x-a"), posted.header("content-type"), &*posted.text()), ("1", "text/x", "1"));
    assert_eq!(posted.headers.get_all("set-cookie").iter().count(), 2);
    let plain = node.rest().post("/rpc/says", &json!({"headers": "", "status": ""})).send().await.expect_status(200);
    assert!(!plain.headers.contains_key("x-a"), "{plain:?}");
    for (headers, status, code) in [("nonsense", "", "PGRST111"), ("", "nonsense", "PGRST112")] {
        let refused = node.rest().post("/rpc/says", &json!({"headers": headers, "status": status})).send().await;
        assert_eq!((refused.status, refused.json()["code"].as_str()), (500, Some(code)));
    }
}

/// A function that is called immutable and is not: what it says is for the request that called it.
#[tokio::test]
async fn what_a_function_says_is_not_said_to_the_next_request() {
    let database = shop(
        r#"create function shop.lies() returns int language plpgsql immutable as $$
        begin
            perform set_config('response.headers', '[{"Set-Cookie":"a=b"}]', true);
            return 1;
        end $$;"#,
    )
    .await;
    let node = node(&database, &[]).await;
    let first = node.rest().get("/rpc/lies").send().await.expect_status(200);
    assert_eq!((first.header("set-cookie"), first.header("cache-status")), ("a=b", "transom; fwd=uri-miss"));
    // PostgreSQL runs such a function once per plan, so the next answers may have nothing to say, and may be stored.
    for _ in 0..3 {
        let next = node.rest().get("/rpc/lies").send().await.expect_status(200);
        let kept = next.header("cache-status").contains("stored") || next.header("cache-status").contains("hit");
        assert!(!kept || !next.headers.contains_key("set-cookie"), "{next:?}");
    }
}

#[tokio::test]
async fn a_function_words_its_own_error() {
    let database = shop(SAYS).await;
    let node = node(&database, &[]).await;
    let raise = async |message: &str, detail: &str| {
        node.rest().post("/rpc/refuses", &json!({"message": message, "detail": detail})).send().await
    };
    let message = r#"{"code":"123","message":"Payment Required","details":"Quota exceeded","hint":"Upgrade"}"#;
    let refused = raise(message, r#"{"status":402,"headers":{"X-Powered-By":"Nerd"}}"#).await;
    assert_eq!((refused.status, refused.header("x-powered-by")), (402, "Nerd"));
    let expected =
        json!({"code": "123", "message": "Payment Required", "details": "Quota exceeded", "hint": "Upgrade"});
    assert_eq!(refused.json(), expected);
    let broken = raise("words", r#"{"status":402,"headers":{}}"#).await;
    assert_eq!((broken.status, broken.json()["code"].as_str()), (500, Some("PGRST121")));
}
