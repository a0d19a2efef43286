//! Rows as they are written and read back, whatever the database.

use chatferry::{
    chat::{NewMessage, id},
    id::ConversationId,
    python::datetime::Timestamp,
    store::history::{Deleted, PAGE_BYTES, Page},
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

/// The newest messages of several conversations are read together, and are the same as of each by
/// itself; what does not fit a page any more is left out.
pub async fn the_newest_messages_of_several_are_read_together(server: &Server) {
    let store = &server.app.store;
    let mut ids = Vec::new();
    for (user, contents) in [
        ("some", vec!["1", "2", "3"]),
        ("none", vec![]),
        ("long", vec![&*"가".repeat(PAGE_BYTES / 6); 4]),
        ("few", vec!["4", "5"]),
    ] {
        let id = server.conversation_of(user, "bob").await;
        let id: ConversationId = id.parse().unwrap();
        for content in contents.into_iter().chain(["gone"]) {
            let new = NewMessage {
                id: None,
                conversation_id: id,
                sender_id: "bob".to_owned(),
                content: content.to_owned(),
                message_type: "text".to_owned(),
                is_deleted: content == "gone",
                attachments: Vec::new(),
            };
            let stored = store.insert_message(new, Box::new(|_| {})).await;
            stored.unwrap().unwrap();
        }
        ids.push(id);
    }
    let [some, none, long, few] = ids[..] else {
        unreachable!()
    };
    let alone = async |id, limit| {
        let page = store.newest_messages(id, Deleted::Skipped, limit).await;
        shown(&page.unwrap())
    };
    for limit in [1, 2, 3, 500] {
        let together = store.newest_of(&[few, none, some], limit).await.unwrap();
        let together: Vec<_> = together.iter().map(shown).collect();
        let each = [few, none, some].map(|id| alone(id, limit));
        let [few, none, some] = each;
        assert_eq!(together, [few.await, none.await, some.await], "{limit}");
    }
    let first = store.newest_of(&[long, few], 500).await.unwrap();
    assert!(first[0].is_full && !first[0].messages.is_empty());
    assert_eq!(shown(&first[0]), alone(long, 500).await);
    assert_eq!(first.len(), 1);
    let whole = store.newest_of(&[some, long, few], 500).await.unwrap();
    assert_eq!(shown(&whole[0]), alone(some, 500).await);
    assert!(whole.len() < 3);
}

/// The contents of a page, and whether there may be more.
fn shown(page: &Page) -> (Vec<String>, bool) {
    let contents = page.messages.iter().map(|it| it.content.clone());
    (contents.collect(), page.is_full)
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
        let marked = store
            .mark_read(message.parse().unwrap(), user.into(), Box::new(|_| {}))
            .await;
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
