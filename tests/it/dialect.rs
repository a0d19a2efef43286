//! A chat of other paths and other frames over the same conversations, and what it takes to add one:
//! lines of text, `alice: hello` in both directions.

use std::{borrow::Cow, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use chatferry::{
    app::App,
    auth::identity::Denied,
    chat::{Event, Message, NewMessage, SentMessage, policy::Caller},
    config::Prefix,
    dialect::{Dialect, Dialects},
    http::{Response, extract, ops::Probe, reply::ours, serve::Answered},
    hub::frames::{DialectSlot, Encode},
    id::ConversationId,
    limits::{Action, Throttled},
    metrics::Asked,
    service::{Chat, ChatError},
    store::history::PAGE_MESSAGES,
    telemetry::request::Trail,
    ws::{
        protocol::{LongHistory, Protocol, Reading, Request},
        upgrade,
        writer::{fragment, text_frame},
    },
};
use fastwebsockets::OpCode;
use futures_util::future::join_all;
use hyper::{StatusCode, body::Incoming};

use crate::{
    socket::history::fill,
    support::{
        Directory, Server, Socket,
        server::config,
        socket::{chat_message, handshake},
    },
};

const PREFIX: &str = "/lines/";

struct Lines {
    prefix: Prefix,
    protocol: Arc<LineProtocol>,
}

struct LineProtocol {
    slot: DialectSlot,
}

/// A line that somebody says.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    sender: String,
    content: String,
}

impl Lines {
    fn new(slot: DialectSlot) -> Self {
        Lines {
            prefix: PREFIX.to_owned().try_into().unwrap(),
            protocol: Arc::new(LineProtocol { slot }),
        }
    }
}

#[async_trait]
impl Dialect for Lines {
    fn serves(&self, path: &str) -> bool {
        path.starts_with(PREFIX)
    }

    fn shared(&self) -> &Prefix {
        &self.prefix
    }

    fn encode(&self) -> Encode {
        Box::new(|event| match event {
            Event::MessageSent(SentMessage::Stored { message, .. }) => line(message),
            _ => said("* something else happened"),
        })
    }

    async fn answer(&self, app: &App, _: &[Probe], request: &extract::Request) -> Answered {
        let id = self.protocol.conversation(&request.path);
        let found = match id {
            Some(id) => app.chat.conversation(id).await.ok(),
            None => None,
        };
        let response = match found {
            Some(row) => plain(StatusCode::OK, row.participants().join(" and ")),
            None => plain(StatusCode::NOT_FOUND, "no such room".to_owned()),
        };
        ("lines", response)
    }

    async fn open(
        &self,
        app: &Arc<App>,
        request: hyper::Request<Incoming>,
        trail: &Trail,
    ) -> Response {
        let protocol = Arc::clone(&self.protocol);
        upgrade::answer(Arc::clone(app), protocol, request, trail).await
    }

    fn throttled(&self, _: Throttled) -> Response {
        plain(StatusCode::TOO_MANY_REQUESTS, "later".to_owned())
    }
}

impl Protocol for LineProtocol {
    type Request = Line;

    fn slot(&self) -> DialectSlot {
        self.slot
    }

    fn conversation(&self, path: &str) -> Option<ConversationId> {
        path.strip_prefix(PREFIX)?.parse().ok()
    }

    fn template(&self) -> String {
        format!("{PREFIX}{{id}}")
    }

    fn read(&self, text: &str) -> Result<Reading<Line>, Bytes> {
        let (sender, content) = text
            .split_once(": ")
            .ok_or_else(|| said("? who says that"))?;
        Ok(Reading::Request(Line {
            sender: sender.to_owned(),
            content: content.to_owned(),
        }))
    }

    async fn perform(
        chat: &Chat,
        _: &Caller,
        conversation_id: ConversationId,
        line: Line,
    ) -> Result<(), ChatError> {
        let new = NewMessage {
            conversation_id,
            sender_id: line.sender,
            content: line.content,
            message_type: "text".to_owned(),
            is_deleted: false,
        };
        chat.say(new, "text".into()).await
    }

    fn binary(&self) -> Bytes {
        said("? text only")
    }

    fn not_you(&self) -> Bytes {
        said("? that is somebody else")
    }

    fn throttled(&self, _: &Throttled) -> Bytes {
        said("? later")
    }

    fn denied(&self, denied: &Denied) -> Bytes {
        said(&format!("? {denied}"))
    }

    fn failed(&self, error: &ChatError) -> Option<Bytes> {
        Some(said(&format!("? {error}")))
    }

    fn history(&self, messages: &[Message]) -> Bytes {
        let lines = messages.iter().map(text_of);
        said(&lines.collect::<Vec<_>>().join("\n"))
    }

