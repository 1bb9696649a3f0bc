//! Proxy nodes: in the test's own process, or as a child with a pid to send signals to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use transom::app;
use transom::config::{Config, Inputs, setting};

use crate::{Database, Folder, Http, Process, Redis, Signal, eventually, free_port};

/// A node being described. Without Redis it is L1 only.
#[derive(Debug, Clone)]
pub struct NodeBuilder {
    settings: BTreeMap<String, String>,
    toml: String,
}

/// A node in this process. Ends with the test's runtime, or in good order by [`drain`](Self::drain).
pub struct Node {
    node: app::Node,
    rest: Http,
    admin: Http,
}

/// A node as a child process.
#[derive(Debug)]
pub struct NodeProcess {
    process: Process,
    rest: Http,
    admin: Http,
    listen: u16,
    admin_listen: u16,
    _folder: Folder,
}

impl NodeBuilder {
    /// A node on this database, as the anonymous role of the sample, on free ports.
    #[must_use]
    pub fn on(database: &Database) -> Self {
        Self::at(database.url())
    }

    /// The same on the database with this URL.
    #[must_use]
    pub fn at(database_url: String) -> Self {
        let settings = [
            ("database_url", database_url),
            ("db_anon_role", "web_anon".to_owned()),
            ("listen", "127.0.0.1:0".to_owned()),
            ("admin_listen", "127.0.0.1:0".to_owned()),
            ("drain_notice", "0s".to_owned()),
            // Most suites are about something else, and a slot or a connection per test is dear.
            ("feed", "none".to_owned()),
            // Suites count queries.
            ("audit_share", "0".to_owned()),
            ("db_channel_enabled", "false".to_owned()),
            // A machine that stalls for a moment is no Redis that is away. Suites about outages set it.
            ("redis_timeout", "2s".to_owned()),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value)).into();
        Self { settings, toml: String::new() }
    }

    /// With this Redis as L2 and backplane.
    #[must_use]
    pub fn redis(self, redis: &Redis) -> Self {
        self.set("redis_url", redis.url())
    }

    /// With this setting.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.insert(name.to_owned(), value.into());
        self
    }

    /// Without this setting, so that its default counts.
    #[must_use]
    pub fn unset(mut self, name: &str) -> Self {
        self.settings.remove(name);
        self
    }

    /// With this text as its TOML file, for what only the file can say: overrides per table.
    #[must_use]
    pub fn toml(mut self, text: &str) -> Self {
        text.clone_into(&mut self.toml);
        self
    }

    /// The settings, as a node uses them.
    ///
    /// # Panics
    /// If they are wrong.
    #[must_use]
    pub fn config(&self) -> Config {
        let mut inputs = Inputs { file: Some(("test.toml".into(), self.toml.clone())), ..Inputs::default() };
        for (name, value) in &self.settings {
            let setting = setting(name).unwrap_or_else(|| panic!("there is no setting {name}"));
            inputs.command.insert(setting.name, value.clone());
        }
        Config::load(&inputs).unwrap_or_else(|errors| panic!("wrong settings: {errors}")).config
    }

    /// Starts it in this process; ready when this returns.
    ///
    /// # Panics
    /// If the settings are wrong, or it does not start.
    pub async fn start(&self) -> Node {
        let node =
            app::Node::start(self.config()).await.unwrap_or_else(|error| panic!("the node did not start: {error}"));
        let rest = Http::new(format!("http://{}/rest/v1", node.listen()));
        let admin = Http::new(format!("http://{}", node.admin_listen()));
        Node { node, rest, admin }
    }

    /// Starts it as a child process; ready when this returns.
    ///
    /// # Panics
    /// If it does not get ready.
    pub async fn start_process(&self) -> NodeProcess {
        let node = self.spawn_process();
        eventually("the node is ready", Duration::from_secs(60), async || {
            let answer = node.admin.get("/readyz").try_send().await.map_err(|error| error.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(node.process.log()) }
        })
        .await;
        node
    }

    /// Starts it as a child process, which may not get ready. It listens where the settings say, or on free ports if
    /// they name port 0.
    #[must_use]
    pub fn spawn_process(&self) -> NodeProcess {
        let port = |setting: &str| match self.settings[setting].rsplit(':').next() {
            None | Some("0") => free_port(),
            Some(port) => port.parse().expect("an address ends with a port"),
        };
        let (listen, admin_listen) = (port("listen"), port("admin_listen"));
        let folder = Folder::new("node");
        let mut command = Command::new(binary());
        command.arg("serve");
        if !self.toml.is_empty() {
            let file = folder.path().join("transom.toml");
            std::fs::write(&file, &self.toml).expect("the folder is ours");
            command.env(Config::FILE_VARIABLE, file);
        }
        let ports = [("listen", listen), ("admin_listen", admin_listen)];
        for (name, value) in &self.settings {
            command.env(variable(name), value);
        }
        for (name, port) in ports {
            command.env(variable(name), format!("127.0.0.1:{port}"));
        }
        let process = Process::start("transom", command, &folder, Signal::Kill);
        let admin = Http::new(format!("http://127.0.0.1:{admin_listen}"));
        let rest = Http::new(format!("http://127.0.0.1:{listen}/rest/v1"));
        NodeProcess { process, rest, admin, listen, admin_listen, _folder: folder }
    }
}

