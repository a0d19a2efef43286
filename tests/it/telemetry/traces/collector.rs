//! The collector of a test, in Python: it reads what it gets by OpenTelemetry's own classes.

use std::{path::Path, process::Stdio};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::support::{skip, soon};

pub struct Collector {
    pub url: String,
    /// What was posted so far.
    pub posts: Vec<Value>,
    lines: Lines<BufReader<ChildStdout>>,
    #[expect(dead_code, reason = "killed with the test")]
    child: Child,
}

impl Collector {
    /// On any port; `None` without a Python that has the classes.
    pub async fn start() -> Option<Self> {
        Collector::on(0).await
    }

    pub async fn on(port: u16) -> Option<Self> {
        let Some(python) = std::env::var_os("CHATFERRY_TEST_COLLECTOR") else {
            skip("no Python with opentelemetry-proto: CHATFERRY_TEST_COLLECTOR is not set");
            return None;
        };
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/telemetry/traces/collector.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(port.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = soon("the collector's port", lines.next_line()).await;
        let port = port.unwrap().expect("the collector listens");
        Some(Collector {
            url: format!("http://127.0.0.1:{port}"),
            posts: Vec::new(),
            lines,
            child,
        })
    }

    /// Every span so far.
    pub fn spans(&self) -> Vec<Value> {
        let posts = self.posts.iter();
        posts
            .flat_map(|post| post["spans"].as_array().unwrap().clone())
            .collect()
    }

    /// Waits for the span of this kind and name, which only one may have.
    pub async fn span(&mut self, kind: &str, name: &str) -> Value {
        loop {
            let mut found: Vec<_> = self.spans();
            found.retain(|span| span["kind"] == kind && span["name"] == name);
            assert!(found.len() < 2, "{found:?}");
            if let Some(span) = found.pop() {
                return span;
            }
            self.more(name).await;
        }
    }

    /// Waits for another post.
    pub async fn more(&mut self, what: &str) {
        let line = soon(what, self.lines.next_line()).await.unwrap();
        let line = line.expect("the collector lives");
        self.posts.push(serde_json::from_str(&line).unwrap());
    }
}
