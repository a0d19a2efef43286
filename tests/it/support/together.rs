//! Django and Chatferry write into the same conversations at the same time; then both look at
//! every row.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_json::json;

use super::{Server, database::Place, id_of, long_or_short, neighbours::manage, until};

/// Messages of both sides together, in a long run.
const MANY: usize = 10_000;

/// The same in a short one.
const FEW: usize = 800;

const DJANGOS: usize = 2;
const SENDERS: usize = 20;
const CONVERSATIONS: usize = 10;

/// One Django of several: messages, and a receipt for every tenth.
const DJANGO: &str = "
from chat.models import Conversation, DeliveryReceipt, Message
for number in range(COUNT):
    conversation = Conversation.objects.get(participant1_id=f'a{number % 10}')
    message = Message.objects.create(conversation=conversation, sender_id='django', content=f'NAME {number}')
    if number % 10 == 0:
        DeliveryReceipt.objects.update_or_create(message=message, user_id='reader', defaults={'status': 'read'})
";

/// Every message and receipt as Django's models read them.
const DUMP: &str = "
from chat.models import DeliveryReceipt, Message
for row in Message.objects.select_related('conversation'):
    print(row.id, row.conversation.id, row.sender_id, row.is_deleted, row.message_type,
          row.created_at <= row.updated_at, row.content, sep='|')
for row in DeliveryReceipt.objects.select_related('message'):
    print('receipt', row.id, row.message.id, row.user_id, row.status, sep='|')
";

/// Messages, and a receipt for every tenth, in a database without any table.
pub async fn write_together(database: &Place) {
    let messages = long_or_short(MANY, FEW);
    let each = messages / 2;
    if database.manage(&["migrate"]).await.is_none() {
        return;
    }
    let server = Arc::new(database.server().await);
    let mut conversations = Vec::new();
    for number in 0..CONVERSATIONS {
        let (one, two) = (format!("a{number}"), format!("b{number}"));
        conversations.push(server.conversation_of(&one, &two).await);
    }
    let mut djangos = Vec::new();
    for django in 0..DJANGOS {
        let count = (each / DJANGOS).to_string();
        let name = format!("django{django}");
        let script = DJANGO.replace("COUNT", &count).replace("NAME", &name);
        let url = database.url.clone();
        djangos.push(tokio::spawn(async move {
            manage(&url, &["shell", "-c", &script]).await.unwrap();
        }));
    }
    // Python takes its time to begin.
    until("every Django to write", async || {
        let contents = server.contents(&conversations[0]).await;
        (0..DJANGOS).all(|django| contents.contains(&format!("django{django} 0")))
    })
    .await;
    let mut senders = Vec::new();
    for sender in 0..SENDERS {
        let (server, conversations) = (Arc::clone(&server), conversations.clone());
        senders.push(tokio::spawn(async move {
            let mut receipts = Vec::new();
            for number in 0..each / SENDERS {
                let conversation = &conversations[number % CONVERSATIONS];
                let content = format!("{sender} {number}");
                let message = id_of(&server.stored(conversation, "chatferry", &content).await);
                if number % 10 == 0 {
                    receipts.push((mark(&server, &message).await, message));
                }
            }
            receipts
        }));
    }
    let mut marked = HashMap::new();
    for sender in senders {
        marked.extend(sender.await.unwrap());
    }
    for django in djangos {
        django.await.unwrap();
    }
    let (ours, receipts) = compare(database, &server, &conversations, &marked).await;
    assert_eq!((ours, receipts), (messages, messages / 10));
}

/// Raises the receipt of the one reader; its id.
async fn mark(server: &Server, message: &str) -> String {
    let path = format!("/api/chat/messages/{message}/read/");
    let marked = server.put(&path, json!({"user_id": "reader"})).await;
    assert_eq!(marked.status, 200, "{}", marked.text());
    id_of(&marked.json())
}

/// Looks at every row from both sides. `marked` are the receipts that Chatferry has made, by their
/// ids, each with its message. How many messages and receipts there are.
async fn compare(
    database: &Place,
    server: &Server,
    conversations: &[String],
    marked: &HashMap<String, String>,
) -> (usize, usize) {
    let mut ours = HashSet::new();
    for conversation in conversations {
        let path = format!("/api/chat/conversations/{conversation}/messages/");
        for message in server.get(&path).await.json().as_array().unwrap() {
            let text = |name: &str| message[name].as_str().unwrap().to_owned();
            ours.insert((text("id"), conversation.clone(), text("content")));
        }
    }
    let (mut theirs, mut receipts) = (HashSet::new(), HashMap::new());
    let dump = database.manage(&["shell", "-c", DUMP]).await.unwrap();
    for line in dump.lines() {
        let fields: Vec<_> = line.splitn(7, '|').collect();
        if let [id, conversation, _, "False", "text", "True", content] = fields[..] {
            let row = (id.to_owned(), conversation.to_owned(), content.to_owned());
            theirs.insert(row);
        } else if let ["receipt", id, message, "reader", "read"] = fields[..] {
            receipts.insert(id.to_owned(), message.to_owned());
        }
    }
    let odd = ours.symmetric_difference(&theirs).next();
    assert!(odd.is_none(), "{odd:?}");
    for (id, message) in marked {
        assert_eq!(receipts.get(id), Some(message), "ours, as Django reads it");
    }
    for (id, message) in &receipts {
        assert_eq!(mark(server, message).await, *id, "as we read it");
    }
    (ours.len(), receipts.len())
}
