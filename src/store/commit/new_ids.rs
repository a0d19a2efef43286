//! Ids of rows that are about to be written.

use std::sync::Arc;

use crate::{
    chat::id::Ids,
    config::IdVersion,
    id::{AttachmentId, ChangeId, ConversationId, Key, MessageId, ReceiptId},
    python::datetime::Timestamp,
    store::schema::Schema,
};

/// Stands for the id of a row until the database has made it.
const UNMADE: Key = Key::Number(0);

/// Makes the ids of new rows, as far as the database does not.
#[derive(Clone, Debug)]
pub struct NewIds {
    ids: Arc<Ids>,
    /// True for the tables whose ids the database makes.
    conversations: bool,
    messages: bool,
    receipts: bool,
}

impl NewIds {
    /// Makes all ids here, as UUIDs of this version.
    #[must_use]
    pub fn ours(version: IdVersion) -> Self {
        NewIds {
            ids: Arc::new(Ids::new(version)),
            conversations: false,
            messages: false,
            receipts: false,
        }
    }

    /// Makes those ids here that the tables are described with.
    #[must_use]
    pub fn of(schema: &Schema, version: IdVersion) -> Self {
        NewIds {
            conversations: schema.conversations.makes_ids(),
            messages: schema.messages.makes_ids(),
            receipts: schema.receipts.makes_ids(),
            ..NewIds::ours(version)
        }
    }

    #[must_use]
    pub fn conversation(&self, at: Timestamp) -> ConversationId {
        self.next(self.conversations, at).into()
    }

    #[must_use]
    pub fn message(&self, at: Timestamp) -> MessageId {
        self.next(self.messages, at).into()
    }

    #[must_use]
    pub fn receipt(&self, at: Timestamp) -> ReceiptId {
        self.next(self.receipts, at).into()
    }

    /// Returns the id of a row of our own table.
    #[must_use]
    pub fn change(&self, at: Timestamp) -> ChangeId {
        self.next(false, at).into()
    }

    /// Returns the id of an upload.
    #[must_use]
    pub fn attachment(&self, at: Timestamp) -> AttachmentId {
        self.next(false, at).into()
    }

    fn next(&self, is_made_elsewhere: bool, at: Timestamp) -> Key {
        if is_made_elsewhere {
            UNMADE
        } else {
            Key::Uuid(self.ids.next(at))
        }
    }
}
