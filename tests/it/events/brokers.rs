//! The sinks of brokers, with consumers as others write them: Python's usual clients.

use std::{
    collections::HashMap,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::support::{Directory, Port, Server, script::Script, skip, until};

/// Times that nothing was published, as no queue was bound above all.
const FAILED_IN_RABBITMQ: &str = "chatferry_events_failed_total{sink=\"rabbitmq\"}";

/// Kinds of brokers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    RabbitMq,
    Nats,
}

/// A broker of the test's own, which keeps what it has confirmed when it is killed.
pub struct Broker {
    kind: Kind,
    port: Port,
    /// Ports that `RabbitMQ` wants besides.
    others: [Port; 2],
    directory: Directory,
    process: Option<Child>,
}

impl Broker {
    /// Starts one; `None` if there is none here, or no Python for its consumers.
    pub async fn start(kind: Kind) -> Option<Self> {
        let program = match kind {
            Kind::RabbitMq => "/usr/lib/rabbitmq/bin/rabbitmq-server",
            Kind::Nats => "nats-server",
        };
        // Asked for its version, `RabbitMQ` starts.
        let is_there = match kind {
            Kind::RabbitMq => Path::new(program).exists(),
            Kind::Nats => Command::new(program).arg("--version").output().is_ok(),
        };
        if python().is_none() || !is_there {
            skip(&format!("no {program}, or no Python with its client"));
            return None;
        }
        let mut broker = Broker {
            kind,
            port: Port::claim(),
            others: [Port::claim(), Port::claim()],
            directory: Directory::new(),
            process: None,
        };
        broker.run().await;
        Some(broker)
    }

