//! Rows as they are written and read back, whatever the database.

use chatferry::{
    chat::id, id::ConversationId, python::datetime::Timestamp, store::history::PAGE_BYTES,
};
use serde_json::json;

use super::{Server, id_of};

/// Of messages that are long only a few fit a page.
pub async fn long_messages_make_short_pages(server: &Server) {
    let id = server.conversation().await;
    let mut contents = Vec::new();
    for number in 0..7 {
        contents.push(format!("{number}{}", "가".repeat(PAGE_BYTES / 6)));
        server.stored(&id, "alice", &contents[number]).await;
    }
    assert_eq!(server.contents(&id).await, contents);
    let (mut socket, history) = server.join(&id).await;
    let told = history.iter().map(|message| &message["content"]);
    assert!(told.eq(&contents));
    socket.works().await;
}

/// A conversation of messages that are numbers, each thousandth of them deleted, is shown with all of
/// them in order, by itself and in the list of a participant's.
pub async fn a_long_conversation_is_shown_whole(
    server: &Server,
    id: &str,
    user: &str,
    rows: usize,
) {
    let shown = server.get(&format!("/api/chat/conversations/{id}/")).await;
    let shown = shown.json();
    let told = shown["messages"].as_array().unwrap();
    assert_eq!(told.len(), rows);
    for (number, message) in told.iter().enumerate() {
        assert_eq!(message["content"], number.to_string());
        assert_eq!(message["is_deleted"], number % 1000 == 0);
    }
    assert_eq!(shown["last_message"], told[rows - 1]);
    let list = format!("/api/chat/users/{user}/conversations/");
    assert_eq!(server.get(&list).await.json(), json!([shown]));
}

/// Ids of 255 characters fit, whatever their size; longer ones are the caller's mistake.
pub async fn the_longest_ids_fit(server: &Server) {
    for longest in ["가".repeat(255), "😀".repeat(255)] {
        let id = server.conversation_of(&longest, "bob").await;
        assert_eq!(server.conversation_of("bob", &longest).await, id);
    }
    let body = json!({"participant1_id": "a".repeat(256), "participant2_id": "bob"});
    let answer = server.post("/api/chat/conversations/", body).await;
    assert_eq!(answer.status, 400);
}

/// Marks alice's message as read by bob, who has had it `delivered` at 03:04:05.000006 UTC on
/// 2 January 2020: the receipt keeps its id and time.
pub async fn a_mark_keeps_id_and_time(server: &Server, message: &str, receipt: &str) {
    let path = format!("/api/chat/messages/{message}/read/");
    let marked = server.put(&path, json!({"user_id": "bob"})).await.json();
    assert_eq!(marked["id"], receipt);
    assert_eq!(marked["status"], "read");
    assert_eq!(marked["timestamp"], "2020-01-02T12:04:05.000006+09:00");
}

/// Read marks are found by the newest messages of each conversation, by when they were made, and by
/// their ids.
pub async fn the_marks_of_the_newest_messages_are_found(server: &Server) {
    let store = &server.app.store;
    let (here, there) = (
        server.conversation().await,
        server.conversation_of("carol", "dave").await,
    );
    let [here_id, there_id] = [&here, &there].map(|id| id.parse().unwrap());
    let mark = async |conversation: &str, user: &str| {
        let message = id_of(&server.stored(conversation, "alice", "x").await);
        let marked = store.mark_read(message.parse().unwrap(), user.into()).await;
        marked.unwrap().unwrap()
    };
    let oldest = mark(&here, "one").await;
    let other = mark(&there, "two").await;
    let newer = mark(&here, "three").await;
    let newest = mark(&here, "four").await;
    let after = |time: Timestamp| Timestamp::from_micros(time.micros() + 1);
    let (first, end) = (oldest.timestamp, after(newest.timestamp));
    let found = async |newest: &[(ConversationId, usize)], between, most| {
        let found = store.marked_between(newest, between, most).await.unwrap();
        assert_eq!(found.unreadable, 0);
        found.marks
    };
    let both = [(here_id, 2), (there_id, 10)];
    let all = [
        (there_id, other.clone()),
        (here_id, newer.clone()),
        (here_id, newest.clone()),
    ];
    assert_eq!(found(&both, (first, end), 9).await, all);
    assert_eq!(found(&[(here_id, 9)], (first, end), 9).await.len(), 3);
    let later = (after(other.timestamp), newest.timestamp);
    assert_eq!(found(&both, later, 9).await, all[1..2]);
    assert_eq!(found(&both, (first, end), 2).await.len(), 2);
    assert!(found(&[], (first, end), 9).await.is_empty());

    let by_id = async |of: &[ConversationId], between, most| {
        let found = store.marked_by_id(of, between, most).await.unwrap();
        assert_eq!(found.unreadable, 0);
        found.marks
    };
    let next = Timestamp::from_micros(newest.timestamp.micros() + 1000);
    let whole = (id::first(first).into(), id::first(next).into());
    let mut all = all.to_vec();
    all.insert(0, (here_id, oldest));
    assert_eq!(by_id(&[here_id, there_id], whole, 9).await, all);
    assert_eq!(by_id(&[here_id, there_id], whole, 2).await, all[..2]);
    assert_eq!(by_id(&[there_id], whole, 9).await, all[1..2]);
    let between = (other.id, newest.id);
    assert_eq!(by_id(&[here_id], between, 9).await, all[2..3]);
    assert!(by_id(&[], whole, 9).await.is_empty());
}

/// A message of alice's in a conversation of its own; its id.
pub async fn a_message(server: &Server) -> String {
    let conversation = server.conversation().await;
    id_of(&server.stored(&conversation, "alice", "x").await)
}
