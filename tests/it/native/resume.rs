//! History, and coming back.

use std::collections::HashSet;

use chatferry::{service::RESUME_MAX, store::history::PAGE_MESSAGES};
use serde_json::{Value, json};

use super::{Client, contents};
use crate::{socket::history::fill, support::Server};

fn ids(frame: &Value) -> Vec<String> {
    let messages = frame["messages"].as_array().unwrap().iter();
    let id = |it: &Value| it["id"].as_str().unwrap().to_owned();
    messages.map(id).collect()
}

#[tokio::test]
async fn a_history_is_read_backwards_to_its_beginning() {
    let server = Server::start().await;
    let id = server.conversation().await;
    fill(&server.directory, &id, 120, "x");
    let mut alice = Client::open(&server).await;
    let mut page = alice.subscribe(&id, None).await;
    assert_eq!(contents(&page)[0], "70 x");
    assert_eq!(
        (&page["reload"], &page["next"]),
        (&json!(false), &json!(null))
    );
    let mut whole = ids(&page);
    while let Some(before) = page["before"].as_str() {
        let asked = json!({"type": "history", "conversation": id, "before": before, "limit": 30});
        page = alice.ask(asked).await;
        assert_eq!(page["type"], "page");
        whole.splice(0..0, ids(&page));
    }
    assert_eq!(whole.len(), 120);
    let distinct: HashSet<_> = whole.iter().collect();
    assert_eq!(distinct.len(), 120);
}

#[tokio::test]
async fn who_comes_back_is_told_all_that_was_missed_page_by_page() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let cursor = Client::open(&server).await.subscribe(&id, None).await["cursor"].clone();
    let many = PAGE_MESSAGES * 2 + 10;
    let mut socket = server.socket(&id).await;
    for number in 0..many {
        socket.say(&number.to_string()).await;
    }
    for _ in 0..many {
        socket.heard().await;
    }
    let mut alice = Client::open(&server).await;
    let mut page = alice.subscribe(&id, Some(&cursor)).await;
    assert_eq!(page["reload"], false);
    let mut shown = contents(&page)
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    while let Some(next) = page["next"].as_str() {
        let asked = json!({"type": "history", "conversation": id, "after": next, "limit": 400});
        page = alice.ask(asked).await;
        shown.extend(contents(&page).iter().map(ToString::to_string));
    }
    let all: Vec<String> = (0..many).map(|number| number.to_string()).collect();
    assert_eq!(shown, all);
}

#[tokio::test]
async fn what_another_process_has_committed_late_is_told_as_well() {
    let server = Server::start().await;
    let id = server.conversation().await;
    server.stored(&id, "alice", "seen").await;
    let cursor = Client::open(&server).await.subscribe(&id, None).await["cursor"].clone();
    let late = "INSERT INTO messages SELECT lower(hex(randomblob(16))), 'bob', 'late', 'text', \
                strftime('%Y-%m-%d %H:%M:%S', 'now', '-60 seconds'), created_at, 0, conversation_id \
                FROM messages";
    server.directory.open().execute(late, []).unwrap();
    let page = Client::open(&server)
        .await
        .subscribe(&id, Some(&cursor))
        .await;
    assert!(contents(&page).contains(&"late"), "{page}");
}

#[tokio::test]
async fn who_missed_too_much_is_told_to_begin_anew() {
    let server = Server::start().await;
    let id = server.conversation().await;
    fill(&server.directory, &id, RESUME_MAX + 1, "x");
    // Before the first of them.
    let long_ago = json!(format!("1500000000000000.{}", "0".repeat(32)));
    let page = Client::open(&server)
        .await
        .subscribe(&id, Some(&long_ago))
        .await;
    assert_eq!(page["reload"], true);
    assert_eq!(contents(&page).last(), Some(&"5000 x"));
    assert!(page["before"].is_string());
}

#[tokio::test]
async fn what_is_said_between_two_pages_is_told_live() {
    let server = Server::start().await;
    let id = server.conversation().await;
    let mut alice = Client::open(&server).await;
    let first = alice.subscribe(&id, None).await;
    server.socket(&id).await.say("live").await;
    let live = alice.next().await;
    assert_eq!(live["message"]["content"], "live");
    // It comes again under the same id, and nothing else does.
    for cursor in [&first["cursor"], &live["cursor"]] {
        let mut again = Client::open(&server).await;
        let page = again.subscribe(&id, Some(cursor)).await;
        assert_eq!(ids(&page), [live["message"]["id"].as_str().unwrap()]);
        again.hears_nothing().await;
    }
}
