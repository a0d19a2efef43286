//! The events of a batch of writes, as far as these have changed something.

use std::{collections::HashMap, hash::BuildHasher};

use crate::{
    chat::{NewOutboxEvent, receipt::READ},
    id::{ConversationId, MessageId},
    store::commit::{CommitOutcome, Write},
};

/// Returns the messages that a batch has marked as read. Their conversations are to be looked up.
#[must_use]
pub fn read_messages(outcomes: &[CommitOutcome]) -> Vec<MessageId> {
    let read = outcomes.iter().filter_map(|outcome| match outcome {
        CommitOutcome::Receipt(receipt) if receipt.status == READ => Some(receipt.message_id),
        _ => None,
    });
    let mut read: Vec<MessageId> = read.collect();
    read.sort_unstable();
    read.dedup();
    read
}

/// Returns the events of a batch in its order. `conversations` are those of the messages that were
/// read. A row that a client may not see makes no event.
#[must_use]
pub fn events_of(
    batch: &[Write],
    outcomes: &[CommitOutcome],
    conversations: &HashMap<MessageId, ConversationId, impl BuildHasher>,
) -> Vec<NewOutboxEvent> {
    let pairs = batch.iter().zip(outcomes);
    let events = pairs.filter_map(|(write, outcome)| match (write, outcome) {
        (
            Write::Message(message) | Write::Attached(message, _),
            CommitOutcome::Stored | CommitOutcome::Numbered(_),
        ) if !message.is_deleted => {
            let mut message = message.clone();
            if let CommitOutcome::Numbered(id) = outcome {
                message.id = *id;
            }
            Some(NewOutboxEvent::message_created(&message))
        }
        (Write::Conversation(_), CommitOutcome::Conversation(made, true)) => {
            let users = made.participants.as_slice();
            let created = NewOutboxEvent::conversation_created(made.id, users, made.created_at);
            Some(created)
        }
        (Write::NewGroup(_), CommitOutcome::Group(made, true)) => {
            let users = made.users();
            let created = NewOutboxEvent::conversation_created(made.id, &users, made.created_at);
            Some(created)
        }
        (Write::Receipt(asked), CommitOutcome::Receipt(stored)) if stored.status == READ => {
            let conversation = conversations.get(&stored.message_id)?;
            let read = NewOutboxEvent::messages_read(stored, *conversation, asked.timestamp);
            Some(read)
        }
        (Write::Change(new), CommitOutcome::Changed(message)) => {
            Some(NewOutboxEvent::message_changed(message, new))
        }
        _ => None,
    });
    events.collect()
}
