//! Whose tables they are: Django's, whoever made them.

use crate::support::server::schema_of;
use chatferry::{server::Site, store};

use super::database::Database;

/// Columns, indexes and constraints of the whole schema but for our own tables, as text.
const SCHEMA: &str = "
    SELECT * FROM (SELECT format('%s.%s %s null=%s default=%s identity=%s', table_name, column_name,
        coalesce(domain_name, data_type) || coalesce('(' || character_maximum_length || ')', ''),
        is_nullable, column_default, identity_generation)
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT format('%s %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace) AS all_lines (line)
    WHERE line NOT LIKE '%chatferry_%' ORDER BY 1";

#[tokio::test]
async fn migrate_makes_djangos_tables_and_django_then_finds_nothing_to_do() {
    let (Some(ours), Some(theirs)) = (Database::empty().await, Database::empty().await) else {
        return;
    };
    assert!(!ours.migrate().await.unwrap().is_empty());
    let Some(printed) = ours.manage(&["migrate"]).await else {
        return;
    };
    assert!(!printed.contains("chat.0001_initial"), "{printed}");
    ours.manage(&["makemigrations", "--check", "--dry-run"])
        .await;
    assert!(ours.migrate().await.unwrap().is_empty());
    theirs.manage(&["migrate"]).await;
    let schema: Vec<String> = theirs.values(SCHEMA).await;
    assert!(schema.len() > 60);
    assert_eq!(ours.values::<String>(SCHEMA).await, schema);
}

#[tokio::test]
async fn tables_that_django_made_are_taken_as_they_are() {
    let Some(database) = Database::empty().await else {
        return;
    };
    if database.manage(&["migrate"]).await.is_none() {
        return;
    }
    let before: Vec<String> = database.values(SCHEMA).await;
    assert!(database.findings().await.is_empty());
    let made = database.migrate().await.unwrap();
    assert!(made.iter().all(|sql| sql.contains("chatferry_")));
    assert!(database.migrate().await.unwrap().is_empty());
    database
        .manage(&["makemigrations", "--check", "--dry-run"])
        .await;
    assert_eq!(database.values::<String>(SCHEMA).await, before);
    let notes = "SELECT count(*) FROM django_migrations WHERE app = 'chat'";
    assert_eq!(database.value::<i64>(notes).await, 1);
    let server = database.server().await;
    let id = server.conversation().await;
    assert!(server.contents(&id).await.is_empty());
}

#[tokio::test]
async fn many_processes_may_migrate_at_once() {
    let Some(database) = Database::empty().await else {
        return;
    };
    let config = database.config(&[]);
    let migrations: Vec<_> = (0..6)
        .map(|_| {
            let config = config.clone();
            tokio::spawn(async move { store::migrate(&config, &schema_of(&config)).await.unwrap() })
        })
        .collect();
    let mut worked = 0;
    for migration in migrations {
        worked += u32::from(!migration.await.unwrap().is_empty());
    }
    assert_eq!(worked, 1);
    assert!(database.findings().await.is_empty());
    let notes = "SELECT count(*) FROM django_migrations";
    assert_eq!(database.value::<i64>(notes).await, 1);
}

#[tokio::test]
async fn a_dry_run_tells_the_statements_and_runs_none() {
    let Some(database) = Database::empty().await else {
        return;
    };
    let config = database.config(&[]);
    let told = store::pending(&config, &schema_of(&config)).await.unwrap();
    assert!(told[0].starts_with("CREATE TABLE \"conversations\""));
    assert_eq!(database.findings().await.len(), 3);
    assert_eq!(
        store::migrate(&config, &schema_of(&config)).await.unwrap(),
        told
    );
}

#[tokio::test]
async fn only_what_is_missing_is_made() {
    let Some(database) = Database::new().await else {
        return;
    };
    let whole: Vec<String> = database.values(SCHEMA).await;
    database.run("DROP TABLE delivery_receipts").await;
    database
        .run("INSERT INTO conversations VALUES (gen_random_uuid(), 'a', 'b', now(), now(), true)")
        .await;
    assert!(!database.migrate().await.unwrap().is_empty());
    assert_eq!(database.values::<String>(SCHEMA).await, whole);
    let rows = "SELECT count(*) FROM conversations";
    assert_eq!(database.value::<i64>(rows).await, 1);
}

#[tokio::test]
async fn a_server_makes_no_tables_and_says_how_they_are_made() {
    let Some(database) = Database::empty().await else {
        return;
    };
    let error = Site::start(database.config(&[])).await.err().unwrap();
    assert!(error.to_string().contains("`chatferry migrate`"), "{error}");
    assert!(database.values::<String>(SCHEMA).await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_used_is_told_with_table_column_found_and_wanted() {
    let Some(database) = Database::new().await else {
        return;
    };
    database
        .run(
            "ALTER TABLE messages ALTER COLUMN updated_at TYPE timestamp; \
             ALTER TABLE messages DROP COLUMN is_deleted; \
             ALTER TABLE delivery_receipts DROP CONSTRAINT \
             delivery_receipts_message_id_c237a167_fk_messages_id; \
             ALTER TABLE delivery_receipts ALTER COLUMN message_id TYPE varchar(32); \
             ALTER TABLE conversations ADD COLUMN tenant integer NOT NULL",
        )
        .await;
    let found = database.findings().await.join("\n");
    for told in [
        "messages.updated_at is timestamp without time zone, wanted timestamp with time zone",
        "messages.is_deleted is missing",
        "delivery_receipts.message_id is character varying(32), wanted uuid",
        "conversations.tenant must be given a value",
    ] {
        assert!(found.contains(told), "{told}\n{found}");
    }
    assert!(Site::start(database.config(&[])).await.is_err());
}

#[tokio::test]
async fn a_missing_unique_key_is_told() {
    let Some(database) = Database::new().await else {
        return;
    };
    database
        .run(
            "ALTER TABLE delivery_receipts DROP CONSTRAINT \
             delivery_receipts_message_id_user_id_33021158_uniq",
        )
        .await;
    let found = database.findings().await.join("\n");
    assert!(found.contains("no unique key of exactly these columns: message_id, user_id"));
}

#[tokio::test]
async fn columns_that_a_newer_app_added_are_left_alone() {
    let Some(database) = Database::new().await else {
        return;
    };
    database
        .run(
            "ALTER TABLE messages ADD COLUMN edited_at timestamptz, \
             ADD COLUMN pinned boolean NOT NULL DEFAULT false, \
             ADD COLUMN number bigint NOT NULL GENERATED BY DEFAULT AS IDENTITY",
        )
        .await;
    assert!(database.findings().await.is_empty());
    let server = database.server().await;
    let id = server.conversation().await;
    let mut socket = server.socket(&id).await;
    socket.works().await;
}

#[tokio::test]
async fn tables_may_have_names_of_their_own() {
    let Some(database) = Database::new().await else {
        return;
    };
    database
        .run(
            "ALTER TABLE conversations RENAME TO \"Chat_rooms\"; \
             ALTER TABLE messages RENAME TO chat_message; \
             ALTER TABLE delivery_receipts RENAME TO chat_receipt",
        )
        .await;
    let names = [
        ("store.tables.conversations", "Chat_rooms"),
        ("store.tables.messages", "chat_message"),
        ("store.tables.delivery_receipts", "chat_receipt"),
    ];
    let server = database.server_with(&names).await;
    let id = server.conversation().await;
    server.socket(&id).await.works().await;
    let rooms = "SELECT count(*) FROM \"Chat_rooms\"";
    assert_eq!(database.value::<i64>(rooms).await, 1);
    let missing = database.config(&[("store.tables.messages", "elsewhere")]);
    let error = store::migrate(&missing, &schema_of(&missing))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("made by Django"), "{error}");
}

#[tokio::test]
async fn tables_of_our_own_are_compared_too() {
    let Some(database) = Database::new().await else {
        return;
    };
    assert_eq!(database.findings().await, [""; 0]);
    database
        .run(
            "ALTER TABLE chatferry_members DROP COLUMN role; \
             ALTER TABLE chatferry_attachments ALTER COLUMN size TYPE text; \
             ALTER TABLE chatferry_changes ADD COLUMN why text NOT NULL; DROP TABLE chatferry_messages",
        )
        .await;
    let found = database.findings().await;
    let [why, role, missing, size] = &found[..] else {
        panic!("{found:?}");
    };
    assert!(why.starts_with("column chatferry_changes.why must be given a value"));
    assert_eq!(
        role,
        "column chatferry_members.role is missing: `chatferry migrate` did not make this table; \
         give it another name, and run that again"
    );
    assert!(missing.starts_with("table chatferry_messages is missing"));
    assert!(
        size.starts_with("column chatferry_attachments.size is text, wanted bigint or integer:")
    );
}
