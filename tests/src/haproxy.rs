//! HAProxy with a config from the repository and private ports.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::process::{Process, Signal, unprivileged};
use crate::{Folder, eventually, free_port, repository};

const READY_WITHIN: Duration = Duration::from_secs(20);

/// An HAProxy to be started. The shipped configs name ports and servers as `"${VARIABLE}"`.
#[derive(Debug)]
pub struct HaProxyBuilder {
    config: PathBuf,
    variables: Vec<(String, String)>,
    ports: Vec<(String, u16)>,
}

impl HaProxyBuilder {
    /// Gives a variable of the config its value.
    #[must_use]
    pub fn set(mut self, variable: &str, value: impl Display) -> Self {
        self.variables.push((variable.to_owned(), value.to_string()));
        self
    }

    /// Gives a variable a private port, on which HAProxy will listen: [`HaProxy::port`] tells which.
    #[must_use]
    pub fn listen(mut self, variable: &str) -> Self {
        let port = free_port();
        self.ports.push((variable.to_owned(), port));
        self.set(variable, port)
    }

    /// Starts it and waits until it accepts connections on each of its ports.
    pub async fn start(self) -> HaProxy {
        let folder = Folder::new("haproxy");
        let config = self.copy(&folder);
        let mut command = unprivileged("haproxy");
        command.envs(self.variables).arg("-db").arg("-f").arg(config);
        let mut process = Process::start("haproxy", command, &folder, Signal::Kill);
        for (_, port) in &self.ports {
            eventually("HAProxy listens", READY_WITHIN, || {
                process.expect_running();
                TcpStream::connect(("127.0.0.1", *port))
            })
            .await;
        }
        HaProxy { process, ports: self.ports, _folder: folder }
    }

    /// Lets HAProxy check the config.
    ///
    /// # Panics
    /// With HAProxy's words if it warns or refuses.
    pub fn check(self) {
        let folder = Folder::new("haproxy");
        let config = self.copy(&folder);
        let mut command: Command = unprivileged("haproxy");
        // -dW: a warning is a failure too.
        let output: Output = command
            .envs(self.variables)
            .arg("-c")
            .arg("-dW")
            .arg("-f")
            .arg(config)
            .output()
            .expect("haproxy is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", self.config.display());
    }

    /// The user for servers may not be able to look into the repository.
    fn copy(&self, folder: &Folder) -> PathBuf {
        let text = std::fs::read(repository().join(&self.config)).expect("the config is in the repository");
        folder.write("haproxy.cfg", text)
    }
}

/// A running HAProxy.
#[derive(Debug)]
pub struct HaProxy {
    process: Process,
    ports: Vec<(String, u16)>,
    _folder: Folder,
}

impl HaProxy {
    /// A config by its path in the repository.
    #[must_use]
    pub fn config(path: &str) -> HaProxyBuilder {
        HaProxyBuilder { config: PathBuf::from(path), variables: Vec::new(), ports: Vec::new() }.set("MAXCONN", 200)
    }

    /// The private port behind a variable.
    ///
    /// # Panics
    /// If the variable was not named by [`HaProxyBuilder::listen`].
    #[must_use]
    pub fn port(&self, variable: &str) -> u16 {
        self.ports.iter().find(|(name, _)| name == variable).expect("the variable was named by `listen`").1
    }

    /// Everything it printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}
