//! Prometheus, to find out whether the queries on the dashboards mean anything.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::process::{Process, Signal, unprivileged};
use crate::{Folder, Http, eventually, free_port};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running Prometheus that scrapes a few times a second.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    _folder: Folder,
    http: Http,
}

impl Prometheus {
    /// Starts one that scrapes these addresses (`host:port`, path `/metrics`) as the job `transom`.
    pub async fn start(targets: &[String]) -> Self {
        let folder = Folder::new("prometheus");
        let port = free_port();
        let list = targets.iter().map(|target| format!("'{target}'")).collect::<Vec<_>>().join(", ");
        let config = format!(
            "global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}\n\
             scrape_configs:\n  - job_name: transom\n    static_configs: [{{targets: [{list}]}}]\n"
        );
        let config = folder.write("prometheus.yml", config);
        let data = folder.subfolder("data");
        let mut command = unprivileged("prometheus");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", data.display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let mut process = Process::start("prometheus", command, &folder, Signal::Kill);
        let http = Http::new(format!("http://127.0.0.1:{port}"));
        eventually("Prometheus is ready", READY_WITHIN, || {
            process.expect_running();
            let request = http.get("/-/ready").try_send();
            async {
                let response = request.await.map_err(|error| error.to_string())?;
                if response.status == 200 { Ok(()) } else { Err(response.text()) }
            }
        })
        .await;
        Self { process, _folder: folder, http }
    }

    /// Asks an instant query and returns its samples: `[{"metric": {..}, "value": [time, "text"]}]`.
    ///
    /// # Errors
    /// What Prometheus said if it cannot parse or run the query.
    ///
    /// # Panics
    /// If Prometheus does not answer.
    pub async fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let body: String =
            format!("query={}", expression.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>());
        let request = self.http.request(Method::POST, "/api/v1/query").body(body);
        let answer = request.header("content-type", "application/x-www-form-urlencoded").send().await.json();
        match (answer["status"].as_str(), &answer["data"]["result"]) {
            (Some("success"), Value::Array(samples)) => Ok(samples.clone()),
            _ => Err(answer["error"].to_string()),
        }
    }

    /// Everything it printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}
