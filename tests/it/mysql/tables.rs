//! Whose tables they are: Django's, whoever made them.

use crate::support::server::schema_of;
use chatferry::{server::Site, store};

use super::{database::Database, instance::Flavour};

/// Statements that make all tables: Django's three, its own notes, what is noted there, and those of
/// our own.
fn statements(database: &Database) -> usize {
    let schema = schema_of(&database.config(&[]));
    let own = schema
        .own_tables()
        .map(|own| own.statements(|own| own.mysql));
    5 + own.flatten().count()
}

pub async fn migrate_makes_djangos_tables_and_django_then_finds_nothing_to_do(on: Flavour) {
    let (Some(ours), Some(theirs)) = (Database::empty(on).await, Database::empty(on).await) else {
        return;
    };
    assert_eq!(ours.migrate().await.unwrap().len(), statements(&ours));
    let Some(printed) = ours.manage(&["migrate"]).await else {
        return;
    };
    assert!(!printed.contains("chat.0001_initial"), "{printed}");
    ours.manage(&["makemigrations", "--check", "--dry-run"])
        .await;
    assert!(ours.migrate().await.unwrap().is_empty());
    theirs.manage(&["migrate"]).await;
    assert_eq!(ours.schema().await, theirs.schema().await);
}

pub async fn tables_that_django_made_are_taken_as_they_are(on: Flavour) {
    let Some(database) = Database::empty(on).await else {
        return;
    };
    if database.manage(&["migrate"]).await.is_none() {
        return;
    }
    let before = database.schema().await;
    assert!(database.findings().await.is_empty());
    // Only what is ours alone.
    let made = database.migrate().await.unwrap();
    assert!(made.iter().all(|sql| sql.contains("chatferry_")));
    assert!(database.migrate().await.unwrap().is_empty());
    database
        .manage(&["makemigrations", "--check", "--dry-run"])
        .await;
    assert_eq!(database.schema().await, before);
    let notes = "SELECT count(*) FROM django_migrations WHERE app = 'chat'";
    assert_eq!(database.value::<u64>(notes).await, 1);
    let server = database.server().await;
    let id = server.conversation().await;
    assert!(server.contents(&id).await.is_empty());
}

pub async fn many_processes_may_migrate_at_once(on: Flavour) {
    let Some(database) = Database::empty(on).await else {
        return;
    };
    let mut migrating = Vec::new();
    for _ in 0..8 {
        let config = database.config(&[]);
        migrating.push(tokio::spawn(async move {
            store::migrate(&config, &schema_of(&config)).await
        }));
    }
    let mut ran = Vec::new();
    for migrating in migrating {
        ran.push(migrating.await.unwrap().unwrap().len());
    }
    ran.sort_unstable();
    assert_eq!(ran, [0, 0, 0, 0, 0, 0, 0, statements(&database)]);
    let notes = "SELECT count(*) FROM django_migrations";
    assert_eq!(database.value::<u64>(notes).await, 1);
    assert!(database.findings().await.is_empty());
}

pub async fn nothing_is_made_unasked(on: Flavour) {
    let Some(database) = Database::empty(on).await else {
        return;
    };
    let refused = Site::start(database.config(&[])).await.err().unwrap();
    let refused = refused.to_string();
    assert!(
        refused.contains("table conversations is missing: run `chatferry migrate`"),
        "{refused}"
    );
    let config = database.config(&[]);
    let planned = store::pending(&config, &schema_of(&config)).await.unwrap();
    assert_eq!(planned.len(), statements(&database));
    let tables: Vec<String> = database.values("SHOW TABLES").await;
    assert!(tables.is_empty(), "{tables:?}");
}

