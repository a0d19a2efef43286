//! Many at once, on one server and on two: everybody gets an answer of their own, and no row is made
//! twice.

use super::database::Database;
use crate::native::{
    changes::{a_receipt_only_ever_says_more, changes_at_once_leave_one_version},
    groups::{a_group_keeps_its_rules_at_once, a_group_lives},
    races::{
        a_key_sent_to_two_servers_at_once_is_stored_once,
        a_message_sent_to_two_servers_at_once_is_stored_once,
        the_pages_of_a_history_follow_each_other, unread_messages_are_counted,
    },
};
use crate::support::{
    races::{mark_at_once, open_pairs, say_at_once},
    together::write_together,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn groups_live_and_keep_their_rules_at_once() {
    let Some(database) = Database::new().await else {
        return;
    };
    let servers = [database.server().await, database.server().await];
    a_group_lives(&servers[0]).await;
    a_group_keeps_its_rules_at_once(&servers).await;
}

#[tokio::test]
async fn a_row_that_the_table_refuses_does_not_take_its_batch_with_it() {
    let Some(database) = Database::new().await else {
        return;
    };
    database
        .run("ALTER TABLE messages ADD CONSTRAINT polite CHECK (content <> 'rude')")
        .await;
    let server = database.server().await;
    let id = server.conversation().await;
    let contents = (0..60).map(|number| match number % 6 {
        0 => "rude".to_owned(),
        _ => number.to_string(),
    });
    let statuses = say_at_once(&server, &id, contents).await;
    for (number, status) in statuses.into_iter().enumerate() {
        assert_eq!(status, if number % 6 == 0 { 400 } else { 201 });
    }
    assert_eq!(server.contents(&id).await.len(), 50);
}

#[tokio::test]
async fn long_messages_at_once_are_more_than_a_batch_and_all_are_stored() {
    let Some(database) = Database::new().await else {
        return;
    };
    let server = database.server().await;
    let id = server.conversation().await;
    // A batch has 8 MiB at most; more than two would be a matter of the disk's speed.
    let contents = (0..12).map(|number| format!("{number:02}{}", "x".repeat(900_000)));
    assert_eq!(say_at_once(&server, &id, contents).await, [201; 12]);
    let stored = "SELECT count(DISTINCT content) FROM messages WHERE length(content) = 900002";
    assert_eq!(database.value::<i64>(stored).await, 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pair_opened_from_both_sides_on_two_servers_at_once_is_one_conversation() {
    let Some(database) = Database::new().await else {
        return;
    };
    let servers = [database.server().await, database.server().await];
    open_pairs(&servers, &[("ann", "ben"), ("ben", "ann")]).await;
    let rows: i64 = database.value("SELECT count(*) FROM conversations").await;
    assert_eq!(rows, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn read_marks_at_once_on_two_servers_make_one_receipt_each_and_no_error() {
    let Some(database) = Database::new().await else {
        return;
    };
    mark_at_once(&[database.server().await, database.server().await]).await;
    let rows: i64 = database
        .value("SELECT count(*) FROM delivery_receipts")
        .await;
    let read = "SELECT count(DISTINCT (message_id, user_id)) FROM delivery_receipts \
                WHERE status = 'read'";
    assert_eq!((rows, database.value::<i64>(read).await), (40, 40));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn django_and_chatferry_write_together_and_both_see_every_row() {
    if let Some(database) = Database::empty().await {
        write_together(&database).await;
    }
}

#[tokio::test]
async fn a_message_under_an_id_of_its_clients_is_stored_once() {
    let Some(database) = Database::new().await else {
        return;
    };
    let servers = [database.server().await, database.server().await];
    a_message_sent_to_two_servers_at_once_is_stored_once(&servers).await;
    the_pages_of_a_history_follow_each_other(&servers[0]).await;
    unread_messages_are_counted(&servers[0]).await;
    a_key_sent_to_two_servers_at_once_is_stored_once(&servers).await;
}

#[tokio::test]
async fn changes_and_receipts_of_messages_are_kept() {
    let Some(database) = Database::new().await else {
        return;
    };
    let servers = [database.server().await, database.server().await];
    changes_at_once_leave_one_version(&servers).await;
    a_receipt_only_ever_says_more(&servers[0]).await;
}
