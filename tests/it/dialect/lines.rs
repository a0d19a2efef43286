//! A chat of other paths and other frames, and what it takes to add one: lines of text,
//! `alice: hello` in both directions.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chatferry::{
    app::{App, Peers},
    auth::identity::Denied,
    chat::{Event, Message, NewMessage, SentMessage, policy::Caller},
    config::{Config, Prefix},
    dialect::{Dialect, OwnChat, django},
    http::{Response, extract, ops::Probe, reply::ours, serve::Answered},
    hub::{
        Membership,
        frames::{DialectSlot, Encode},
    },
    id::ConversationId,
    limits::{LimitedAction, Throttled},
    metrics::Asked,
    service::ChatError,
    store::schema::{Column, ColumnKind, MemberSource, Schema, Table, TableOrigin},
    telemetry::request::Trail,
    ws::{
        entry::enter_conversation,
        history::FirstFrames,
        protocol::{FrameRequest, Guest, Histories, LongHistory, Protocol, Reading},
        refusal::Refusal,
        upgrade,
        writer::{fragment, text_frame},
    },
};
use fastwebsockets::OpCode;
use hyper::{StatusCode, body::Incoming};

pub const PREFIX: &str = "/lines/";

pub struct Lines {
    prefix: Prefix,
    protocol: Arc<LineProtocol>,
    /// The settings of its own tables, if it has some.
    own: Option<Config>,
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
    /// Over the conversations of Django.
    pub fn new(slot: DialectSlot) -> Self {
        Lines {
            prefix: PREFIX.to_owned().try_into().unwrap(),
            protocol: Arc::new(LineProtocol { slot }),
            own: None,
        }
    }

    /// Over tables of its own.
    pub fn of_rooms(slot: DialectSlot, config: &Config) -> Self {
        Lines {
            own: Some(config.clone()),
            ..Lines::new(slot)
        }
    }
}

const ROOMS: &[Column] = &[
    Column::new("id", ColumnKind::Number),
    Column::named("created_at", "opened", ColumnKind::Time),
    Column::constant("updated_at", "opened"),
    Column::named("is_active", "is_open", ColumnKind::Bool),
];

const PEOPLE: &[Column] = &[
    Column::named("conversation_id", "room", ColumnKind::Number),
    Column::named("user_id", "person", ColumnKind::Number),
];

const WORDS: &[Column] = &[
    Column::new("id", ColumnKind::Number),
    Column::named("conversation_id", "room", ColumnKind::Number),
    Column::named("sender_id", "person", ColumnKind::Number),
    Column::named("content", "said", ColumnKind::Text),
    Column::constant("message_type", "'text'"),
    Column::named("created_at", "at", ColumnKind::Time),
    Column::constant("updated_at", "at"),
    Column::named("is_deleted", "deleted_at", ColumnKind::Time),
];

const SEEN: &[Column] = &[
    Column::new("id", ColumnKind::Number),
    Column::named("message_id", "word", ColumnKind::Number),
    Column::named("user_id", "person", ColumnKind::Number),
    Column::constant("status", "'read'"),
    Column::named("timestamp", "at", ColumnKind::Time),
];

/// Numbers for ids and users, and any number of members.
fn rooms() -> Schema {
    let table = |name: &str, columns| Table::new(&name.to_owned().try_into().unwrap(), columns);
    Schema {
        conversations: table("rooms", ROOMS),
        members: MemberSource::Listed(table("people", PEOPLE)),
        messages: table("words", WORDS),
        receipts: table("seen", SEEN),
        origin: TableOrigin::Elsewhere("the test makes it"),
        changes: None,
        outbox: None,
        attachments: None,
        groups: None,
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
        Box::new(|_, event| match event {
            Event::MessageSent(SentMessage::Stored { message, .. }) => line(message),
            _ => said("* something else happened"),
        })
    }

    fn own_chat(&self) -> Option<OwnChat> {
        let config = self.own.as_ref()?;
        Some(OwnChat {
            schema: rooms(),
            peers: Peers {
                groups: "lines_{conversation_id}".to_owned().try_into().unwrap(),
                ..django::peers(config)
            },
        })
    }

    async fn answer(&self, app: &Arc<App>, _: &[Probe], request: &extract::Request) -> Answered {
        let id = self.protocol.target(&request.path);
        let found = match id {
            Some(id) => app.chat.conversation(id).await.ok(),
            None => None,
        };
        let response = match found {
            Some(row) => plain(StatusCode::OK, row.participants.as_slice().join(" and ")),
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
    type Target = ConversationId;
    type Place = Membership;

    fn slot(&self) -> DialectSlot {
        self.slot
    }

    fn target(&self, path: &str) -> Option<ConversationId> {
        path.strip_prefix(PREFIX)?.parse().ok()
    }

    fn conversation(&self, target: ConversationId) -> Option<ConversationId> {
        Some(target)
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

    async fn enter(
        &self,
        app: &Arc<App>,
        target: ConversationId,
        guest: &Guest<'_>,
    ) -> Result<(Membership, FirstFrames), Refusal> {
        enter_conversation(app, self, target, guest).await
    }

    async fn perform(
        app: &App,
        place: &Membership,
        _: &Caller,
        line: Line,
    ) -> Result<Option<Bytes>, ChatError> {
        let new = NewMessage {
            id: None,
            conversation_id: place.conversation_id(),
            sender_id: line.sender,
            content: line.content,
            message_type: "text".to_owned(),
            is_deleted: false,
            attachments: Vec::new(),
        };
        app.chat.say(new, "text".into()).await.map(|()| None)
    }

    fn binary(&self) -> Bytes {
        said("? text only")
    }

    fn not_you(&self, _: &Line) -> Bytes {
        said("? that is somebody else")
    }

    fn throttled(&self, _: Option<&Line>, _: &Throttled) -> Bytes {
        said("? later")
    }

    fn denied(&self, denied: &Denied) -> Bytes {
        said(&format!("? {denied}"))
    }

    fn failed(&self, error: &ChatError) -> Option<Bytes> {
        Some(said(&format!("? {error}")))
    }
}

impl Histories for LineProtocol {
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

impl FrameRequest for Line {
    fn is_of(&self, caller: &Caller) -> bool {
        caller.is(&self.sender)
    }

    fn text_bytes(&self) -> Option<usize> {
        Some(self.content.len())
    }

    fn asked(&self) -> Asked {
        Asked::Say
    }

    fn action(&self) -> LimitedAction {
        LimitedAction::Message
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
