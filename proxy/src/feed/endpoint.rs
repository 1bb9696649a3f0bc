//! Where the feed connects. Both of its kinds of connection must reach the same server, so each host of `database_url`
//! is an endpoint of its own.

use std::{future::poll_fn, sync::Arc, time::Duration};

use pgwire_replication::ReplicationConfig;
use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, config::Host};

use crate::origin;

/// A host that does not even refuse is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the server waits for a sign of life from the leader before it gives the slot to another node. A leader that
/// was killed frees it at once; this is for one behind a broken network.
const SENDER_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the leader says what it announced.
const STATUS_INTERVAL: Duration = Duration::from_millis(250);
/// When it says so although nothing is new. Later than half of [`SENDER_TIMEOUT`], when the server asks whether it lives: that
/// is how a leader knows a server that reads through a long log, in which nothing is for it, from one that is gone. A server
/// does not ask whoever speaks up by himself.
const SILENT_FOR: Duration = Duration::from_millis(1_500);
/// Messages of the stream that wait for the leader at most; behind them waits the server.
const EVENTS_MAX: usize = 1_024;

/// One server.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    config: Config,
    host: String,
    port: u16,
    user: String,
    database: String,
}

impl Endpoint {
    /// Each host of the configuration, in its order.
    pub(super) fn all(config: &Config) -> Vec<Self> {
        let user = config.get_user().unwrap_or("postgres").to_owned();
        let database = config.get_dbname().unwrap_or(&user).to_owned();
        let hosts: Vec<String> = match config.get_hosts() {
            [] => config.get_hostaddrs().iter().map(ToString::to_string).collect(),
            hosts => hosts.iter().map(host_text).collect(),
        };
        let port = |index: usize| match config.get_ports() {
            [] => 5432,
            [port] => *port,
            ports => ports.get(index).copied().unwrap_or(5432),
        };
        let endpoint = |(index, host): (usize, String)| Self {
            config: single(config, &host, port(index)),
            host,
            port: port(index),
            user: user.clone(),
            database: database.clone(),
        };
        hosts.into_iter().enumerate().map(endpoint).collect()
    }

    /// The name of the database.
    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// An ordinary session.
    pub(super) async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        origin::client(&self.config).await
    }

    /// An ordinary session, and what tells of the notifications that it gets. Several may be told as one.
    pub(super) async fn listening(&self) -> Result<(Client, Arc<Notify>), tokio_postgres::Error> {
        let (client, mut connection) = self.config.connect(NoTls).await?;
        let heard = Arc::new(Notify::new());
        let hears = heard.clone();
        // Ends with the client; its errors reach whoever waits for an answer.
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if matches!(message, AsyncMessage::Notification(_)) {
                    hears.notify_one();
                }
            }
        });
        Ok((client, heard))
    }

    /// A replication session on this slot.
    pub(super) fn replication(&self, slot: &str, publication: &str) -> ReplicationConfig {
        let password = String::from_utf8_lossy(self.config.get_password().unwrap_or_default()).into_owned();
        // The client knows a directory of sockets by its slash, as libpq does.
        ReplicationConfig::new(&self.host, &self.user, password, &self.database, slot, publication)
            .with_port(self.port)
            // Values are compared with what requests say, and those are in UTF-8.
            .with_options(format!("-c wal_sender_timeout={} -c client_encoding=UTF8", SENDER_TIMEOUT.as_millis()))
            .with_status_interval(STATUS_INTERVAL)
            .with_wakeup_interval(SILENT_FOR)
            .with_buffer_size(EVENTS_MAX)
            .with_application_name("transom feed")
    }
}

fn host_text(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.to_string_lossy().into_owned(),
    }
}

/// The same configuration with this host alone.
fn single(config: &Config, host: &str, port: u16) -> Config {
    let mut single = Config::new();
    single.host(host).port(port).application_name("transom feed").connect_timeout(CONNECT_TIMEOUT);
    if let Some(user) = config.get_user() {
        single.user(user);
    }
    if let Some(password) = config.get_password() {
        single.password(password);
    }
    if let Some(database) = config.get_dbname() {
        single.dbname(database);
    }
    if let Some(options) = config.get_options() {
        single.options(options);
    }
    single.target_session_attrs(config.get_target_session_attrs());
    single
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_is_an_endpoint_of_its_own() {
        let config = "postgres://app:secret@one:5433,two:5434/shop".parse().expect("a URL");
        let endpoints = Endpoint::all(&config);
        let places: Vec<_> = endpoints.iter().map(|one| (one.host.as_str(), one.port)).collect();
        assert_eq!(places, [("one", 5433), ("two", 5434)]);
        let replication = endpoints[1].replication("slot", "publication");
        assert_eq!((replication.host.as_str(), replication.port), ("two", 5434));
        assert_eq!((replication.user.as_str(), replication.password.as_str()), ("app", "secret"));
        assert_eq!((endpoints[0].database(), replication.database.as_str()), ("shop", "shop"));
        assert_eq!(endpoints[1].config.get_hosts().len(), 1);
    }

    #[test]
    fn a_directory_of_sockets_stays_one() {
        let config = "postgres://app@%2Fvar%2Frun%2Fpostgresql:5499/shop".parse().expect("a URL");
        let replication = Endpoint::all(&config)[0].replication("slot", "publication");
        assert!(replication.is_unix_socket(), "{replication:?}");
    }
}