impl Node {
    /// The REST API.
    #[must_use]
    pub fn rest(&self) -> &Http {
        &self.rest
    }

    /// The admin listener.
    #[must_use]
    pub fn admin(&self) -> &Http {
        &self.admin
    }

    /// `host:port` of the admin listener, as Prometheus wants it.
    #[must_use]
    pub fn admin_address(&self) -> String {
        self.node.admin_listen().to_string()
    }

    /// The port where services connect.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.node.listen().port()
    }

    /// The value of one series, by its name and labels as `/metrics` prints them; 0 if it is not there.
    pub async fn metric(&self, series: &str) -> f64 {
        metric(&self.admin, series).await
    }

    /// Waits until the node can prove its coherence, or until it cannot.
    pub async fn until_lease(&self, held: Lease) {
        until_lease(&self.admin, held).await;
    }

    /// Stops it in good order.
    pub async fn drain(self) {
        self.node.drain(Duration::ZERO).await;
    }
}

/// Whether a node can prove its coherence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// it can
    Held,
    /// it cannot
    Lapsed,
}

impl NodeProcess {
    /// The REST API.
    #[must_use]
    pub fn rest(&self) -> &Http {
        &self.rest
    }

    /// The admin listener.
    #[must_use]
    pub fn admin(&self) -> &Http {
        &self.admin
    }

    /// The port where services connect.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.listen
    }

    /// The port where operators connect.
    #[must_use]
    pub fn admin_port(&self) -> u16 {
        self.admin_listen
    }

    /// As [`Node::metric`].
    pub async fn metric(&self, series: &str) -> f64 {
        metric(&self.admin, series).await
    }

    /// As [`Node::until_lease`].
    pub async fn until_lease(&self, held: Lease) {
        until_lease(&self.admin, held).await;
    }

    /// Everything it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The process itself.
    #[must_use]
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// The binary that cargo built beside this test.
///
/// # Panics
/// If there is none: `cargo build -p transom` makes it.
#[must_use]
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("tests are built below target/<profile>/deps");
    let binary = folder.join("transom");
    assert!(binary.exists(), "{} is missing: cargo build -p transom", binary.display());
    binary
}

async fn metric(admin: &Http, series: &str) -> f64 {
    value_of(series, &admin.get("/metrics").send().await.text())
}

/// The value of a series in what `/metrics` prints; 0 if it is not there.
pub(crate) fn value_of(series: &str, text: &str) -> f64 {
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or(0.0)
}

async fn until_lease(admin: &Http, held: Lease) {
    let what = format!("the lease is {held:?}");
    eventually(&what, Duration::from_secs(10), async || {
        (metric(admin, "transom_lease_held").await > 0.0) == (held == Lease::Held)
    })
    .await;
}

fn variable(setting: &str) -> String {
    format!("TRANSOM_{}", setting.to_uppercase())
}
