//! Many at once, on two servers: everything happens exactly once and nothing is an error.

use super::{database::Database, instance::Flavour};
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
    races::{mark_at_once, open_pairs},
    together::write_together,
};

pub async fn a_pair_opened_from_both_sides_on_two_servers_at_once_is_one_conversation(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let servers = [database.server().await, database.server().await];
    // The same two people, however they are written.
    let spellings = [
        ("ann", "ben"),
        ("ben", "ann"),
        ("Ann", "BEN "),
        ("bén", "ANN"),
    ];
    open_pairs(&servers, &spellings).await;
    let rows = "SELECT count(*) FROM conversations";
    assert_eq!(database.value::<u64>(rows).await, 10);
}

pub async fn read_marks_at_once_on_two_servers_make_one_receipt_each_and_no_error(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    mark_at_once(&[database.server().await, database.server().await]).await;
    let rows: (u64, u64) = database
        .value(
            "SELECT count(*), count(DISTINCT message_id, user_id) FROM delivery_receipts \
             WHERE status = 'read'",
        )
        .await;
    assert_eq!(rows, (40, 40));
}

pub async fn django_and_chatferry_write_together_and_both_see_every_row(on: Flavour) {
    if let Some(database) = Database::empty(on).await {
        write_together(&database).await;
    }
}

pub async fn a_message_under_an_id_of_its_clients_is_stored_once(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let servers = [database.server().await, database.server().await];
    a_message_sent_to_two_servers_at_once_is_stored_once(&servers).await;
    the_pages_of_a_history_follow_each_other(&servers[0]).await;
    unread_messages_are_counted(&servers[0]).await;
    a_key_sent_to_two_servers_at_once_is_stored_once(&servers).await;
}

pub async fn groups_live_and_keep_their_rules_at_once(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let servers = [database.server().await, database.server().await];
    a_group_lives(&servers[0]).await;
    a_group_keeps_its_rules_at_once(&servers).await;
}

pub async fn changes_and_receipts_of_messages_are_kept(on: Flavour) {
    let Some(database) = Database::new(on).await else {
        return;
    };
    let servers = [database.server().await, database.server().await];
    changes_at_once_leave_one_version(&servers).await;
    a_receipt_only_ever_says_more(&servers[0]).await;
}
