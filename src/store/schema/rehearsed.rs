//! Rows for `check` to write.

use uuid::Uuid;

use crate::{
    chat::{Conversation, Message, Participants, Receipt, receipt::READ},
    python::datetime::Timestamp,
};

/// Rows of each table that are written and taken back, of users that do not exist.
#[derive(Debug)]
pub struct Rehearsed {
    pub conversation: Conversation,
    pub message: Message,
    pub receipt: Receipt,
}

impl Rehearsed {
    /// Makes rows of new ids.
    #[must_use]
    pub fn new() -> Self {
        let (id, message_id) = (Uuid::new_v4().into(), Uuid::new_v4().into());
        let now = Timestamp::now();
        let user_id = format!("chatferry check {id}");
        Rehearsed {
            conversation: Conversation {
                id,
                participants: Participants::Pair([user_id.clone(), String::new()]),
                created_at: now,
                updated_at: now,
                is_active: false,
            },
            message: Message {
                id: message_id,
                conversation_id: id,
                sender_id: user_id.clone(),
                content: String::new(),
                message_type: "text".to_owned(),
                created_at: now,
                updated_at: now,
                is_deleted: true,
            },
            receipt: Receipt {
                id: Uuid::new_v4().into(),
                message_id,
                user_id,
                status: READ.to_owned(),
                timestamp: now,
            },
        }
    }
}

impl Default for Rehearsed {
    fn default() -> Self {
        Rehearsed::new()
    }
}
