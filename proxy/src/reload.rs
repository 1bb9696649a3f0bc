//! When the schema is read again: on `NOTIFY pgrst`, on SIGUSR1, and whenever the connection that listens was made anew,
//! because a notification may have been missed (<https://docs.postgrest.org/en/v12/references/schema_cache.html>).
//!
//! ```text
//! listen ── notified ──.
//! SIGUSR1 ─────────────┴─ wish ── load ── failed: again, later, by the old one meanwhile
//! ```

use std::{convert::Infallible, future::poll_fn, pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, Socket, config::TargetSessionAttrs, tls};

use crate::{config::Database, origin::describe, serve::Serve, telemetry::Reload};

/// Pause after a load. Of a hundred statements of a migration the first makes one load, and all others together one more.
const SPACING: Duration = Duration::from_millis(200);
/// Pause before a load that failed, or a connection that was lost, is tried again; it doubles from the first to the last.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_LAST: Duration = Duration::from_secs(30);
/// How often the connection that listens is asked whether it is alive, and how long it may take to say so.
const ASK_EVERY: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads the schema again when that is wished for. Ends when it is dropped.
pub(crate) struct Reloader {
    wishes: Wishes,
    tasks: Vec<JoinHandle<()>>,
}

/// Somebody wants the schema to be read again; wishes that nobody got around to are one.
#[derive(Debug, Clone, Default)]
struct Wishes(Arc<Notify>);

impl Wishes {
    fn wish(&self) {
        self.0.notify_one();
    }

    async fn wished(&self) {
        self.0.notified().await;
    }
}

impl Reloader {
    /// Starts to listen, if that is wanted, and to read.
    pub(crate) fn start(serve: Arc<Serve>, database: &Database) -> Self {
        let wishes = Wishes::default();
        let mut tasks = vec![tokio::spawn(reload(serve, wishes.clone()))];
        if let Some(channel) = database.channel.clone() {
            tasks.push(tokio::spawn(listen(database.connection.clone(), channel, wishes.clone())));
        }
        Self { wishes, tasks }
    }

    /// Reads the schema again, soon.
    pub(crate) fn wish(&self) {
        self.wishes.wish();
    }
}

impl Drop for Reloader {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn reload(serve: Arc<Serve>, wishes: Wishes) {
    loop {
        wishes.wished().await;
        let mut wait = RETRY_FIRST;
        loop {
            match serve.reload_schema().await {
                Ok(Reload::Changed) => {
                    tracing::info!("the schema changed; what was stored before is not used any more");
                }
                Ok(_) => tracing::debug!("the schema is what it was"),
                Err(error) => {
                    tracing::warn!(%error, again_in = ?wait, "the schema cannot be read; the one before goes on serving");
                    tokio::select! {
                        () = sleep(wait) => {}
                        () = wishes.wished() => {}
                    }
                    wait = (wait * 2).min(RETRY_LAST);
                    continue;
                }
            }
            break;
        }
        sleep(SPACING).await;
    }
}

async fn listen(mut config: Config, channel: String, wishes: Wishes) {
    // Standbys do not let anybody listen.
    config.target_session_attrs(TargetSessionAttrs::ReadWrite).application_name("transom listen");
    config.connect_timeout(PATIENCE);
    let sql = format!("LISTEN \"{}\"", channel.replace('"', "\"\""));
    let mut wait = RETRY_FIRST;
    loop {
        let mut heard = Hearing { wishes: &wishes, state: State::Deaf };
        let Err(reason) = attend(&config, &sql, &mut heard).await;
        if heard.state == State::Listening {
            wait = RETRY_FIRST;
        }
        tracing::warn!(%reason, channel, again_in = ?wait, "not listening; changes of the schema go unnoticed meanwhile");
        sleep(wait).await;
        wait = (wait * 2).min(RETRY_LAST);
    }
}

/// What comes of a connection.
struct Hearing<'w> {
    wishes: &'w Wishes,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Deaf,
    Listening,
}

/// Listens until the connection ends or does not answer; says why.
async fn attend(config: &Config, sql: &str, hearing: &mut Hearing<'_>) -> Result<Infallible, String> {
    let connected = timeout(PATIENCE, config.connect(NoTls)).await.map_err(|_| silent())?;
    let (client, mut connection) = connected.map_err(|error| describe(&error))?;
    let (began, mut begins) = tokio::sync::oneshot::channel();
    let mut conversation = pin!(converse(&client, sql, began));
    loop {
        tokio::select! {
            payload = next_payload(&mut connection) => hear(&payload?, hearing.wishes),
            Ok(()) = &mut begins, if hearing.state == State::Deaf => {
                hearing.state = State::Listening;
                // Whatever changed while nobody listened was not heard of.
                hearing.wishes.wish();
            }
            end = &mut conversation => return end,
        }
    }
}

/// Begins to listen, and asks for signs of life.
async fn converse(client: &Client, sql: &str, began: tokio::sync::oneshot::Sender<()>) -> Result<Infallible, String> {
    let answered = async |sql: &str| match timeout(PATIENCE, client.batch_execute(sql)).await {
        Ok(answer) => answer.map_err(|error| describe(&error)),
        Err(_) => Err(silent()),
    };
    answered(sql).await?;
    let _heard = began.send(());
    loop {
        sleep(ASK_EVERY).await;
        answered("").await?;
    }
}

/// The payload of the next notification.
async fn next_payload(connection: &mut Connection<Socket, tls::NoTlsStream>) -> Result<String, String> {
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(notification))) => return Ok(notification.payload().to_owned()),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(describe(&error)),
            None => return Err("the connection was closed".to_owned()),
        }
    }
}

/// The payloads that PostgREST knows; it ignores others.
fn hear(payload: &str, wishes: &Wishes) {
    match payload {
        "" | "reload schema" => wishes.wish(),
        "reload config" => settings_stay(),
        _ => tracing::debug!(payload, "a notification that means nothing here"),
    }
}

/// Somebody expects PostgREST's second kind of reload.
pub(crate) fn settings_stay() {
    tracing::warn!("settings are read at the start only: restart the node to change them");
}

fn silent() -> String {
    format!("no answer within {PATIENCE:?}")
}
