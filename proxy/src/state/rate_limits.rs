//! Limits that services count by themselves, over HTTP.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::state::{
    Name,
    rate::{Judge, LIMIT_MAX, Quota, RateKey, RateLimits, WINDOW_MAX, WINDOW_MIN},
};
use serde::Deserialize;
use serde_json::json;

use super::said::{invalid, read};
use crate::{
    error::Error,
    rates::{Counter, Standings},
    reply::{self, Reply},
    telemetry::{Metrics, RateSubject},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    limit: u32,
    window_ms: u64,
    #[serde(default = "one")]
    cost: u32,
}

fn one() -> u32 {
    1
}

/// Answers checks of limits.
pub(super) struct RateDesk {
    counter: Counter,
}

impl RateDesk {
    pub(super) fn new(limits: Arc<RateLimits>, metrics: Arc<Metrics>) -> Self {
        Self { counter: Counter::new(limits, metrics) }
    }

    /// Counts one check by its name.
    pub(super) async fn check(&self, name: &Name, body: &Bytes) -> Result<Reply, Error> {
        let Check { limit, window_ms, cost } = read(body)?;
        let quota = Quota::new(limit, Duration::from_millis(window_ms)).ok_or_else(|| {
            let (min, max) = (WINDOW_MIN.as_millis(), WINDOW_MAX.as_millis());
            invalid(format!("limit must be from 1 to {LIMIT_MAX}, and window_ms from {min} to {max}"))
        })?;
        let key = RateKey::new(RateSubject::Custom.as_str(), name.as_str(), "");
        let mut standings = Standings::default();
        let limit = (name.as_str(), quota);
        let decision = self.counter.count(RateSubject::Custom, &key, limit, cost, &mut standings).await?;
        let judge = match decision.judge {
            Judge::Cluster => "cluster",
            Judge::Local => "local",
        };
        let answer = json!({ "allowed": true, "remaining": decision.remaining, "judge": judge });
        let mut reply = reply::to_state(answer.to_string());
        standings.tell(reply.response.headers_mut());
        Ok(reply)
    }
}
