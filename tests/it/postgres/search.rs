//! Searches by the index that `chatferry migrate --search` makes.

use chatferry::store;

use super::database::Database;
use crate::{
    native::{
        api::{get, say},
        api_overview::{a_search_finds_a_text_in_any_language, told},
        groups::group,
    },
    support::server::schema_of,
};

const NEEDLE: &str = "%EB%B0%94%EB%8A%98";

/// Stores many messages as Django would, newer than all others.
async fn fill(database: &Database, conversation: &str, count: usize) {
    let sql = format!(
        "INSERT INTO messages SELECT gen_random_uuid(), 'bob', '건초 hay ' || n, 'text', \
         now() + n * interval '1 second', now(), false, '{conversation}' \
         FROM generate_series(1, {count}) AS n"
    );
    database.run(&sql).await;
}

async fn index(database: &Database, dry_run: bool) -> Vec<String> {
    let config = database.config(&[]);
    let schema = schema_of(&config);
    let made = store::index_for_search(&config, &schema, dry_run);
    made.await.unwrap()
}

#[tokio::test]
async fn an_index_reaches_farther_and_finds_the_same() {
    let Some(database) = Database::with_letters().await else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation_of("alice", "bob").await;
    for content in [
        "숨은 바늘",
        "숨은 바\u{1102}\u{1173}\u{11af}",
        "the STRAßE 100%",
    ] {
        say(&server, &id, "bob", content).await;
    }
    fill(&database, &id, 2500).await;
    let search = async |query: &str| {
        let page = get(&server, &format!("search?user=alice&{query}")).await;
        (told(&page), page["before"].is_null())
    };
    let needle = format!("q={NEEDLE}");
    assert_eq!(search(&needle).await, (vec![], false), "one by one");
    // A running server takes the index up, and does without it again.
    let planned = index(&database, true).await;
    assert_eq!(search(&needle).await, (vec![], false), "only planned");
    assert_eq!(index(&database, false).await, planned);
    assert_eq!(index(&database, false).await, [""; 0], "made once");
    let both = vec![
        "숨은 바\u{1102}\u{1173}\u{11af}".to_owned(),
        "숨은 바늘".to_owned(),
    ];
    assert_eq!(search(&needle).await, (both, true));
    for query in [
        "q=strasse",
        "q=stra%C3%9Fe%20100%25",
        "q=%EF%BD%93%EF%BD%94rasse",
    ] {
        assert_eq!(search(query).await.0, ["the STRAßE 100%"], "{query}");
    }
    assert_eq!(search("q=strasse%20200").await, (vec![], true));
    // A text that an index cannot tell from others is searched one by one.
    assert_eq!(search("q=%25").await, (vec![], false));
    assert_eq!(search("q=hay&limit=1").await.0, ["건초 hay 2500"]);
    let sql = "UPDATE messages SET is_deleted = true WHERE content = '숨은 바늘'";
    database.run(sql).await;
    assert_eq!(search(&needle).await.0.len(), 1);
    database.run("DROP INDEX chatferry_search_messages").await;
    assert_eq!(search(&needle).await, (vec![], false), "undone");
}

#[tokio::test]
async fn an_index_answers_as_no_index_does() {
    let Some(database) = Database::with_letters().await else {
        return;
    };
    index(&database, false).await;
    a_search_finds_a_text_in_any_language(&database.server().await).await;
}

#[tokio::test]
async fn messages_of_groups_are_found_by_their_own_index() {
    let Some(database) = Database::with_letters().await else {
        return;
    };
    let server = database.server().await;
    let id = group(&server, &["ann", "bea", "cleo"]).await;
    let pair = server.conversation_of("ann", "bea").await;
    say(&server, &id, "bea", "점심은 김밥").await;
    say(&server, &pair, "bea", "내일 점심").await;
    index(&database, false).await;
    let names: Vec<String> = database
        .values("SELECT indexname::text FROM pg_indexes WHERE indexname LIKE 'chatferry_search%' ORDER BY 1")
        .await;
    assert_eq!(
        names,
        [
            "chatferry_search_chatferry_messages",
            "chatferry_search_messages"
        ]
    );
    let lunch = "q=%EC%A0%90%EC%8B%AC";
    let found = get(&server, &format!("search?user=ann&{lunch}")).await;
    assert_eq!(told(&found), ["내일 점심", "점심은 김밥"]);
    let found = get(&server, &format!("search?user=cleo&{lunch}")).await;
    assert_eq!(told(&found), ["점심은 김밥"]);
}

/// A database of the locale C takes letters of ASCII for letters, and no others.
#[tokio::test]
async fn without_a_locale_only_ascii_is_found_by_the_index() {
    let Some(database) = Database::new().await else {
        return;
    };
    index(&database, false).await;
    let server = database.server().await;
    let id = server.conversation_of("alice", "bob").await;
    say(&server, &id, "bob", "바늘 needle").await;
    let found = get(&server, &format!("search?user=alice&q={NEEDLE}")).await;
    assert_eq!(told(&found), ["바늘 needle"]);
    fill(&database, &id, 2500).await;
    let found = get(&server, &format!("search?user=alice&q={NEEDLE}")).await;
    assert_eq!(told(&found), [""; 0]);
    assert!(!found["before"].is_null());
    let found = get(&server, "search?user=alice&q=needle").await;
    assert_eq!(told(&found), ["바늘 needle"]);
}
