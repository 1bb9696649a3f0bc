//! Presence: who is in a channel, over all nodes, and who comes and goes.
//!
//! A member is a user by way of one client. It stays for a TTL after it last said so; one that dies, or whose node dies, is gone
//! when its time is up. Whoever asks first after that, or a node on which somebody listens, within a second, says so.

use std::time::Duration;

use bytes::Bytes;
use fred::types::{Value, scripts::Script};

use super::{
    Keyspace, Name,
    events::{Event, EventId, Events, Heard, Listener, Retention, Source},
};
use crate::error::RedisError;

/// Members of a channel that are listed at most.
pub const MEMBERS_MAX: u32 = 10_000;

/// A user by way of a client: a tab, a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// who
    pub user: String,
    /// by what
    pub client: String,
}

/// Whether a member was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// it was not
    Came,
    /// it was, and stays
    Stayed,
}

/// Whether a member was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// it was
    Left,
    /// it was not: it left, or its time was up
    WasGone,
}

/// Who is in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// how many there are
    pub count: u64,
    /// the first of them by name, [`MEMBERS_MAX`] at most
    pub listed: Vec<Member>,
}

/// Where a user is: a channel, by way of a client.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// where
    pub channel: String,
    /// by what
    pub client: String,
}

/// What somebody who watches a channel hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// a member came
    Came(EventId, Member),
    /// a member left, or its time was up
    Left(EventId, Member),
    /// so many came or left unseen, if that is known: ask who is there
    Lost(Option<u64>),
}

/// The members of channels, under `transom:<namespace>:presence:{<channel>}`, and the places of users, under
/// `..:presence:user:{<user>}`. Cheap to clone.
#[derive(Clone)]
pub struct Presence {
    keys: Keyspace,
    changes: Events,
    retention: Retention,
    join: Script,
    leave: Script,
    members: Script,
    stay: Script,
    places: Script,
    ttl: Duration,
}

impl Presence {
    /// Members that stay for `ttl` after they last said so. To be called within a tokio runtime.
    #[must_use]
    pub fn new(keys: Keyspace, ttl: Duration, retention: Retention) -> Self {
        let page = script(include_str!("events/page.lua"));
        Self {
            changes: Events::over(keys.clone(), Source { names, page }, retention),
            keys,
            retention,
            join: script(include_str!("presence/join.lua")),
            leave: script(include_str!("presence/leave.lua")),
            members: script(include_str!("presence/members.lua")),
            stay: Script::from_lua(include_str!("presence/stay.lua")),
            places: Script::from_lua(include_str!("presence/places.lua")),
            ttl,
        }
    }

    /// How long a member stays after it last said so.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// A member comes, or says that it is still there: to be repeated well within the TTL.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn join(&self, channel: &Name, user: &Name, client: &Name) -> Result<Join, RedisError> {
        let ttl = i64::try_from(self.ttl.as_millis()).unwrap_or(i64::MAX);
        let joining = self.run::<bool>(&self.join, channel, vec![member(user, client), ttl.into()]);
        let (came, _) = tokio::try_join!(joining, self.stay(channel, user, client, ttl))?;
        Ok(if came { Join::Came } else { Join::Stayed })
    }

    /// A member leaves.
    ///
    /// # Errors
    /// If Redis does not answer: then its time will be up.
    pub async fn leave(&self, channel: &Name, user: &Name, client: &Name) -> Result<Leave, RedisError> {
        let leaving = self.run::<bool>(&self.leave, channel, vec![member(user, client)]);
        let (left, _) = tokio::try_join!(leaving, self.stay(channel, user, client, 0))?;
        Ok(if left { Leave::Left } else { Leave::WasGone })
    }

    /// Who is there.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn members(&self, channel: &Name) -> Result<Members, RedisError> {
        let (count, listed): (u64, Vec<String>) = self.run(&self.members, channel, vec![MEMBERS_MAX.into()]).await?;
        let mut listed: Vec<Member> = listed.iter().filter_map(|text| read(text)).collect();
        listed.sort();
        Ok(Members { count, listed })
    }

    /// Where a user is, over all channels; [`MEMBERS_MAX`] places at most.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn places(&self, user: &Name) -> Result<Vec<Place>, RedisError> {
        let keys = vec![self.keys.key("presence:user", user.as_str())];
        let listed: Vec<String> = self.keys.run(&self.places, keys, vec![MEMBERS_MAX.into()]).await?;
        let place = |text: &String| {
            let (channel, client) = text.split_once(' ')?;
            Some(Place { channel: channel.to_owned(), client: client.to_owned() })
        };
        let mut places: Vec<Place> = listed.iter().filter_map(place).collect();
        places.sort();
        Ok(places)
    }

    /// Notes where the user is, for so many milliseconds; 0: not any more.
    async fn stay(&self, channel: &Name, user: &Name, client: &Name, ttl: i64) -> Result<u64, RedisError> {
        let keys = vec![self.keys.key("presence:user", user.as_str())];
        self.keys.run(&self.stay, keys, vec![member(channel, client), ttl.to_string().into()]).await
    }

    /// Watches who comes and goes, after that change or from now on.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn watch(&self, channel: &Name, after: Option<EventId>) -> Result<Watcher, RedisError> {
        self.changes.listen(channel, after).await.map(Watcher)
    }

    async fn run<R: fred::types::FromValue>(
        &self,
        script: &Script,
        channel: &Name,
        more: Vec<Value>,
    ) -> Result<R, RedisError> {
        let mut args = self.retention.args();
        args.extend(more);
        self.keys.run(script, names(&self.keys, channel), args).await
    }
}

/// Watches a channel until it is dropped.
pub struct Watcher(Listener);

impl Watcher {
    /// The next change.
    ///
    /// # Cancel safety
    /// Dropped halfway, nothing is lost.
    pub async fn next(&mut self) -> Seen {
        loop {
            let Event { id, data } = match self.0.next().await {
                Heard::Event(event) => event,
                Heard::Lost(count) => return Seen::Lost(count),
            };
            match change(&data) {
                Some(("join", member)) => return Seen::Came(id, member),
                Some(("leave", member)) => return Seen::Left(id, member),
                // Of another release: nothing that this one can tell.
                _ => {}
            }
        }
    }
}

/// A stream of changes, and the members beside it.
fn names(keys: &Keyspace, channel: &Name) -> Vec<String> {
    let members = keys.key("presence", channel.as_str());
    vec![format!("{members}:changes"), members]
}

/// Every script says first whose time is up, also the one that reads the changes.
fn script(last: &str) -> Script {
    Script::from_lua([include_str!("events/append.lua"), include_str!("presence/sweep.lua"), last].concat())
}

/// Two names in one text: they have no spaces.
fn member(whom: &Name, client: &Name) -> Value {
    format!("{whom} {client}").into()
}

fn read(text: &str) -> Option<Member> {
    let (user, client) = text.split_once(' ')?;
    Some(Member { user: user.to_owned(), client: client.to_owned() })
}

fn change(data: &Bytes) -> Option<(&str, Member)> {
    let (what, who) = std::str::from_utf8(data).ok()?.split_once(' ')?;
    Some((what, read(who)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_as_scripts_write_them() {
        let member = Member { user: "alice".to_owned(), client: "tab-1".to_owned() };
        assert_eq!(change(&Bytes::from_static(b"join alice tab-1")), Some(("join", member)));
        for foreign in [&b"join"[..], b"join alice", b"", b"\xff a b"] {
            assert_eq!(change(&Bytes::copy_from_slice(foreign)), None);
        }
    }
}
