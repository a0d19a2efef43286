//! The collector of a test, in Python: it reads what it gets by OpenTelemetry's own classes.

use serde_json::Value;

use crate::support::{script::Script, skip, soon};

pub struct Collector {
    pub url: String,
    /// What was posted so far.
    pub posts: Vec<Value>,
    script: Script,
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
        let file = "tests/it/telemetry/traces/collector.py";
        let mut script = Script::start(python, file, &[&port.to_string()]);
        let port = script.line().await;
        Some(Collector {
            url: format!("http://127.0.0.1:{port}"),
            posts: Vec::new(),
            script,
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
        let line = soon(what, self.script.line()).await;
        self.posts.push(serde_json::from_str(&line).unwrap());
    }
}
