//! What the documents say is what happens.

use serde_json::{Value, json};
use transom_tests::{Http, Postgres, Redis, repository};

use super::*;

/// The blocks of a document in this language and the next, with the text of the block right after each, if it is JSON.
fn examples(document: &str) -> Vec<(String, Option<Value>)> {
    let mut blocks = document.split("```").skip(1).step_by(2).peekable();
    let mut examples = Vec::new();
    while let Some(block) = blocks.next() {
        let Some(script) = block.strip_prefix("sh\n") else { continue };
        let answer = blocks.peek().and_then(|next| next.strip_prefix("json\n"));
        let answer = answer.map(|text| serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")));
        examples.push((script.to_owned(), answer));
    }
    examples
}

/// Whether two answers have the same names, with values of the same kinds.
fn is_alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| is_alike(value, other)))
        }
        (Value::Array(a), Value::Array(b)) => a.first().zip(b.first()).is_none_or(|(a, b)| is_alike(a, b)),
        (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_in_the_document_answers_as_it_says() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    setup(&database, &["--state"]).expect("the superuser may");
    let document = std::fs::read_to_string(repository().join("docs/state.md")).expect("it is in the repository");
    let examples = examples(&document);
    assert!(examples.len() >= 6, "{examples:?}");
    let node = permissions::as_documented(&document, &database, builder(&database, &redis)).await;
    let node = node.set("jwt_user_claim", ".sub").start().await;
    for (script, expected) in examples {
        let output = tokio::process::Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .env("STATE", format!("http://127.0.0.1:{}/state/v1", node.port()))
            .env("KEY", KEY)
            .env("NO_PROXY", "127.0.0.1")
            .output()
            .await
            .expect("there is a bash");
        let said = String::from_utf8_lossy(&output.stdout);
        let answer: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {script}{output:?}"));
        let expected = expected.unwrap_or_else(|| panic!("the document does not say what comes of {script}"));
        assert!(is_alike(&answer, &expected), "{script}{answer}\n{expected}");
        assert_eq!(answer["code"], expected["code"], "{script}{answer}");
    }
}

/// Those that end by themselves; the lock's is run where holders die.
#[tokio::test]
async fn the_examples_of_the_library_run() {
    let redis = Redis::start().await;
    let url = redis.url();
    let (mut process, _folder) = example("session", &[]);
    let status = process.ended(SOON).await;
    assert!(process.log().contains("logged out; its token counts now: false"), "{}", process.log());
    assert!(status.success() && process.log().contains("revoked; valid now: false"), "{status} {}", process.log());
    for (name, arguments, expected) in [
        ("permission", Vec::new(), "asked four times, read 3 times"),
        ("rate_limit", vec![&*url, "alice"], "passed, 4 left, says Cluster"),
        ("events", vec![&*url, "news"], " three"),
        ("presence", vec![&*url, "lobby", "alice"], "Members { count: 1"),
        ("existence", vec![&*url, "orders"], "0 of 1000 present ids are"),
        ("cardinality", vec![&*url, "visitors"], "after merging"),
        ("nearness", vec![&*url, "towers"], "Montparnasse is 2.4 km from the Louvre"),
    ] {
        let (mut process, _folder) = example(name, &arguments);
        let status = process.ended(SOON).await;
        assert!(status.success() && process.log().contains(expected), "{name}: {status} {}", process.log());
    }
}

#[tokio::test]
async fn every_path_of_the_description_is_served_at_whatever_path_there_is() {
    let (database, redis) = (Postgres::shared().await.database().await, Redis::start().await);
    setup(&database, &["--state"]).expect("the superuser may");
    database.execute(permissions::TABLES).await;
    let node = permissions::asking(&builder(&database, &redis)).set("state_path", "/shared").start().await;
    let http = Http::new(format!("http://127.0.0.1:{}/shared", node.port()));
    let description = http.get("/").send().await.expect_status(200).json();
    assert_eq!(description["openapi"], "3.1.0");
    assert_eq!(description["servers"][0]["url"], "/shared");
    let mut operations = 0;
    for (path, methods) in description["paths"].as_object().expect("it has paths") {
        for method in methods.as_object().expect("methods").keys().filter(|key| *key != "parameters") {
            let target = path.replace("{name}", "some-name");
            let request = match method.as_str() {
                "get" => http.get(&target),
                "post" => http.post(&target, &json!({ "nothing": "of this" })),
                "delete" => http.delete(&target),
                other => panic!("{other} {path}"),
            };
            if path.ends_with("/changes") || (path.starts_with("/events/") && method == "get") {
                // These go on: the head is all there is to wait for.
                let url = format!("http://127.0.0.1:{}/shared{target}", node.port());
                let client = reqwest::Client::builder().no_proxy().build().expect("a plain client can be built");
                let stream = client.get(url).header("transom-service-key", KEY).send().await.expect("it answers");
                assert_eq!(stream.status(), 200, "{path}");
                operations += 1;
                continue;
            }
            let answer = keyed(request).send().await;
            let is_missing = answer.status == 404
                && ["TRANSOM50", "TRANSOM33"].contains(&answer.json()["code"].as_str().expect("a code"));
            assert!([200, 400].contains(&answer.status) || is_missing, "{method} {path}: {}", answer.status);
            operations += 1;
        }
    }
    assert!(operations >= 12, "{description}");
    // Where it is not served, nothing is.
    at(node.port()).get("/").send().await.expect_status(404);
}
