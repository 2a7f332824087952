//! A real Prometheus that scrapes an installation, with the rules of this project.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::http;
use crate::process::{self, Process};
use crate::wait::until;

/// What is scraped: a job and the address of one process of it.
#[derive(Clone, Debug)]
pub struct Target {
    /// The name of the job, as in configs/prometheus/prometheus.yml.
    pub job: &'static str,
    /// `host:port`.
    pub address: String,
}

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    address: String,
    client: reqwest::Client,
}

impl Prometheus {
    /// Starts the one of this machine (Debian package prometheus), on data of its own in this folder.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start(folder: &Path, targets: &[Target]) -> Self {
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/prometheus");
        let rules = rules.canonicalize().expect("the rules are there");
        let mut config = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
             rule_files: [{0}/recording.yml, {0}/alerts.yml]\nscrape_configs:\n",
            rules.display()
        );
        for Target { job, address } in targets {
            config += &format!("  - job_name: {job}\n    static_configs: [{{ targets: [\"{address}\"] }}]\n");
        }
        let file = folder.join("prometheus.yml");
        fs::write(&file, config).expect("a file can be written");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = port.expect("a free port").to_string();
        let mut command = process::command(Path::new("prometheus"));
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("prometheus").display()
            ))
            .arg(format!("--web.listen-address={address}"));
        let process = Process::start(command, folder.join("prometheus.log"));
        let prometheus = Self {
            process,
            address: format!("http://{address}"),
            client: http::client(),
        };
        until("Prometheus is ready", Duration::from_secs(60), async || {
            let log = || {
                format!(
                    "(Debian package prometheus) it says:\n{}",
                    prometheus.process.log()
                )
            };
            let asked = prometheus.client.get(format!("{}/-/ready", prometheus.address));
            let answer = asked.send().await.map_err(|_| log())?;
            if answer.status().is_success() {
                Ok(())
            } else {
                Err(log())
            }
        })
        .await;
        prometheus
    }

    /// What its API answers under a path such as `rules`, or what it says against the question.
    ///
    /// # Errors
    /// The error that Prometheus names.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let asked = self
            .client
            .post(format!("{}/api/v1/{path}", self.address))
            .form(parameters);
        let asked = if parameters.is_empty() {
            self.client.get(format!("{}/api/v1/{path}", self.address))
        } else {
            asked
        };
        let answer = asked.send().await.expect("Prometheus answers");
        let body: Value = answer.json().await.expect("Prometheus answers JSON");
        match body["status"].as_str() {
            Some("success") => Ok(body["data"].clone()),
            _ => Err(body["error"].to_string()),
        }
    }

    /// The series that a query answers for the last minute, second by second.
    ///
    /// # Errors
    /// The error that Prometheus names.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn last_minute(&self, query: &str) -> Result<Vec<Value>, String> {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = since_epoch.expect("it is later than 1970").as_secs();
        let (start, end) = ((now - 60).to_string(), now.to_string());
        let parameters = [
            ("query", query),
            ("start", start.as_str()),
            ("end", end.as_str()),
            ("step", "1"),
        ];
        let data = self.ask("query_range", &parameters).await?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// Ends it.
    pub fn end(self) {
        self.process.kill9();
    }
}
