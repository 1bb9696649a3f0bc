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
    /// which of them is the master
    master: usize,
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
        Self { servers: [master, replica], master: 0, sentinel, port, _folder: folder }
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
        // Right after the start it may say that no replica is good enough yet.
        eventually("the sentinel begins the failover", READY_WITHIN, || {
            resp::command(self.port, &["SENTINEL", "FAILOVER", "pillar"])
        })
        .await;
        self.replica_leads().await;
    }

    /// Kills the master and waits until the Sentinel has made the replica the master.
    pub async fn crash_master(&mut self) {
        self.servers[self.master].kill();
        self.replica_leads().await;
    }

    /// From now on the replica hears nothing of what the master is told, and stays good enough to become the master for
    /// some seconds.
    ///
    /// # Panics
    /// If a server does not answer.
    pub async fn lag_replica(&self) {
        let [name, password] = FOLLOWER;
        let (master, replica) = (&self.servers[self.master], &self.servers[1 - self.master]);
        for (server, words) in [
            (master, &["ACL", "SETUSER", name, "off", &format!(">{password}"), "~*", "&*", "+@all"][..]),
            (replica, &["CONFIG", "SET", "masteruser", name, "masterauth", password][..]),
            (master, &["CLIENT", "KILL", "TYPE", "replica"][..]),
        ] {
            server.command(words).await.expect("both servers answer");
        }
    }

    /// Starts the server that was killed again, as the replica of the other one, and waits until it follows.
    ///
    /// # Panics
    /// If it does not.
    pub async fn revive(&mut self) {
        let leads = self.servers[self.master].port().to_string();
        let [name, password] = FOLLOWER;
        // The new master may have been told to log in where it followed, and everybody may follow again.
        let master = &self.servers[self.master];
        let allow = ["ACL", "SETUSER", name, "on", &format!(">{password}"), "~*", "&*", "+@all"];
        master.command(&allow).await.expect("the master answers");
        let replica = &mut self.servers[1 - self.master];
        replica.restart().await;
        replica.command(&["REPLICAOF", "127.0.0.1", &leads]).await.expect("the replica answers");
        self.replica_follows().await;
    }

    /// Waits until the replica has what the master has.
    pub async fn replica_follows(&self) {
        let replica = &self.servers[1 - self.master];
        eventually("the replica follows", READY_WITHIN, async || {
            let info = replica.command(&["INFO", "replication"]).await.ok()?.text()?;
            info.contains("master_link_status:up").then_some(())
        })
        .await;
    }

    async fn replica_leads(&mut self) {
        let replica = &self.servers[1 - self.master];
        eventually("the replica is master", READY_WITHIN, async || {
            replica.command(&["INFO", "replication"]).await.ok()?.text()?.contains("role:master").then_some(())
        })
        .await;
        self.master = 1 - self.master;
    }
}
