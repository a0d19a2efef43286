//! Live Python processes with `channels_redis`.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{
    instance::Redis,
    world::{Layer, counted},
};
use crate::support::{skip, soon};

/// The Pythons of the environment, and the version of `channels_redis` that each has.
pub async fn pythons() -> Vec<(PathBuf, String)> {
    let named = std::env::var("CHATFERRY_TEST_CHANNELS").unwrap_or_default();
    let mut pythons = Vec::new();
    for python in named.split(':').filter(|python| !python.is_empty()) {
        let script = "from importlib.metadata import version; print(version('channels_redis'))";
        let output = Command::new(python)
            .args(["-c", script])
            .output()
            .await
            .unwrap();
        let version = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        assert!(!version.is_empty(), "{python} has no channels_redis");
        pythons.push((PathBuf::from(python), version));
    }
    if pythons.is_empty() {
        skip("no Python with channels_redis");
    }
    pythons
}

/// A Python and a layer of ours on the same servers.
pub struct Pair {
    pub servers: Vec<Redis>,
    pub peer: Peer,
    pub layer: Layer,
}

impl Pair {
    /// With these settings of theirs and of ours; `None` if there is no Redis here.
    pub async fn start(
        python: &Path,
        kind: &str,
        hosts: usize,
        theirs: Value,
        ours: &[(&str, &str)],
    ) -> Option<Self> {
        let servers = Redis::several(hosts).await?;
        // The same words for both sides.
        let backend = match kind {
            "core" => "redis",
            _ => "redis_pubsub",
        };
        let mut settings = vec![("layer.backend", backend)];
        settings.extend(ours);
        Some(Pair {
            peer: Peer::start(python, kind, &servers, theirs),
            layer: Layer::on(&servers, &settings).await,
            servers,
        })
    }

    /// One with each Python on the core layer of one server, ours with these settings.
    pub async fn each(ours: &[(&str, &str)]) -> Vec<Self> {
        let mut pairs = Vec::new();
        for (python, _) in pythons().await {
            pairs.extend(Pair::start(&python, "core", 1, json!({}), ours).await);
        }
        pairs
    }
}

/// One process, ended with the test.
pub struct Peer {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Peer {
    /// A process whose layer (`core` or `pubsub`) is on these servers, with more settings.
    pub fn start(python: &Path, kind: &str, servers: &[Redis], settings: Value) -> Self {
        let mut settings = settings;
        settings["hosts"] = servers.iter().map(Redis::url).collect();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/redis/peer.py");
        let mut process = Command::new(python)
            .args([script, kind, &settings.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        Peer {
            input: process.stdin.take().unwrap(),
            output,
            _process: process,
        }
    }

    /// What came of an order: the answer, or the name of the exception.
    pub async fn ask(&mut self, order: Value) -> Result<Value, String> {
        let line = format!("{order}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
        let answer = soon("Python's answer", self.output.next_line())
            .await
            .unwrap();
        let answer: Value = serde_json::from_str(&answer.expect("Python lives")).unwrap();
        match answer.get("error") {
            Some(error) => Err(error.as_str().unwrap().to_owned()),
            None => Ok(answer["ok"].clone()),
        }
    }

    pub async fn done(&mut self, order: Value) {
        self.ask(order.clone())
            .await
            .unwrap_or_else(|error| panic!("{order}: {error}"));
    }

    /// A consumer that is a member of these groups; the name of its channel.
    pub async fn consumer(&mut self, groups: &[&str]) -> String {
        let channel = self.ask(json!({"do": "new_channel"})).await.unwrap();
        self.done(json!({"do": "consume", "channel": channel}))
            .await;
        for group in groups {
            self.done(json!({"do": "group_add", "group": group, "channel": channel}))
                .await;
        }
        channel.as_str().unwrap().to_owned()
    }

    /// What that consumer is told next.
    pub async fn heard(&mut self, channel: &str) -> Value {
        self.ask(json!({"do": "heard", "channel": channel, "seconds": 100}))
            .await
            .unwrap()
    }

    /// Sends that consumer a last message, which must be what it is told next.
    pub async fn was_told_no_more(&mut self, channel: &str, sender: &Layer) {
        sender.layer.send(channel, counted(999)).await.unwrap();
        assert_eq!(self.heard(channel).await["n"], 999);
    }

    pub async fn group_send(&mut self, group: &str, message: Value) {
        self.done(json!({"do": "group_send", "group": group, "messages": [message]}))
            .await;
    }

    pub async fn send(&mut self, channel: &str, message: Value) -> Result<Value, String> {
        self.ask(json!({"do": "send", "messages": [[channel, message]]}))
            .await
    }
}
