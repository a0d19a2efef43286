//! Django and Chatferry write into the same conversations at the same time; then both look at
//! every row.

use std::{collections::HashSet, sync::Arc};

use serde_json::{Value, json};

use super::{database::Database, instance::Flavour};
use crate::support::Server;

/// Messages of either side.
const MESSAGES: usize = 1000;
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
    print('receipt', row.message.id, row.user_id, row.status, sep='|')
";

pub async fn django_and_chatferry_write_together_and_both_see_every_row(on: Flavour) {
    let Some(database) = Database::empty(on).await else {
        return;
    };
    if database.manage(&["migrate"]).await.is_none() {
        return;
    }
    let database = Arc::new(database);
    let server = Arc::new(database.server().await);
    let mut conversations = Vec::new();
    for number in 0..CONVERSATIONS {
        let (one, two) = (format!("a{number}"), format!("b{number}"));
        conversations.push(server.conversation_of(&one, &two).await);
    }
    let mut writing = Vec::new();
    for django in 0..DJANGOS {
        let database = Arc::clone(&database);
        writing.push(tokio::spawn(async move {
            let count = (MESSAGES / DJANGOS).to_string();
            let name = format!("django{django}");
            let script = DJANGO.replace("COUNT", &count).replace("NAME", &name);
            database.manage(&["shell", "-c", &script]).await.unwrap();
        }));
    }
    for sender in 0..SENDERS {
        let (server, conversations) = (Arc::clone(&server), conversations.clone());
        writing.push(tokio::spawn(async move {
            for number in 0..MESSAGES / SENDERS {
                let conversation = &conversations[number % CONVERSATIONS];
                write(&server, conversation, &format!("{sender} {number}")).await;
            }
        }));
    }
    for writing in writing {
        writing.await.unwrap();
    }

    let mut ours = HashSet::new();
    for conversation in &conversations {
        for message in listed(&server, conversation).await {
            let text = |name: &str| message[name].as_str().unwrap().to_owned();
            ours.insert((text("id"), conversation.clone(), text("content")));
        }
    }
    let mut theirs = HashSet::new();
    let mut receipts = 0;
    for line in database
        .manage(&["shell", "-c", DUMP])
        .await
        .unwrap()
        .lines()
    {
        let fields: Vec<_> = line.splitn(7, '|').collect();
        if let [id, conversation, _, "False", "text", "True", content] = fields[..] {
            let row = (id.to_owned(), conversation.to_owned(), content.to_owned());
            theirs.insert(row);
        } else if let ["receipt", _, "reader", "read"] = fields[..] {
            receipts += 1;
        }
    }
    assert_eq!(ours.len(), 2 * MESSAGES);
    assert!(
        ours == theirs,
        "{:?}",
        ours.symmetric_difference(&theirs).next()
    );
    assert_eq!(receipts, 2 * MESSAGES / 10);
}

async fn write(server: &Server, conversation: &str, content: &str) {
    let path = format!("/api/chat/conversations/{conversation}/messages/send/");
    let body = json!({"sender_id": "chatferry", "content": content});
    let sent = server.post(&path, body).await;
    assert_eq!(sent.status, 201, "{}", sent.text());
    if content.ends_with('0') {
        let sent = sent.json();
        let path = format!("/api/chat/messages/{}/read/", sent["id"].as_str().unwrap());
        let marked = server.put(&path, json!({"user_id": "reader"})).await;
        assert_eq!(marked.status, 200, "{}", marked.text());
    }
}

async fn listed(server: &Server, conversation: &str) -> Vec<Value> {
    let path = format!("/api/chat/conversations/{conversation}/messages/");
    let messages = server.get(&path).await.json();
    messages.as_array().unwrap().clone()
}
