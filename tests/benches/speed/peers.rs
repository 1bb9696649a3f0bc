//! What else answers from memory, each configured to be as fast as it can be.

mod traffic_server;

use std::path::Path;

use transom_tests::bench::Server;
use transom_tests::{Folder, free_port, unprivileged};

use super::bare;
use super::server::is_installed;

/// The folder of Debian's that is memory.
const MEMORY: &str = "/dev/shm";

/// Programs, and the packages that bring them.
const NEEDS: [(&str, &str); 7] = [
    ("wrk", "wrk"),
    ("h2load", "nghttp2-client"),
    ("nginx", "nginx-light"),
    ("varnishd", "varnish"),
    ("haproxy", "haproxy"),
    ("traffic_server", "trafficserver"),
    ("redis-benchmark", "redis-tools"),
];

/// The packages that are missing.
pub(super) fn missing() -> Vec<&'static str> {
    NEEDS.iter().filter(|(program, _)| !is_installed(program)).map(|(_, package)| *package).collect()
}

/// A server that may be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// hyper alone: the ceiling
    Hyper,
    /// nginx that has the answer in its configuration: another ceiling
    NginxReturn,
    NginxCache,
    Varnish,
    HaProxy,
    TrafficServer,
}

/// What they need to know.
pub(super) struct Setting<'s> {
    /// the answer that is expected, as [`bare::written`]
    pub(super) answer: &'s [u8],
    /// the port of what the caches have behind them
    pub(super) origin: u16,
}

impl Peer {
    /// Starts it; `None` if it is not installed.
    pub(super) async fn start(self, setting: &Setting<'_>) -> Option<Server> {
        let port = free_port();
        match self {
            Self::Hyper => Some(hyper("hyper alone", setting.answer).await),
            Self::NginxReturn => nginx("nginx `return`", port, &returning(setting.answer)).await,
            Self::NginxCache => nginx("nginx `proxy_cache`", port, &caching(setting.origin)).await,
            Self::Varnish => varnish(port, setting.origin).await,
            Self::HaProxy => haproxy(port, setting.origin).await,
            Self::TrafficServer => traffic_server::start(port, setting.origin).await,
        }
    }
}

/// hyper alone, with this answer.
pub(super) async fn hyper(name: &'static str, answer: &[u8]) -> Server {
    let (port, folder) = (free_port(), Folder::new("hyper"));
    let file = folder.write("answer", answer);
    Server::start(name, port, bare::command(port, &file), folder).await
}

async fn nginx(name: &'static str, port: u16, location: &str) -> Option<Server> {
    if !is_installed("nginx") {
        return None;
    }
    let folder = Folder::within(Path::new(MEMORY), "nginx");
    let path = folder.path().display().to_string();
    let config = format!(
        "daemon off; worker_processes 1; pid {path}/nginx.pid; error_log stderr crit;
         events {{ worker_connections 4096; }}
         http {{
             access_log off; sendfile off; tcp_nodelay on; keepalive_requests 1000000000;
             client_body_temp_path {path}/body; proxy_temp_path {path}/proxy; fastcgi_temp_path {path}/fastcgi;
             uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;
             proxy_cache_path {path}/cache levels=1:2 keys_zone=all:64m inactive=1h use_temp_path=off;
             server {{ listen 127.0.0.1:{port}; location / {{ {location} }} }}
         }}"
    );
    let config = folder.write("nginx.conf", config);
    let mut command = unprivileged("nginx");
    command.arg("-e").arg("stderr").arg("-c").arg(config);
    Some(Server::start(name, port, command, folder).await)
}

/// nginx that keeps each answer of this origin for so long, and says by `X-Cache` where an answer came from.
pub(super) async fn nginx_with_lifetime(origin: u16, lifetime: &str) -> Option<Server> {
    let location = format!(
        "proxy_pass http://127.0.0.1:{origin}; proxy_cache all; proxy_cache_valid 200 {lifetime};
         add_header X-Cache $upstream_cache_status;"
    );
    nginx("nginx", free_port(), &location).await
}

fn caching(origin: u16) -> String {
    format!("proxy_pass http://127.0.0.1:{origin}; proxy_cache all; proxy_cache_valid 200 1h;")
}

/// The answer as a part of nginx' configuration.
fn returning(answer: &[u8]) -> String {
    let answer = String::from_utf8_lossy(answer);
    let (head, body) = answer.split_once("\n\n").expect("an empty line ends the head");
    let mut lines = head.lines();
    let status = lines.next().expect("a status");
    let headers = lines.filter_map(|line| line.split_once(": ")).filter(|(name, _)| *name != "content-type");
    let headers: String = headers.map(|(name, value)| format!("add_header {name} '{value}'; ")).collect();
    format!("default_type 'application/json; charset=utf-8'; {headers} return {status} '{body}';")
}

async fn varnish(port: u16, origin: u16) -> Option<Server> {
    if !is_installed("varnishd") {
        return None;
    }
    let folder = Folder::within(Path::new(MEMORY), "varnish");
    // It takes no answer with the `Content-Range` of PostgREST, whose unit is not bytes. So it sends one that it made itself.
    let vcl = format!(
        "vcl 4.1; backend default {{ .host = \"127.0.0.1\"; .port = \"{origin}\"; }}
         sub vcl_backend_response {{ unset beresp.http.content-range; }}
         sub vcl_deliver {{ set resp.http.content-range = \"0-0/*\"; }}"
    );
    let vcl = folder.write("default.vcl", vcl);
    let mut command = unprivileged("varnishd");
    command.args(["-F", "-j", "none", "-s", "malloc,256m", "-a", &format!("127.0.0.1:{port}")]);
    command.arg("-f").arg(vcl).arg("-n").arg(folder.path().join("work"));
    Some(Server::start("Varnish", port, command, folder).await)
}

async fn haproxy(port: u16, origin: u16) -> Option<Server> {
    if !is_installed("haproxy") {
        return None;
    }
    let folder = Folder::new("haproxy");
    let config = format!(
        "global\n  nbthread 1\n  maxconn 4096\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         cache all\n  total-max-size 256\n  max-object-size 100000\n  max-age 3600\n\
         frontend front\n  bind 127.0.0.1:{port}\n  http-request cache-use all\n  http-response cache-store all\n  \
         default_backend back\n\
         backend back\n  server origin 127.0.0.1:{origin}\n"
    );
    let config = folder.write("haproxy.cfg", config);
    let mut command = unprivileged("haproxy");
    command.arg("-db").arg("-f").arg(config);
    Some(Server::start("HAProxy `cache`", port, command, folder).await)
}
