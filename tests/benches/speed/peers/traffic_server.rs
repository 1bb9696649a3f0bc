//! Apache Traffic Server, which wants a folder for each kind of file.

use std::path::Path;

use transom_tests::bench::Server;
use transom_tests::{Folder, unprivileged};

use super::super::server::is_installed;
use super::MEMORY;

pub(super) async fn start(port: u16, origin: u16) -> Option<Server> {
    if !is_installed("traffic_server") {
        return None;
    }
    let folder = Folder::within(Path::new(MEMORY), "traffic");
    let [etc, run, log, cache] = ["etc", "run", "log", "cache"].map(|name| folder.subfolder(name));
    let layout = format!(
        "prefix: /usr\nexec_prefix: /usr\nbindir: /usr/bin\nsbindir: /usr/sbin\nlibdir: /usr/lib/trafficserver\n\
         libexecdir: /usr/lib/trafficserver/modules\ndatadir: {0}\nincludedir: /usr/include\nsysconfdir: {0}\n\
         localstatedir: {1}\nruntimedir: {1}\nlogdir: {2}\ncachedir: {3}\n",
        etc.display(),
        run.display(),
        log.display(),
        cache.display()
    );
    let layout = folder.write("runroot.yaml", layout);
    let records = format!(
        "CONFIG proxy.config.http.server_ports STRING {port}:ip-in=127.0.0.1\n\
         CONFIG proxy.config.admin.user_id STRING #-1\n\
         CONFIG proxy.config.exec_thread.autoconfig INT 0\n\
         CONFIG proxy.config.exec_thread.limit INT 1\n\
         CONFIG proxy.config.log.logging_enabled INT 0\n\
         CONFIG proxy.config.url_remap.remap_required INT 1\n\
         CONFIG proxy.config.http.insert_response_via_str INT 0\n\
         CONFIG proxy.config.cache.ram_cache.size INT 268435456\n\
         CONFIG proxy.config.http.cache.required_headers INT 0\n"
    );
    folder.write("etc/records.config", records);
    folder.write("etc/remap.config", format!("map / http://127.0.0.1:{origin}/\n"));
    folder.write("etc/storage.config", format!("{} 256M\n", cache.display()));
    folder.write(
        "etc/ip_allow.yaml",
        "ip_allow:\n  - apply: in\n    ip_addrs: 127.0.0.1\n    action: allow\n    methods: ALL\n",
    );
    let mut command = unprivileged("traffic_server");
    command.env("TS_RUNROOT", &layout).arg(format!("--run-root={}", layout.display()));
    Some(Server::start("Traffic Server", port, command, folder).await)
}