    fn long_history(&self) -> Box<dyn LongHistory> {
        Box::new(LongLines {
            opcode: OpCode::Text,
        })
    }
}

/// The lines of a history that does not fit a page, each page a fragment.
struct LongLines {
    opcode: OpCode,
}

impl LongHistory for LongLines {
    fn fragment(&mut self, messages: &[Message]) -> Bytes {
        let opcode = std::mem::replace(&mut self.opcode, OpCode::Continuation);
        let lines = messages.iter().map(|message| text_of(message) + "\n");
        fragment(false, opcode, |out| {
            out.extend(lines.collect::<String>().bytes());
        })
    }

    fn end(self: Box<Self>) -> Bytes {
        fragment(true, OpCode::Continuation, |_| {})
    }
}

impl Request for Line {
    fn speaker(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.sender))
    }

    fn text_bytes(&self) -> Option<usize> {
        Some(self.content.len())
    }

    fn asked(&self) -> Asked {
        Asked::Say
    }

    fn action(&self) -> Action {
        Action::Message
    }
}

fn text_of(message: &Message) -> String {
    format!("{}: {}", message.sender_id, message.content)
}

fn line(message: &Message) -> Bytes {
    said(&text_of(message))
}

fn said(text: &str) -> Bytes {
    text_frame(|out| out.extend(text.bytes()))
}

fn plain(status: StatusCode, text: String) -> Response {
    ours(status, "text/plain; charset=utf-8", text)
}

async fn server() -> Server {
    let directory = Arc::new(Directory::new());
    let config = config(&directory, &[]);
    let dialects = Dialects::of(&config).and(|slot| Box::new(Lines::new(slot)));
    Server::mount(dialects, directory, config).await
}

async fn lines(server: &Server, id: &str) -> Socket {
    let mut connection = server.connect().await;
    connection
        .send(handshake(&format!("{PREFIX}{id}"), ""))
        .await;
    assert_eq!(connection.head().await.status, 101);
    Socket::over(connection)
}

#[tokio::test]
async fn each_socket_gets_the_frames_of_its_own_dialect() {
    let server = server().await;
    let id = server.conversation().await;
    server.stored(&id, "alice", "before").await;
    let (mut old, history) = server.join(&id).await;
    assert_eq!(history.len(), 1);
    let mut new = lines(&server, &id).await;
    assert_eq!(new.text().await, "alice: before");
    new.send_text("bob: hello").await;
    assert_eq!(new.text().await, "bob: hello");
    assert_eq!(old.json().await["message"]["content"], "hello");
    old.send(&chat_message("and back")).await;
    assert_eq!(old.heard().await, "and back");
    assert_eq!(new.text().await, "alice: and back");
    new.send_text("nonsense").await;
    assert_eq!(new.text().await, "? who says that");
    assert_eq!(server.contents(&id).await, ["before", "hello", "and back"]);
}

#[tokio::test]
async fn sockets_of_two_dialects_that_open_together_share_no_frame() {
    let server = server().await;
    let id = server.conversation().await;
    server.stored(&id, "alice", "before").await;
    let of_lines = join_all((0..40).map(|_| lines(&server, &id)));
    let of_django = join_all((0..40).map(|_| server.join(&id)));
    let (of_lines, of_django) = tokio::join!(of_lines, of_django);
    for mut socket in of_lines {
        assert_eq!(socket.text().await, "alice: before");
    }
    assert!(of_django.iter().all(|(_, history)| history.len() == 1));
}

#[tokio::test]
async fn a_long_history_has_the_form_of_the_dialect_too() {
    let server = server().await;
    let id = server.conversation().await;
    fill(&server.directory, &id, PAGE_MESSAGES + 1, "x");
    let mut socket = lines(&server, &id).await;
    let history = socket.text().await;
    assert_eq!(history.lines().count(), PAGE_MESSAGES + 1);
    assert!(history.starts_with("alice: 0 x\nalice: 1 x\n"), "{history}");
}

#[tokio::test]
async fn each_path_is_answered_by_its_own_dialect() {
    let server = server().await;
    let id = server.conversation().await;
    let room = server.get(&format!("{PREFIX}{id}")).await;
    assert_eq!((room.status, room.text()), (200, "alice and bob"));
    let none = server.get("/lines/none").await;
    assert_eq!((none.status, none.text()), (404, "no such room"));
    let elsewhere = server.get("/elsewhere").await;
    assert_eq!(elsewhere.status, 404);
    assert!(elsewhere.text().contains("<h1>Not Found</h1>"));
    let ours = server.get(&format!("/api/chat/conversations/{id}/")).await;
    assert_eq!(ours.json()["participant2_id"], "bob");
}