    pub async fn run(&mut self) {
        let (port, home) = (self.port.number.to_string(), self.directory.path());
        let mut command = match self.kind {
            Kind::RabbitMq => Command::new("/usr/lib/rabbitmq/bin/rabbitmq-server"),
            Kind::Nats => Command::new("nats-server"),
        };
        match self.kind {
            Kind::RabbitMq => {
                let [distribution, names] = &self.others;
                command
                    .env("HOME", home)
                    .env("RABBITMQ_NODENAME", format!("t{port}@localhost"))
                    .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
                    .env("RABBITMQ_NODE_PORT", &port)
                    .env("RABBITMQ_DIST_PORT", distribution.number.to_string())
                    .env("ERL_EPMD_PORT", names.number.to_string())
                    .env("ERL_EPMD_RELAXED_COMMAND_CHECK", "1")
                    .env("RABBITMQ_MNESIA_BASE", home)
                    .env("RABBITMQ_LOG_BASE", home)
                    .env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("plugins"))
                    .env("RABBITMQ_PID_FILE", home.join("pid"));
            }
            Kind::Nats => {
                command.args(["-js", "-a", "127.0.0.1", "-p", &port, "-sd"]);
                command.arg(home);
            }
        }
        // A group of its own, as `RabbitMQ` is started by a script.
        command
            .process_group(0)
            .current_dir(home)
            .stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn();
        self.process = Some(child.unwrap());
        until("the broker", async || {
            let address = ("127.0.0.1", self.port.number);
            tokio::net::TcpStream::connect(address).await.is_ok()
        })
        .await;
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            let _ = child.wait();
        }
        if self.kind == Kind::RabbitMq {
            // The name server of Erlang, which is started beside it.
            let port = self.others[1].number.to_string();
            let mut epmd = Command::new("epmd");
            let epmd = epmd
                .args(["-port", &port, "-kill"])
                .env("ERL_EPMD_PORT", &port);
            let _ = epmd.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }

    pub fn url(&self) -> String {
        let port = self.port.number;
        match self.kind {
            Kind::RabbitMq => format!("amqp://guest:guest@127.0.0.1:{port}/%2f"),
            Kind::Nats => format!("nats://127.0.0.1:{port}"),
        }
    }

    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::RabbitMq => "rabbitmq",
            Kind::Nats => "nats",
        }
    }

    /// A server whose events go there.
    async fn server(&self, more: &[(&str, &str)]) -> Server {
        let (url, key) = (self.url(), format!("events.{}.url", self.name()));
        let mut flags = vec![
            ("events.sinks", self.name()),
            (key.as_str(), url.as_str()),
            ("events.lease_s", "8"),
        ];
        flags.extend(more);
        Server::with(&flags).await
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A Python with the brokers' clients.
pub fn python() -> Option<PathBuf> {
    std::env::var_os("CHATFERRY_TEST_EVENTS").map(PathBuf::from)
}

/// A consumer, which begins with the first event that it has not confirmed.
struct Consumer(Script);

impl Consumer {
    /// Starts one, and waits until it gets what is published.
    async fn start(broker: &Broker) -> Self {
        let arguments = [broker.name(), &broker.url()];
        let mut script =
            Script::start(python().unwrap(), "tests/it/events/consumer.py", &arguments);
        assert_eq!(script.line().await, "ready");
        Consumer(script)
    }

    async fn event(&mut self) -> Value {
        serde_json::from_str(&self.0.line().await).unwrap()
    }

    /// Reads events until the message of this content comes; the contents of those that were created,
    /// each once. A repeated one must have the id that it had.
    async fn contents_to(&mut self, last: &str) -> Vec<String> {
        let (mut ids, mut contents) = (HashMap::new(), Vec::new());
        while contents.last().is_none_or(|content| content != last) {
            let event = self.event().await;
            if event["type"] != "message.created" {
                continue;
            }
            let data = &event["event"]["data"];
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let (id, message) = (text(&event["id"]), text(&data["message_id"]));
            match ids.insert(message, id.clone()) {
                None => contents.push(text(&data["content"])),
                Some(before) => assert_eq!(before, id),
            }
        }
        contents
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Everything comes, in its order, although the broker is killed in the middle.
async fn a_broker_that_is_killed_gets_everything(kind: Kind) {
    let Some(mut broker) = Broker::start(kind).await else {
        return;
    };
    let server = broker.server(&[]).await;
    let failed = format!(
        "chatferry_events_failed_total{{sink=\"{}\"}}",
        broker.name()
    );
    let id = server.conversation().await;
    if kind == Kind::RabbitMq {
        // No queue is bound yet: what is returned is not lost.
        server.stored(&id, "alice", "unbound").await;
        until("a failure", async || server.metric(&failed).await > 0.0).await;
    } else {
        let outbox = super::outbox_of(&server);
        until("the stream", async || {
            outbox.backlog("nats").await.unwrap().events == 0
        })
        .await;
        server.stored(&id, "alice", "unbound").await;
    }
    let mut consumer = Consumer::start(&broker).await;
    assert_eq!(consumer.contents_to("unbound").await, ["unbound"]);
    for content in numbers(0..20) {
        server.stored(&id, "alice", &content).await;
    }
    assert_eq!(consumer.contents_to("19").await, numbers(0..20));
    drop(consumer);
    let before = server.metric(&failed).await;
    broker.kill();
    for content in numbers(20..40) {
        server.stored(&id, "alice", &content).await;
    }
    until("a failure", async || server.metric(&failed).await > before).await;
    broker.run().await;
    let mut consumer = Consumer::start(&broker).await;
    let contents = consumer.contents_to("39").await;
    assert!(contents.ends_with(&numbers(20..40)), "{contents:?}");
}

/// The attributes of a binary event are headers, and its body is the data.
async fn a_binary_event_has_headers(kind: Kind, prefix: &str) {
    let Some(broker) = Broker::start(kind).await else {
        return;
    };
    let binary = [("events.format", "cloudevents_binary")];
    let server = broker.server(&binary).await;
    let id = server.conversation().await;
    let outbox = super::outbox_of(&server);
    until("the exchange, or the stream", async || match kind {
        Kind::RabbitMq => server.metric(FAILED_IN_RABBITMQ).await > 0.0,
        Kind::Nats => outbox.backlog("nats").await.unwrap().events == 0,
    })
    .await;
    let mut consumer = Consumer::start(&broker).await;
    let event = consumer.event().await;
    let headers = &event["headers"];
    assert_eq!(headers[format!("{prefix}type")], "conversation.created");
    assert_eq!(headers[format!("{prefix}id")], event["id"]);
    assert_eq!(headers[format!("{prefix}subject")], id.as_str());
    assert_eq!(event["event"]["conversation_id"], id.as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rabbitmq_that_is_killed_gets_everything() {
    a_broker_that_is_killed_gets_everything(Kind::RabbitMq).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nats_that_is_killed_gets_everything() {
    a_broker_that_is_killed_gets_everything(Kind::Nats).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_binary_event_has_headers_in_rabbitmq() {
    a_binary_event_has_headers(Kind::RabbitMq, "cloudEvents:").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_binary_event_has_headers_in_nats() {
    a_binary_event_has_headers(Kind::Nats, "ce-").await;
}
