//! Claims and stores as Redis hears them: the scripts, each over the keys of one fill or of several.

use std::time::Duration;

use bytes::Bytes;
use fred::{
    clients::Client,
    types::{Value as RedisValue, scripts::Script},
};

use crate::{coherence::Seq, error::RedisError, redis::Command};

use super::Checksum;

/// Looks for entries, and takes the leases of those that are not there.
pub(super) struct Claims {
    script: Script,
    /// how an entry begins that can be read
    head: Bytes,
    lease_for: Duration,
}

impl Claims {
    pub(super) fn new(head: [u8; 6], lease_for: Duration) -> Self {
        let script = Script::from_lua(include_str!("claim.lua"));
        Self { script, head: Bytes::copy_from_slice(&head), lease_for }
    }
}

/// One claim.
pub(super) struct Claim {
    /// under which names the entry and the lease are
    pub(super) names: [String; 2],
    pub(super) epoch: u64,
    pub(super) newest: Seq,
    pub(super) refused: Option<Checksum>,
    /// the lease
    pub(super) written: Bytes,
}

/// What came of a claim: a word, and what belongs to it.
pub(super) type Said = (Bytes, Bytes);

impl Command for Claims {
    type Asked = Claim;
    type Answer = Said;

    async fn ask(&self, client: &Client, asked: Vec<Claim>) -> Result<Vec<Said>, RedisError> {
        let mut names = Vec::with_capacity(asked.len() * 2);
        let mut args: Vec<RedisValue> = Vec::with_capacity(asked.len() * 4 + 2);
        args.push(RedisValue::Bytes(self.head.clone()));
        args.push(self.lease_for.as_millis().max(1).to_string().into());
        for claim in asked {
            names.extend(claim.names);
            args.push(bytes(&claim.epoch.to_le_bytes()));
            args.push(claim.newest.0.to_string().into());
            args.push(bytes(claim.refused.as_ref().map_or(&[][..], |checksum| checksum)));
            args.push(RedisValue::Bytes(claim.written));
        }
        let said: Vec<Bytes> = self.script.evalsha_with_reload(client, names, args).await?;
        Ok(said.chunks_exact(2).map(|said| (said[0].clone(), said[1].clone())).collect())
    }
}

/// Stores entries, and gives the leases back after it.
pub(super) struct Stores(Script);

impl Default for Stores {
    fn default() -> Self {
        Self(Script::from_lua(include_str!("store.lua")))
    }
}

/// One store.
pub(super) struct Store {
    /// under which names the entry and the lease are
    pub(super) names: [String; 2],
    pub(super) entry: Bytes,
    pub(super) keep_ms: i64,
    /// the lease
    pub(super) written: Bytes,
}

impl Command for Stores {
    type Asked = Store;
    type Answer = ();

    async fn ask(&self, client: &Client, asked: Vec<Store>) -> Result<Vec<()>, RedisError> {
        let answers = vec![(); asked.len()];
        let mut names = Vec::with_capacity(asked.len() * 2);
        let mut args: Vec<RedisValue> = Vec::with_capacity(asked.len() * 3);
        for store in asked {
            names.extend(store.names);
            args.extend([
                RedisValue::Bytes(store.entry),
                store.keep_ms.to_string().into(),
                RedisValue::Bytes(store.written),
            ]);
        }
        let _: u64 = self.0.evalsha_with_reload(client, names, args).await?;
        Ok(answers)
    }

    fn weight(asked: &Store) -> usize {
        asked.entry.len()
    }
}

fn bytes(slice: &[u8]) -> RedisValue {
    RedisValue::Bytes(Bytes::copy_from_slice(slice))
}
