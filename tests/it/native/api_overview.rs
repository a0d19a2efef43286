//! Lists, inbox and search of the REST API, which each database must get right.

use serde_json::{Value, json};

use super::api::{ask, get, say};
use crate::{
    socket::history::fill,
    support::{Server, http::id_of},
};

/// The contents of messages of several conversations.
pub fn told(page: &Value) -> Vec<String> {
    let all = page["messages"].as_array().unwrap().iter();
    let content = |it: &Value| it["message"]["content"].as_str().unwrap().to_owned();
    all.map(content).collect()
}

/// Reads all pages of a list of conversations.
async fn listed(server: &Server, user: &str, limit: usize) -> Vec<Value> {
    let mut all = Vec::new();
    let mut path = format!("conversations?user={user}&limit={limit}");
    loop {
        let page = get(server, &path).await;
        let some = page["conversations"].as_array().unwrap();
        assert!(some.len() <= limit);
        all.extend(some.clone());
        match page["next"].as_str() {
            Some(next) => path = format!("conversations?user={user}&limit={limit}&after={next}"),
            None => return all,
        }
    }
}

/// Conversations are listed by their latest message, in pages; those of others and deleted messages
/// do not count.
pub async fn conversations_are_listed_by_their_latest_message(server: &Server) {
    let mut ids = Vec::new();
    for other in ["b", "c", "d", "e", "f"] {
        ids.push(server.conversation_of("ann", other).await);
    }
    let foreign = server.conversation_of("b", "c").await;
    // The first becomes the latest, and the last has none.
    for of in [3, 2, 1, 0] {
        say(server, &ids[of], "ann", &format!("hello {of}")).await;
        say(server, &ids[of], "zoe", &format!("last {of}")).await;
    }
    say(server, &foreign, "b", "of others").await;
    let expected: Vec<&str> = [0, 1, 2, 3, 4].map(|of| ids[of].as_str()).to_vec();
    for limit in [1, 2, 3, 100] {
        let all = listed(server, "ann", limit).await;
        let found: Vec<String> = all.iter().map(id_of).collect();
        assert_eq!(found, expected, "{limit}");
        assert_eq!(all[1]["last"]["content"], "last 1");
        assert_eq!(
            (&all[1]["unread"], &all[4]["unread"]),
            (&json!(1), &json!(0))
        );
        assert_eq!(all[4]["last"], json!(null));
    }
    assert_eq!(listed(server, "nobody", 50).await, [json!(null); 0]);
}

/// The inbox has the messages of all conversations in one order, and goes on behind a cursor.
pub async fn an_inbox_has_the_messages_of_all_conversations(server: &Server) {
    let ids = [
        server.conversation_of("ida", "b").await,
        server.conversation_of("c", "ida").await,
    ];
    server.conversation_of("ida", "silent").await;
    let foreign = server.conversation_of("b", "c").await;
    let mut all = Vec::new();
    let empty = get(server, "inbox?user=ida").await;
    assert_eq!((told(&empty).len(), &empty["next"]), (0, &json!(null)));
    for number in 0..9 {
        all.push(number.to_string());
        say(server, &ids[number % 2], "ida", &all[number]).await;
        say(server, &foreign, "b", "of others").await;
    }
    let newest = get(server, "inbox?user=ida&limit=4").await;
    assert_eq!(told(&newest), all[5..]);
    assert_eq!(newest["messages"][0]["conversation"], json!(ids[1]));
    let (mut shown, mut after) = (Vec::new(), empty["cursor"].clone());
    loop {
        let path = format!("inbox?user=ida&limit=4&after={}", after.as_str().unwrap());
        let page = get(server, &path).await;
        shown.extend(told(&page));
        after = page["next"].clone();
        if after.is_null() {
            // All of it may be shown again: others may commit late.
            let path = format!("inbox?user=ida&after={}", page["cursor"].as_str().unwrap());
            assert_eq!(told(&get(server, &path).await), all);
            break;
        }
        assert_eq!(page["cursor"], json!(null));
    }
    assert_eq!(shown, all);
}

