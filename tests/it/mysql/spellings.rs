//! Ids that only the collation takes for one, under `auth.policy = participants`: nobody is given
//! what is another's.

use serde_json::{Value, json};

use super::{database::Database, instance::Flavour};
use crate::{
    auth::{token::BY_SECRET, wire::Caller},
    support::{Answer, Directory, Server, process::run},
};

/// What `utf8mb4_unicode_ci` takes for `victor`: letters of another case, with accents, in another
/// form, in full width, with what it passes over.
const SPELLINGS: [&str; 7] = [
    "Victor",
    "VICTOR",
    "vict\u{f3}r",
    "victo\u{301}r",
    "\u{ff56}ictor",
    "vic\u{200b}tor",
    "\u{24e5}ictor",
];

/// A server on the database whose callers are known by tokens and held to what is theirs.
async fn strict(database: &Database) -> Server {
    let policy = [("auth.policy", "participants")];
    database
        .server_with(&[&BY_SECRET[..], &policy].concat())
        .await
}

async fn open(server: &Server, caller: &str, one: &str, two: &str) -> Answer {
    let body = json!({"participant1_id": one, "participant2_id": two});
    Caller::known(server, caller)
        .ask("POST", "conversations/", Some(&body))
        .await
}

async fn mark(server: &Server, user: &str, message: &str) -> Answer {
    let path = format!("messages/{message}/read/");
    let body = json!({"user_id": user});
    Caller::known(server, user)
        .ask("PUT", &path, Some(&body))
        .await
}

/// Stores a conversation of these two, as a Django without a policy does.
async fn stored(database: &Database, id: u8, one: &str, two: &str) -> String {
    let id = format!("00000000-0000-4000-8000-0000000000{id:02}");
    let sql = format!(
        "INSERT INTO conversations (id, participant1_id, participant2_id, created_at, updated_at, \
         is_active) SELECT {}, '{one}', '{two}', now(6), now(6), 1",
        Database::id(&id)
    );
    database.run(&sql).await;
    id
}

pub async fn another_spelling_of_a_user_is_refused_and_shown_nothing(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let server = strict(&database).await;
    let made = open(&server, "squatbob", "squatbob", "victor").await;
    assert_eq!(made.status, 201);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    open(&server, "victor", "victor", "dora").await;
    for other in SPELLINGS {
        let mut refusals = Vec::new();
        for (caller, one, two) in [
            // Whoever is in the conversation of the other spelling, and whoever is not.
            ("squatbob", "squatbob", other),
            ("squatbob", other, "squatbob"),
            (other, other, "squatbob"),
            (other, "dora", other),
            ("dora", "dora", other),
        ] {
            let answer = open(&server, caller, one, two).await;
            assert_eq!(answer.status, 409, "{caller} asks for {one:?} and {two:?}");
            refusals.push((answer.headers.clone(), answer.text().to_owned()));
        }
        refusals.dedup();
        assert_eq!(refusals.len(), 1, "one answer for all: {refusals:?}");
        assert!(!refusals[0].1.contains("victor"), "{refusals:?}");
        let them = Caller::known(&server, other);
        let path = format!("users/{}/conversations/", encoded(other));
        assert_eq!(them.ask("GET", &path, None).await.text(), "[]");
        let path = format!("conversations/{id}/");
        assert_eq!(them.ask("GET", &path, None).await.status, 404);
        assert!(them.socket(&id).await.is_err());
    }
    let again = open(&server, "victor", "victor", "squatbob").await;
    assert_eq!((again.status, &again.json()["id"]), (200, &json!(id)));
    let rows = "SELECT count(*) FROM conversations";
    assert_eq!(database.value::<u64>(rows).await, 2);
}

fn encoded(text: &str) -> String {
    let bytes = text.bytes().map(|byte| format!("%{byte:02X}"));
    bytes.collect()
}

pub async fn exactly_the_ids_that_were_asked_for_come_first(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let server = strict(&database).await;
    // The unique key knows one order of a pair only: Django can make both in a race.
    let first = stored(&database, 1, "Alice", "bob").await;
    let second = stored(&database, 2, "bob", "alice").await;
    for (caller, id) in [("Alice", &first), ("alice", &second)] {
        for pair in [[caller, "bob"], ["bob", caller]] {
            let found = open(&server, caller, pair[0], pair[1]).await;
            assert_eq!((found.status, &found.json()["id"]), (200, &json!(id)));
        }
        let path = format!("users/{caller}/conversations/");
        let listed = Caller::known(&server, caller).ask("GET", &path, None).await;
        let ids: Vec<Value> = listed.json().as_array().unwrap().clone();
        assert_eq!(ids.len(), 1);
        assert_eq!(ids[0]["id"], json!(id));
    }
    assert_eq!(open(&server, "bob", "bob", "ALICE").await.status, 409);
}

