//! Ids that only a collation of an operator's own takes for one, under
//! `auth.policy = participants`.

use crate::support::server::schema_of;
use serde_json::json;

use super::database::Database;
use crate::auth::{token::BY_SECRET, wire::Caller};

/// Lets the columns of user ids pass over the case of letters. Django's indexes for `LIKE` cannot
/// have such a collation.
const LOOSE: &str = "
    CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    DROP INDEX conversations_participant1_id_69e46049_like;
    DROP INDEX conversations_participant2_id_47f7c9cf_like;
    DROP INDEX delivery_receipts_user_id_82abe91a_like;
    ALTER TABLE conversations ALTER participant1_id TYPE varchar(255) COLLATE loose;
    ALTER TABLE conversations ALTER participant2_id TYPE varchar(255) COLLATE loose;
    ALTER TABLE delivery_receipts ALTER user_id TYPE varchar(255) COLLATE loose;
    INSERT INTO conversations VALUES ('00000000-0000-4000-8000-000000000001', 'Alice', 'alice',
        now(), now(), true);
    INSERT INTO messages (id, conversation_id, sender_id, content, message_type, created_at,
        updated_at, is_deleted) VALUES ('00000000-0000-4000-8000-000000000002',
        '00000000-0000-4000-8000-000000000001', 'Alice', 'x', 'text', now(), now(), false);
    INSERT INTO delivery_receipts (id, message_id, user_id, status, timestamp) VALUES (
        '00000000-0000-4000-8000-000000000003', '00000000-0000-4000-8000-000000000002', 'Alice',
        'sent', now());";

#[tokio::test]
async fn what_a_loose_collation_takes_for_one_is_told_apart() {
    let Some(database) = Database::new().await else {
        return;
    };
    database.run(LOOSE).await;
    let policy = [("auth.policy", "participants")];
    let server = database
        .server_with(&[&BY_SECRET[..], &policy].concat())
        .await;
    let mut look = chatferry::store::look::open(&server.app.config, &schema_of(&server.app.config))
        .await
        .unwrap();
    let loose = look.collations().await;
    let loose: Vec<String> = loose.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        loose,
        [
            "conversations.participant1_id (loose)",
            "conversations.participant2_id (loose)",
            "delivery_receipts.user_id (loose)",
        ]
    );
    let open = async |caller: &str, one: &str, two: &str| {
        let body = json!({"participant1_id": one, "participant2_id": two});
        Caller::known(&server, caller)
            .ask("POST", "conversations/", Some(&body))
            .await
            .status
    };
    assert_eq!(open("victor", "victor", "bob").await, 201);
    assert_eq!(open("bob", "bob", "victor").await, 200);
    assert_eq!(open("bob", "bob", "Victor").await, 409);
    assert_eq!(open("Victor", "Victor", "bob").await, 409);
    assert_eq!(open("Victor", "Victor", "dora").await, 201);

    let path = "messages/00000000-0000-4000-8000-000000000002/read/";
    let mark = async |user: &str| {
        let body = json!({"user_id": user});
        Caller::known(&server, user)
            .ask("PUT", path, Some(&body))
            .await
            .status
    };
    let status = "SELECT status FROM delivery_receipts";
    assert_eq!(mark("alice").await, 409);
    assert_eq!(database.value::<String>(status).await, "sent");
    assert_eq!(mark("Alice").await, 200);
    assert_eq!(database.value::<String>(status).await, "read");
}