/// A search finds a text in any language and either case, the newest first, and in the user's
/// conversations only.
pub async fn a_search_finds_a_text_in_any_language(server: &Server) {
    let ids = [
        server.conversation_of("sue", "b").await,
        server.conversation_of("c", "sue").await,
    ];
    let foreign = server.conversation_of("b", "c").await;
    for (id, content) in [
        (&ids[0], "내일 점심 같이 먹을래요?"),
        (&ids[1], "Straße 100% _new_"),
        (&foreign, "점심 of others"),
        (&ids[1], "점심은 김밥"),
        (&ids[0], "LUNCH"),
    ] {
        say(server, id, "b", content).await;
    }
    let found = async |query: &str| {
        let page = get(server, &format!("search?user=sue&{query}")).await;
        assert_eq!(page["before"], json!(null), "{query}");
        told(&page)
    };
    let korean = "q=%EC%A0%90%EC%8B%AC";
    assert_eq!(
        found(korean).await,
        ["점심은 김밥", "내일 점심 같이 먹을래요?"]
    );
    // The same in letters, as some systems write it.
    let letters = "q=%E1%84%8C%E1%85%A5%E1%86%B7%E1%84%89%E1%85%B5%E1%86%B7";
    assert_eq!(found(letters).await.len(), 2);
    assert_eq!(found("q=lunch").await, ["LUNCH"]);
    assert_eq!(found("q=STRASSE").await, ["Straße 100% _new_"]);
    for literal in ["100%25", "_new_", "stra%C3%9Fe"] {
        assert_eq!(found(&format!("q={literal}")).await, ["Straße 100% _new_"]);
    }
    assert_eq!(found("q=%25").await.len(), 1);
    assert_eq!(
        found(&format!("{korean}&conversation={}", ids[1])).await,
        ["점심은 김밥"]
    );
    assert_eq!(found("q=nothing").await, [""; 0]);
    let first = get(server, &format!("search?user=sue&limit=1&{korean}")).await;
    assert_eq!(told(&first), ["점심은 김밥"]);
    let before = first["before"].as_str().unwrap();
    let path = format!("search?user=sue&limit=1&{korean}&before={before}");
    assert_eq!(
        told(&get(server, &path).await),
        ["내일 점심 같이 먹을래요?"]
    );
}

#[tokio::test]
async fn conversations_are_listed_by_their_latest_message_in_sqlite() {
    conversations_are_listed_by_their_latest_message(&Server::start().await).await;
}

#[tokio::test]
async fn an_inbox_has_the_messages_of_all_conversations_in_sqlite() {
    an_inbox_has_the_messages_of_all_conversations(&Server::start().await).await;
}

#[tokio::test]
async fn a_search_finds_a_text_in_any_language_in_sqlite() {
    a_search_finds_a_text_in_any_language(&Server::start().await).await;
}

#[tokio::test]
async fn one_search_looks_at_so_many_messages_and_the_next_goes_on() {
    let server = Server::start().await;
    let id = server.conversation_of("alice", "bob").await;
    say(&server, &id, "bob", "the needle").await;
    // Django's rows, all of later times.
    fill(&server.directory, &id, 2500, "hay");
    let sql = "UPDATE messages SET created_at = '2025-12-31 00:00:00' WHERE content = 'the needle'";
    assert_eq!(server.directory.open().execute(sql, []).unwrap(), 1);
    let first = get(&server, "search?user=alice&q=needle").await;
    assert_eq!(told(&first), [""; 0]);
    let before = first["before"].as_str().unwrap();
    let path = format!("search?user=alice&q=needle&before={before}");
    let second = get(&server, &path).await;
    assert_eq!(
        (told(&second), &second["before"]),
        (vec!["the needle".to_owned()], &json!(null))
    );
    for wrong in [
        "",
        "&q=",
        &format!("&q={}", "x".repeat(201)),
        "&q=x&conversation=7",
    ] {
        let refused = ask(&server, "GET", &format!("search?user=alice{wrong}"), None).await;
        assert_eq!(refused.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn long_messages_make_an_answer_to_a_search_short_and_lose_none() {
    const LONG: usize = 100_000;
    let server = Server::start().await;
    let id = server.conversation_of("alice", "bob").await;
    // The rare ones stand behind more than one request looks at.
    for (text, count) in [("rare", 3), ("hay", 90), ("straw", 7)] {
        fill(
            &server.directory,
            &id,
            count,
            &text.repeat(LONG / text.len()),
        );
    }
    for (text, count) in [("rare", 3), ("straw", 7)] {
        let (mut found, mut asked) = (0, 0);
        let mut path = format!("search?user=alice&limit=500&q={text}");
        loop {
            let page = get(&server, &path).await;
            let some = told(&page);
            let bytes: usize = some.iter().map(String::len).sum();
            assert!(bytes < 400_000, "{bytes} bytes in one answer");
            (found, asked) = (found + some.len(), asked + 1);
            match page["before"].as_str() {
                Some(before) => {
                    path = format!("search?user=alice&limit=500&q={text}&before={before}");
                }
                None => break,
            }
        }
        assert_eq!(found, count, "{text}");
        assert!(asked > 1, "{text}");
    }
}