pub async fn ids_of_either_kind_are_found_out_from_the_tables(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let native = on == Flavour::MariaDb;
    let kind: String = database
        .value(
            "SELECT column_type FROM information_schema.columns WHERE table_schema = DATABASE() \
             AND table_name = 'messages' AND column_name = 'conversation_id'",
        )
        .await;
    assert_eq!(kind, if native { "uuid" } else { "char(32)" });
    if native {
        // What an upgrade from MariaDB 10.6 leaves behind. The missing table is made alike.
        let plain = include_str!("../../../migrations/mysql/0001_chat.sql");
        let plain = plain.lines().take(2).collect::<Vec<_>>().join("\n");
        database
            .run(&format!(
                "DROP TABLE delivery_receipts;\nDROP TABLE messages;\nDROP TABLE conversations;\n{plain}"
            ))
            .await;
        assert_eq!(database.migrate().await.unwrap().len(), 3);
        assert!(database.schema().await[2].contains("`message_id` char(32)"));
    }
    assert!(database.findings().await.is_empty());
    let server = database.server().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    socket.works().await;
    assert_eq!(server.conversation_of("bob", "alice").await, id);
    let stored: String = database.value("SELECT id FROM conversations").await;
    assert_eq!(stored, id.replace('-', ""));
}

pub async fn what_is_missing_or_different_is_named_and_what_is_new_is_left_alone(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    database
        .run(
            "ALTER TABLE messages ADD COLUMN edited_at datetime(6) NULL, \
             ADD COLUMN priority int NOT NULL DEFAULT 3",
        )
        .await;
    assert!(database.findings().await.is_empty());
    let server = database.server().await;
    let id = server.conversation().await;
    server.socket(&id).await.works().await;
    assert_eq!(
        database.value::<u8>("SELECT priority FROM messages").await,
        3
    );
    database
        .run(
            "DROP TABLE delivery_receipts;\n\
             ALTER TABLE messages DROP COLUMN is_deleted, MODIFY created_at datetime NOT NULL, \
             ADD COLUMN tenant int NOT NULL",
        )
        .await;
    let findings = database.findings().await;
    let tells = |text: &str| findings.iter().any(|finding| finding.contains(text));
    assert!(tells("column messages.is_deleted is missing"));
    assert!(tells(
        "column messages.created_at is datetime, wanted datetime(6)"
    ));
    assert!(tells("column messages.tenant must be given a value"));
    assert!(tells("table delivery_receipts is missing"));
    assert_eq!(findings.len(), 4, "{findings:?}");
    let refused = Site::start(database.config(&[])).await.err().unwrap();
    assert!(refused.to_string().contains("messages.created_at"));
}

pub async fn tables_may_have_names_of_their_own_and_no_foreign_keys(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    database
        .run(
            "ALTER TABLE messages DROP FOREIGN KEY messages_conversation_id_5ef638db_fk_conversations_id;\n\
             ALTER TABLE delivery_receipts DROP FOREIGN KEY delivery_receipts_message_id_c237a167_fk_messages_id;\n\
             RENAME TABLE conversations TO talk_conversation, messages TO talk_message, \
             delivery_receipts TO talk_receipt",
        )
        .await;
    let names = [
        ("store.tables.conversations", "talk_conversation"),
        ("store.tables.messages", "talk_message"),
        ("store.tables.delivery_receipts", "talk_receipt"),
    ];
    let server = database.server_with(&names).await;
    let id = server.conversation().await;
    server.socket(&id).await.works().await;
    let nobody = "00000000-0000-4000-8000-000000000000";
    let read = format!("/api/chat/messages/{nobody}/read/");
    let body = serde_json::json!({"user_id": "bob"});
    assert_eq!(server.put(&read, body).await.status, 404);
    database.run("DELETE FROM talk_conversation").await;
    let send = format!("/api/chat/conversations/{id}/messages/send/");
    let body = serde_json::json!({"sender_id": "alice", "content": "x"});
    assert_eq!(server.post(&send, body).await.status, 404);
    let rows = "SELECT count(*) FROM talk_message";
    assert_eq!(database.value::<u64>(rows).await, 1);
}
