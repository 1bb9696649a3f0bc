//! What a node needs from Redis.

use std::collections::HashMap;
use std::time::Duration;

use fred::prelude::{Client, ClientLike, Expiration, FredResult, FromValue, KeysInterface, LuaInterface};
use fred::types::config::Config as FredConfig;
use fred::types::{Builder, ClusterHash, CustomCommand};

use super::finding::Finding;
use crate::config::Redis;

/// Longest wait for the connection and for each answer; a check is more patient than a request.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Older ones lack what the scripts of a node use.
const VERSION_MIN: u32 = 6;

pub(super) async fn check(redis: Option<&Redis>, namespace: &str) -> Vec<Finding> {
    let Some(redis) = redis else {
        let found = "not given: L1 only, and this node hears of no write made through another";
        return vec![Finding::warn("redis", found, "set `redis_url` if there is more than one node")];
    };
    let client = match within(connect(redis)).await {
        Ok(client) => client,
        Err(why) => {
            let fix = "check `redis_url` and that the server runs";
            return vec![Finding::fail("redis", format!("cannot connect: {why}"), fix)];
        }
    };
    let findings = vec![
        version(within(ask::<String>(&client, "INFO", &["server"])).await),
        eviction(within(ask::<HashMap<String, String>>(&client, "CONFIG", &["GET", "maxmemory*"])).await),
        allowed("redis scripts", "EVAL, EVALSHA", within(run(&client, namespace)).await),
        allowed("redis pub/sub", "PUBLISH, SUBSCRIBE", within(publish(&client, namespace)).await),
        allowed("redis reads", "GET, MGET", within(read(&client, namespace)).await),
        allowed("redis stores", "SET", within(store(&client, namespace)).await),
    ];
    drop(within(client.quit()).await);
    findings
}

fn version(info: Result<String, String>) -> Finding {
    let info = match info {
        Ok(info) => info,
        Err(why) => return Finding::warn("redis", why, "allow INFO to this user (ACL)"),
    };
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).map_or("unknown", str::trim);
    match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
        Some(major) if major >= VERSION_MIN => Finding::ok("redis", format!("version {version}")),
        Some(_) => Finding::fail("redis", format!("version {version}"), "upgrade to 6 or later"),
        None => Finding::warn("redis", "does not tell its version", "use Redis 6 or later"),
    }
}

/// Transom survives the eviction of its coherence keys (a new epoch begins), but every cached entry is lost with them.
fn eviction(settings: Result<HashMap<String, String>, String>) -> Finding {
    let what = "redis memory";
    let settings = settings.unwrap_or_default();
    let (Some(limit), Some(policy)) = (settings.get("maxmemory"), settings.get("maxmemory-policy")) else {
        return Finding::info(what, "unknown, as this Redis does not let CONFIG GET through");
    };
    let found = format!("maxmemory {limit}, maxmemory-policy {policy}");
    if limit == "0" {
        return Finding::info(what, format!("{found}: no limit, so L2 may grow to the size of the machine"));
    }
    if policy.starts_with("allkeys-") {
        let fix = "choose volatile-lru or volatile-lfu: this one may evict the coherence keys, and then every node \
                   starts over with an empty cache";
        return Finding::warn(what, found, fix);
    }
    if policy == "noeviction" {
        return Finding::warn(what, found, "choose volatile-lru or volatile-lfu, so that a full L2 makes room");
    }
    Finding::ok(what, found)
}

fn allowed<T>(what: &'static str, commands: &str, answer: Result<T, String>) -> Finding {
    match answer {
        Ok(_) => Finding::ok(what, "allowed"),
        Err(why) => {
            let fix = format!("allow {commands} on `transom:*` and `{{transom:*` to this user (ACL)");
            Finding::fail(what, why, fix)
        }
    }
}

async fn connect(redis: &Redis) -> FredResult<Client> {
    let mut config = FredConfig::from_url(redis.url.expose())?;
    config.fail_fast = true;
    let client = Builder::from_config(config).build()?;
    // Ends with `quit`.
    drop(client.init().await?);
    Ok(client)
}

/// A script over a name among those of the history, as all scripts of invalidation are.
async fn run(client: &Client, namespace: &str) -> FredResult<i64> {
    client.eval("return redis.call('EXISTS', KEYS[1])", history(namespace), ()).await
}

async fn publish(client: &Client, namespace: &str) -> FredResult<i64> {
    ask(client, "PUBLISH", &[&history(namespace), "check"]).await
}

/// Reads that wait at the same time are an `MGET`, so a user who may only `GET` would be refused under load alone.
async fn read(client: &Client, namespace: &str) -> FredResult<(Option<String>, Vec<Option<String>>)> {
    let name = entry(namespace);
    Ok((client.get(&name).await?, client.mget(name).await?))
}

async fn store(client: &Client, namespace: &str) -> FredResult<()> {
    client.set(entry(namespace), "check", Some(Expiration::PX(1)), None, false).await
}

/// A name that begins as those of the history and of the channels do.
fn history(namespace: &str) -> String {
    format!("{{transom:{namespace}}}:check")
}

/// A name among those of entries, which are digests.
fn entry(namespace: &str) -> String {
    format!("transom:{namespace}:e:{{check}}")
}

async fn ask<T: FromValue>(client: &Client, command: &'static str, arguments: &[&str]) -> FredResult<T> {
    let command = CustomCommand::new_static(command, ClusterHash::Random, false);
    client.custom(command, arguments.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>()).await
}

async fn within<T>(answer: impl Future<Output = FredResult<T>>) -> Result<T, String> {
    match tokio::time::timeout(TIMEOUT, answer).await {
        Ok(answer) => answer.map_err(|error| said(&error)),
        Err(_) => Err(format!("no answer within {} seconds", TIMEOUT.as_secs())),
    }
}

/// The driver shows an error of the system as its debug form; the message in it is the part for people.
fn said(error: &fred::error::Error) -> String {
    let details = error.details();
    match details.split_once("message: \"") {
        Some((_, rest)) => rest.trim_end_matches([' ', '}', '"']).to_owned(),
        None => details.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn versions_are_judged() {
        let level = |info: &str| version(Ok(info.to_owned())).level;
        assert_eq!(level("# Server\r\nredis_version:7.0.15\r\n"), Level::Ok);
        assert_eq!(level("redis_version:5.0.7\r\n"), Level::Fail);
        assert_eq!(level("something else"), Level::Warn);
    }

    #[test]
    fn eviction_that_may_hit_coherence_keys_is_warned_about() {
        let level = |limit: &str, policy: &str| {
            let pairs = [("maxmemory", limit), ("maxmemory-policy", policy)];
            eviction(Ok(pairs.map(|(name, text)| (name.to_owned(), text.to_owned())).into())).level
        };
        assert_eq!(level("1073741824", "volatile-lru"), Level::Ok);
        assert_eq!(level("1073741824", "allkeys-lru"), Level::Warn);
        assert_eq!(level("1073741824", "noeviction"), Level::Warn);
        assert_eq!(level("0", "noeviction"), Level::Info);
        assert_eq!(eviction(Err("denied".to_owned())).level, Level::Info);
    }
}