pub async fn of_two_spellings_at_once_one_has_the_conversation(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let (here, there) = (strict(&database).await, strict(&database).await);
    for round in 0..12 {
        let other = format!("user{round}");
        let (one, two) = tokio::join!(
            open(&here, "alice", "alice", &other),
            open(&there, "Alice", &other, "Alice"),
        );
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{round}");
    }
    let rows = "SELECT count(*) FROM conversations";
    assert_eq!(database.value::<u64>(rows).await, 12);
}

pub async fn a_receipt_of_another_spelling_is_neither_shown_nor_raised(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let server = strict(&database).await;
    let id = stored(&database, 1, "Alice", "alice").await;
    let alice = Caller::known(&server, "alice");
    let path = format!("conversations/{id}/messages/send/");
    let body = json!({"sender_id": "alice", "content": "x"});
    let sent = alice.ask("POST", &path, Some(&body)).await.json();
    let message = sent["id"].as_str().unwrap();
    let receipt = "00000000-0000-4000-8000-000000000099";
    database
        .run(&format!(
            "INSERT INTO delivery_receipts (id, message_id, user_id, status, timestamp) \
             SELECT {}, {}, 'alice', 'sent', now(6)",
            Database::id(receipt),
            Database::id(message)
        ))
        .await;
    let refused = mark(&server, "Alice", message).await;
    assert_eq!(refused.status, 409);
    assert!(!refused.text().contains(receipt), "{}", refused.text());
    let status = "SELECT status FROM delivery_receipts";
    assert_eq!(database.value::<String>(status).await, "sent");

    let mut socket = Caller::known(&server, "Alice")
        .socket(&id)
        .await
        .ok()
        .unwrap();
    socket.history().await;
    let frame = json!({"type": "mark_as_read", "user_id": "Alice", "message_id": message});
    socket.send(&frame).await;
    let told = socket.json().await["error"].clone();
    assert_eq!(told, refused.json()["detail"], "and nobody else is told");
    assert_eq!(database.value::<String>(status).await, "sent");

    let marked = mark(&server, "alice", message).await;
    assert_eq!(
        (marked.status, &marked.json()["id"]),
        (200, &json!(receipt))
    );
    assert_eq!(database.value::<String>(status).await, "read");
}

pub async fn check_warns_of_the_collation_and_an_exact_one_tells_everybody_apart(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let directory = Directory::new();
    let url = format!("store.url={}", database.url);
    let policy = [&BY_SECRET[..], &[("auth.policy", "participants")]].concat();
    let policy: Vec<String> = policy
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mut strict_check = vec!["check", "--set", &url];
    for setting in &policy {
        strict_check.extend(["--set", setting]);
    }
    let checked = run(&directory, &strict_check).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(
        checked.stdout.ends_with("Everything else is fine.\n"),
        "{checked:?}"
    );
    for column in [
        "conversations.participant1_id (utf8mb4_unicode_ci)",
        "conversations.participant2_id (utf8mb4_unicode_ci)",
        "delivery_receipts.user_id (utf8mb4_unicode_ci)",
    ] {
        assert!(checked.stderr.contains(column), "{}", checked.stderr);
    }
    let open_check = run(&directory, &["check", "--set", &url]).await;
    // Nobody is told apart.
    assert!(
        open_check.stdout.ends_with("Everything is fine.\n"),
        "{open_check:?}"
    );

    let exact = match on {
        Flavour::MariaDb => "utf8mb4_nopad_bin",
        Flavour::MySql => "utf8mb4_0900_bin",
    };
    for (table, column) in [
        ("conversations", "participant1_id"),
        ("conversations", "participant2_id"),
        ("delivery_receipts", "user_id"),
    ] {
        let sql =
            format!("ALTER TABLE {table} MODIFY {column} varchar(255) COLLATE {exact} NOT NULL");
        database.run(&sql).await;
    }
    let checked = run(&directory, &strict_check).await;
    assert_eq!(checked.stderr, "");
    assert!(
        checked.stdout.ends_with("Everything is fine.\n"),
        "{checked:?}"
    );
    let server = strict(&database).await;
    for spelling in SPELLINGS {
        assert_eq!(
            open(&server, "bob", "bob", spelling).await.status,
            201,
            "{spelling}"
        );
    }
}
