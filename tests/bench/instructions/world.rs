//! What the paths have in common: one thread, settings, a directory, and what is said.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use chatferry::{
    chat::{Event, Message, NewMessage},
    config::Config,
    id::{ConversationId, Key},
    python::datetime::{Timestamp, Zone},
};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

pub const CONVERSATION: ConversationId = ConversationId(Key::Uuid(Uuid::from_u128(
    0x9503_1212_7823_4748_bb78_b212_d36b_6db3,
)));

const CONTENT: &str = "Nothing much, and you? 안녕하세요, shall we meet at \"six\"?";

/// In 2023, with microseconds: each message a second later than the one before.
const FIRST_MESSAGE: i64 = 1_700_000_000_123_456;

/// Makes a runtime without threads: tasks take turns in the same way each time.
pub fn one_thread() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.unwrap()
}

/// The defaults, with these settings.
pub fn config(flags: &[(&str, String)]) -> Config {
    let flags: Vec<_> = flags
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    Config::load(None, std::iter::empty(), &flags)
        .unwrap()
        .config
}

/// The zone of the defaults.
pub fn seoul() -> Zone {
    Zone::named("Asia/Seoul").unwrap()
}

/// A new directory, removed at the end.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Self {
        let name = format!("chatferry-instructions-{}", Uuid::new_v4());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Directory(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a client writes into a socket.
pub fn chat_message() -> String {
    serde_json::json!({"type": "chat_message", "sender_id": "alice", "content": CONTENT})
        .to_string()
}

/// What a client posts.
pub fn body() -> String {
    serde_json::json!({"sender_id": "alice", "content": CONTENT}).to_string()
}

/// A message that is about to be stored.
pub fn new_message(conversation_id: ConversationId) -> NewMessage {
    NewMessage {
        id: None,
        conversation_id,
        sender_id: "alice".into(),
        content: CONTENT.into(),
        message_type: "text".into(),
        is_deleted: false,
        attachments: Vec::new(),
    }
}

/// A message that has been stored, with an id and times of its own.
pub fn message(number: u32) -> Message {
    let at = Timestamp::from_micros(FIRST_MESSAGE + i64::from(number) * 1_000_000);
    Message {
        id: Uuid::from_u128(CONVERSATION.bits() + u128::from(number)).into(),
        ..new_message(CONVERSATION).stamped(Uuid::new_v4().into(), at, at)
    }
}

/// The messages of a conversation.
pub fn messages() -> Vec<Message> {
    (0..50).map(message).collect()
}

/// What a conversation is told of a message.
pub fn told(number: u32) -> Event {
    Event::stored(Arc::new(message(number)))
}
