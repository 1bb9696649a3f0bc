//! Creates a session, validates it and revokes it, in a store of its own: how to keep sessions elsewhere than in Postgres.
//!
//! ```sh
//! cargo run -p cache-core --example session
//! ```

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::Mutex,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cache_core::{
    cache::TwoTier,
    clock::Clock,
    limits::Limits,
    state::session::{
        Change, Changed, Created, Ends, Gone, Mark, NewSession, News, Revoked, Session, SessionSettings, Sessions,
        Standing, Store, TokenHash, Tokens, User, Which,
    },
    tag::SlotCount,
};

/// Sessions of this process alone: their ends do not move, and nobody has too many.
#[derive(Default)]
struct Memory(Mutex<(HashMap<TokenHash, Session>, Vec<Gone>)>, Mutex<HashMap<String, Standing>>);

type Answer<T> = Result<T, Infallible>;

impl Store for Memory {
    type Error = Infallible;

    fn is_away(_: &Infallible) -> bool {
        false
    }

    async fn create(&self, hash: &TokenHash, new: &NewSession) -> Answer<Created> {
        let (hash, user, idle, data) = (*hash, new.user.clone(), new.idle, new.data.clone());
        let [created_at, last_seen_at, expires_at, ends_at] = [0; 4];
        let session =
            Session { id: 1, hash, user, created_at, last_seen_at, expires_at, ends_at, idle, left: idle, data };
        self.0.lock().expect("nobody panics with it").0.insert(hash, session.clone());
        Ok(Created { session, evicted: Vec::new() })
    }

    async fn read(&self, hash: &TokenHash) -> Answer<Option<Session>> {
        Ok(self.0.lock().expect("nobody panics with it").0.get(hash).cloned())
    }

    async fn touch(&self, _: &[TokenHash]) -> Answer<Vec<Session>> {
        Ok(Vec::new())
    }

    async fn refresh(&self, hash: &TokenHash) -> Answer<Option<Session>> {
        self.read(hash).await
    }

    async fn revoke(&self, which: &Which) -> Answer<Revoked> {
        let (sessions, notes) = &mut *self.0.lock().expect("nobody panics with it");
        let is_meant = |session: &Session| match which {
            Which::Token(hash) => session.hash == *hash,
            Which::Numbered { user, id } => session.user == *user && session.id == *id,
            Which::AllOf { user, but } => session.user == *user && *but != Some(session.hash),
        };
        let before = notes.len();
        for (hash, _) in sessions.extract_if(|_, session| is_meant(session)) {
            notes.push(Gone {
                id: i64::try_from(notes.len()).expect("they fit into memory"),
                hash: Some(hash),
                told: Vec::new(),
            });
        }
        let noted: Vec<i64> = notes[before..].iter().map(|gone| gone.id).collect();
        Ok(Revoked { count: noted.len() as u64, hash: notes[before..].first().and_then(|gone| gone.hash), noted })
    }

    async fn standing(&self, user: &str) -> Answer<Standing> {
        Ok(self.1.lock().expect("nobody panics with it").get(user).copied().unwrap_or_default())
    }

    async fn change(&self, Change { user, ends, tokens }: &Change) -> Answer<Changed> {
        let ended = match ends {
            Ends::Nothing => Revoked { count: 0, hash: None, noted: Vec::new() },
            Ends::One(hash) => self.revoke(&Which::Token(*hash)).await?,
            Ends::AllBut(but) => self.revoke(&Which::AllOf { user: user.clone(), but: *but }).await?,
        };
        let mut standings = self.1.lock().expect("nobody panics with it");
        let standing = standings.entry(user.to_string()).or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        match tokens {
            Tokens::Keep => {}
            Tokens::Outdate => standing.not_before = now + 1,
            Tokens::Ban => standing.banned = true,
            Tokens::Readmit => *standing = Standing { not_before: now + 1, banned: false },
        }
        let (_, notes) = &mut *self.0.lock().expect("nobody panics with it");
        let id = i64::try_from(notes.len()).expect("they fit into memory");
        notes.push(Gone { id, hash: Some(*User::new(user.clone()).hash()), told: Vec::new() });
        let noted = ended.noted.iter().copied().chain([id]).collect();
        Ok(Changed { ended: ended.count, standing: *standing, noted, announced: false })
    }

    async fn list(&self, user: &str, most: u32) -> Answer<Vec<Session>> {
        let (sessions, _) = &*self.0.lock().expect("nobody panics with it");
        Ok(sessions.values().filter(|session| &*session.user == user).take(most as usize).cloned().collect())
    }

    async fn gone(&self, since: &Mark) -> Answer<News> {
        let (_, notes) = &*self.0.lock().expect("nobody panics with it");
        let seen: usize = since.0.parse().unwrap_or_default();
        Ok(News { mark: Mark(notes.len().to_string().into()), gone: notes[seen..].to_vec() })
    }

    async fn tell(&self, _: &str, _: &[i64]) -> Answer<()> {
        Ok(())
    }

    async fn sweep(&self, _: &Mark) -> Answer<()> {
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limits = Limits {
        l1_bytes_max: 1 << 20,
        entry_bytes_max: 1 << 20,
        slots: SlotCount::DEFAULT,
        max_staleness: Duration::from_secs(1),
        redis_timeout: Duration::from_secs(1),
        fill_lease_for: Duration::ZERO,
    };
    // With peers: `TwoTier::shared`, and the cache of sessions beside that of whatever else is cached.
    let cache = TwoTier::<Session>::alone(limits, Clock::start()).beside("session", 1 << 20);
    let hour = Duration::from_secs(3600);
    let settings = SessionSettings {
        cached_for: hour,
        namespace: "default".to_owned(),
        patience: Duration::from_secs(5),
        standings_bytes_max: 1 << 20,
    };
    let sessions = Sessions::new(Memory::default(), cache, settings);

    let new = NewSession { user: "alice".into(), idle: hour, lasts: hour * 24, user_max: 10, data: None };
    let (token, session) = sessions.create(new).await?;
    println!("created for {}", session.user);
    // A client shows the text of the token, which is parsed, and known by its hash from there on.
    let valid = sessions.validate(&token.hash()).await?;
    println!("valid: {}, by {:?}", valid.is_some(), valid.and_then(|valid| valid.tier()));
    sessions.revoke(Which::Token(token.hash())).await?;
    println!("revoked; valid now: {}", sessions.validate(&token.hash()).await?.is_some());

    // Tokens that somebody else issued: whoever sees one asks what is held against its user.
    let user = User::new("alice".into());
    let issued_at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    println!("its token counts: {}", sessions.standing(&user).await?.accepts(issued_at));
    let left = Change { user: "alice".into(), ends: Ends::AllBut(None), tokens: Tokens::Outdate };
    sessions.change(left, Vec::new()).await?;
    println!("logged out; its token counts now: {}", sessions.standing(&user).await?.accepts(issued_at));
    Ok(())
}
