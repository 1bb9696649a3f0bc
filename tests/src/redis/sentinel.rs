//! A master, a replica, and a Sentinel that knows them as `pillar`.

use std::time::Duration;

use super::Redis;
use crate::process::{Process, Signal, unprivileged};
use crate::{Folder, Reply, eventually, free_port, resp};

const READY_WITHIN: Duration = Duration::from_secs(40);

/// As whom a replica follows its master, so that the master can refuse it alone.
const FOLLOWER: [&str; 2] = ["follower", "secret"];

/// A pair of servers under one Sentinel.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: [Redis; 2],
    sentinel: Process,
    port: u16,
    _folder: Folder,
}

impl RedisSentinel {
    /// Starts all three and waits until the Sentinel knows the replica.
    ///
    /// # Panics
    /// If they do not find each other.
    pub async fn start() -> Self {
        let master = Redis::start().await;
        let replica = Redis::builder().set("replicaof", format!("127.0.0.1 {}", master.port())).start().await;
        let (folder, port) = (Folder::new("sentinel"), free_port());
        // The Sentinel rewrites its own configuration, so it needs a folder of its own.
        let home = folder.subfolder("home");
        let configuration = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor pillar 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds pillar 1000\nsentinel failover-timeout pillar 3000\n",
            home.display(),
            master.port()
        );
        let file = folder.write("sentinel.conf", configuration);
        crate::process::give_to_server_user(folder.path());
        // What the program `redis-sentinel` is, under the name that every package of Redis has.
        let mut command = unprivileged("redis-server");
        command.arg(file).arg("--sentinel");
        let mut sentinel = Process::start("sentinel", command, &folder, Signal::Kill);
        eventually("the sentinel knows the replica", READY_WITHIN, || {
            sentinel.expect_running();
            async move {
                let Reply::Array(replicas) = resp::command(port, &["SENTINEL", "REPLICAS", "pillar"]).await.ok()?
                else {
                    return None;
                };
                (replicas.len() == 1).then_some(())
            }
        })
        .await;
        eventually("the replica follows", READY_WITHIN, async || {
            let info = replica.command(&["INFO", "replication"]).await.ok()?.text()?;
            info.contains("master_link_status:up").then_some(())
        })
        .await;
        Self { servers: [master, replica], sentinel, port, _folder: folder }
    }

    /// For `REDIS_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis-sentinel://127.0.0.1:{}?sentinelServiceName=pillar", self.port)
    }

    /// Lets the Sentinel make the replica the master, and waits until it is.
    ///
    /// # Panics
    /// If the Sentinel refuses for too long.
    pub async fn fail_over(&mut self) {
        self.sentinel.expect_running();
        let master = self.master().await;
        // Right after the start it may say that no replica is good enough yet.
        eventually("the sentinel begins the failover", READY_WITHIN, || {
            resp::command(self.port, &["SENTINEL", "FAILOVER", "pillar"])
        })
        .await;
        self.replica_leads(1 - master).await;
    }

    /// Kills the master and waits until the Sentinel has made the replica the master.
    pub async fn crash_master(&mut self) {
        let master = self.master().await;
        self.servers[master].kill();
        self.replica_leads(1 - master).await;
    }

    /// From now on the replica hears nothing of what the master is told, and stays good enough to become the master for
    /// some seconds.
    ///
    /// # Panics
    /// If a server does not answer.
    pub async fn lag_replica(&self) {
        let [name, password] = FOLLOWER;
        let at = self.master().await;
        let (master, replica) = (&self.servers[at], &self.servers[1 - at]);
        for (server, words) in [
            (master, &["ACL", "SETUSER", name, "off", &format!(">{password}"), "~*", "&*", "+@all"][..]),
            (replica, &["CONFIG", "SET", "masteruser", name, "masterauth", password][..]),
            (master, &["CLIENT", "KILL", "TYPE", "replica"][..]),
        ] {
            server.command(words).await.expect("both servers answer");
        }
    }

    /// Starts the server that was killed again, and waits until it follows the other one.
    ///
    /// # Panics
    /// If it does not.
    pub async fn revive(&mut self) {
        let killed = 1 - self.master().await;
        self.servers[killed].restart().await;
        // The Sentinel would see to it after ten seconds; and on a busy machine it may change its mind meanwhile.
        eventually("the replica follows", READY_WITHIN, async || {
            let master = self.master().await;
            let (leads, replica) = (self.servers[master].port().to_string(), &self.servers[1 - master]);
            let [name, password] = FOLLOWER;
            let allow = ["ACL", "SETUSER", name, "on", &format!(">{password}"), "~*", "&*", "+@all"];
            self.servers[master].command(&allow).await.ok()?;
            let info = replica.command(&["INFO", "replication"]).await.ok()?.text()?;
            if !info.contains(&format!("master_port:{leads}\r")) {
                replica.command(&["REPLICAOF", "127.0.0.1", &leads]).await.ok()?;
            }
            info.contains("master_link_status:up").then_some(())
        })
        .await;
    }

    /// Which server the Sentinel takes for the master.
    async fn master(&self) -> usize {
        eventually("the sentinel knows the master", READY_WITHIN, async || {
            let asked = resp::command(self.port, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "pillar"]).await.ok()?;
            let Reply::Array(address) = asked else { return None };
            let port: u16 = address.get(1)?.text()?.parse().ok()?;
            self.servers.iter().position(|server| server.port() == port)
        })
        .await
    }

    async fn replica_leads(&self, number: usize) {
        let replica = &self.servers[number];
        eventually("the replica is master", READY_WITHIN, async || {
            replica.command(&["INFO", "replication"]).await.ok()?.text()?.contains("role:master").then_some(())
        })
        .await;
        eventually("the sentinel says so", READY_WITHIN, async || self.master().await == number).await;
    }
}
