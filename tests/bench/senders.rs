//! Many senders at once, through the committer of a store.

use std::sync::Arc;

use chatferry::{chat::NewMessage, id::ConversationId, store::Store};

pub const SENDERS: usize = 200;
/// Messages of each.
pub const EACH: usize = 100;

/// Lets all of them store their messages.
pub async fn senders(store: &Arc<dyn Store>, conversation_id: ConversationId) {
    let mut sending = Vec::new();
    for _ in 0..SENDERS {
        let store = Arc::clone(store);
        sending.push(tokio::spawn(async move {
            sender(&store, conversation_id, EACH).await;
        }));
    }
    for sending in sending {
        sending.await.unwrap();
    }
}

/// Stores messages, each after the one before.
pub async fn sender(store: &Arc<dyn Store>, conversation_id: ConversationId, count: usize) {
    for _ in 0..count {
        let new = NewMessage {
            id: None,
            conversation_id,
            sender_id: "alice".into(),
            content: "Nothing much, and you? 안녕하세요".into(),
            message_type: "text".into(),
            is_deleted: false,
            attachments: Vec::new(),
        };
        let stored = store.insert_message(new, Box::new(|_| {})).await;
        assert!(stored.unwrap().is_some());
    }
}

/// Returns the median of some figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
