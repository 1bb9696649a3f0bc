//! Which feed a node has.

use tokio_postgres::Client;

use super::{ability::ability, endpoint::Endpoint, state::Kind, trigger};
use crate::{
    config::{self, Config},
    origin::describe,
};

/// Which feed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// `None`: changes made past the proxy are noticed by lifetime and purge only
    pub kind: Option<Kind>,
    /// what decided
    pub why: String,
}

/// What the settings want; where they leave it open, the log if this server and this role can, else the triggers if they are
/// installed. The first server that answers decides.
pub async fn choose(config: &Config) -> Choice {
    let asked_for = |kind| Choice { kind, why: "the setting `feed` says so".to_owned() };
    match config.coherence.feed {
        config::Feed::None => asked_for(None),
        config::Feed::Logical => asked_for(Some(Kind::Logical)),
        config::Feed::Trigger => asked_for(Some(Kind::Trigger)),
        config::Feed::IfAble => {
            let mut refused = "the URL names no server".to_owned();
            for endpoint in Endpoint::all(&config.database.connection) {
                let looked = match endpoint.connect().await {
                    Ok(client) => look(&client).await,
                    Err(error) => Err(error),
                };
                match looked {
                    Ok(choice) => return choice,
                    Err(error) => refused = describe(&error),
                }
            }
            Choice { kind: None, why: refused }
        }
    }
}

/// What this server and this role can have.
///
/// # Errors
/// If the server does not answer.
pub async fn look(client: &Client) -> Result<Choice, tokio_postgres::Error> {
    let Some(unable) = ability(client).await? else {
        let why = "the role may replicate, and wal_level is logical".to_owned();
        return Ok(Choice { kind: Some(Kind::Logical), why });
    };
    Ok(if trigger::installed(client).await? {
        Choice { kind: Some(Kind::Trigger), why: format!("its triggers are installed, and {unable}") }
    } else {
        Choice { kind: None, why: format!("{unable}; or run `transom setup --feed trigger`") }
    })
}
