//! The sink `webhook`, against a server that answers as the test says.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::outbox_of;
use crate::support::{Server, until};

const SECRET: &str = "a secret of the two of us";

/// A request that came.
#[derive(Clone, Debug)]
struct Request {
    headers: Vec<(String, String)>,
    body: String,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        &found.unwrap().1
    }

    fn event(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn content(&self) -> String {
        let content = &self.event()["data"]["content"];
        content.as_str().unwrap_or_default().to_owned()
    }
}

/// Takes requests, and answers them with the statuses that are set, then with 204.
#[derive(Clone)]
struct Receiver {
    port: u16,
    state: Arc<Mutex<(Vec<Request>, VecDeque<u16>)>>,
    /// Content of the messages that are refused with 422, always.
    poison: &'static str,
}

impl Receiver {
    async fn start(poison: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Receiver {
            port: listener.local_addr().unwrap().port(),
            state: Arc::default(),
            poison,
        };
        let own = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(own.clone().serve(stream));
            }
        });
        receiver
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        loop {
            let end = |text: &[u8]| text.windows(4).position(|it| it == b"\r\n\r\n");
            while end(&buffer).is_none() {
                let read = stream.read_buf(&mut buffer).await.unwrap_or(0);
                if read == 0 {
                    return;
                }
            }
            let head = end(&buffer).unwrap();
            let text = String::from_utf8(buffer[..head].to_vec()).unwrap();
            let headers: Vec<(String, String)> = text
                .lines()
                .skip(1)
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length: usize = length.unwrap().1.parse().unwrap();
            while buffer.len() < head + 4 + length {
                stream.read_buf(&mut buffer).await.unwrap();
            }
            let body = buffer[head + 4..head + 4 + length].to_vec();
            buffer.drain(..head + 4 + length);
            let body = String::from_utf8(body).unwrap();
            let request = Request { headers, body };
            let status = {
                let mut state = self.state.lock().unwrap();
                let status = state.1.pop_front().unwrap_or(204);
                let status = match request.content() {
                    content if !content.is_empty() && content == self.poison => 422,
                    _ => status,
                };
                state.0.push(request);
                status
            };
            let answer = format!("HTTP/1.1 {status} Told\r\nContent-Length: 0\r\n\r\n");
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().0.clone()
    }

    fn contents(&self) -> Vec<String> {
        let contents = self.requests().iter().map(Request::content).collect();
        let contents: Vec<String> = contents;
        contents.into_iter().filter(|it| !it.is_empty()).collect()
    }

    /// A server whose events come here, with these settings more.
    async fn server(&self, more: &[(&str, &str)]) -> Server {
        let url = format!("http://localhost:{}/hook?a=1", self.port);
        let mut flags = vec![
            ("events.sinks", "webhook"),
            ("events.webhook.url", url.as_str()),
            ("events.webhook.secret", SECRET),
            ("events.lease_s", "4"),
        ];
        flags.extend(more);
        Server::with(&flags).await
    }
}

const PRIVATE: (&str, &str) = ("events.webhook.allow_private", "true");

#[tokio::test]
async fn a_request_is_signed_and_has_the_event() {
    let receiver = Receiver::start("").await;
    let server = receiver.server(&[PRIVATE]).await;
    let id = server.conversation().await;
    let message = server.stored(&id, "alice", "a").await;
    until("the events", async || receiver.requests().len() == 2).await;
    let request = receiver.requests().pop().unwrap();
    assert_eq!(request.event()["data"]["message_id"], message["id"]);
    assert_eq!(request.header("content-type"), "application/json");
    let (id, at) = (
        request.header("webhook-id"),
        request.header("webhook-timestamp"),
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{id}.{at}.{}", request.body).as_bytes());
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(request.header("webhook-signature"), expected);
}

#[tokio::test]
async fn an_event_that_is_not_taken_comes_again_with_the_same_id_before_any_later_one() {
    let receiver = Receiver::start("").await;
    receiver.state.lock().unwrap().1 = [204, 500, 429, 302, 404].into();
    let server = receiver.server(&[PRIVATE]).await;
    let id = server.conversation().await;
    for content in ["one", "two"] {
        server.stored(&id, "alice", content).await;
    }
    let expected = ["one", "one", "one", "one", "one", "two"];
    until("the events", async || receiver.contents() == expected).await;
    let requests = receiver.requests();
    let ids: Vec<&str> = requests[1..6]
        .iter()
        .map(|it| it.header("webhook-id"))
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn an_event_that_is_refused_for_good_is_put_aside_and_later_ones_follow() {
    let receiver = Receiver::start("poison").await;
    let server = receiver.server(&[PRIVATE, ("events.attempts", "3")]).await;
    let id = server.conversation().await;
    for content in ["poison", "after"] {
        server.stored(&id, "alice", content).await;
    }
    let expected = ["poison", "poison", "poison", "after"];
    until("the events", async || receiver.contents() == expected).await;
    let outbox = outbox_of(&server);
    until("the cursor", async || {
        outbox.backlog("webhook").await.unwrap().events == 0
    })
    .await;
    let letters = outbox.dead_letters(None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].error.contains("422"), "{letters:?}");
    let dead = "chatferry_events_dead_total{sink=\"webhook\"}";
    assert_eq!(server.metric(dead).await, 1.0);
    outbox.repeat("webhook", None).await.unwrap();
    until("one more attempt", async || receiver.contents().len() == 5).await;
}

#[tokio::test]
async fn an_address_that_is_not_public_is_not_asked_unless_that_is_allowed() {
    let receiver = Receiver::start("").await;
    let server = receiver.server(&[]).await;
    let id = server.conversation().await;
    server.stored(&id, "alice", "a").await;
    let failed = "chatferry_events_failed_total{sink=\"webhook\"}";
    until("failures", async || server.metric(failed).await > 1.0).await;
    assert_eq!(receiver.requests().len(), 0);
}
