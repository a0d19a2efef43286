//! Repairs after a gap.

use std::cell::Cell;

use super::*;
use crate::{
    hub::sweep::AGE,
    python::datetime::{before, to_sqlite},
    store::history::PAGE_BYTES,
};

#[tokio::test]
async fn a_repair_that_does_not_end_is_told_of_after_a_minute() {
    let world = World::new().await;
    let (_socket, _queue) = world.join(world.conversation().await).await;
    world.hub.await_gap();
    pass(Duration::from_secs(50)).await;
    assert_eq!(world.hub.behind(), None);
    pass(Duration::from_secs(11)).await;
    let why = world.hub.behind().unwrap();
    let begin = "1 conversations wait for their repair, for 6";
    assert!(why.starts_with(begin), "{why}");
}

#[tokio::test]
async fn sockets_are_closed_if_a_gap_is_longer_than_what_is_remembered() {
    let world = World::new().await;
    let (here, elsewhere) = (world.conversation().await, world.conversation().await);
    let (_socket, queue) = world.join(here).await;
    let (_other, other) = world.join(elsewhere).await;
    let before = Timestamp::now();
    world.store(here, "missed").await;
    let room = world.hub.room(here).unwrap();
    // The socket does not await these.
    let long_ago = Timestamp::from_micros(0);
    for n in 0..=100_000 {
        world.hear_mark(&room, Uuid::from_u128(n).into(), "a", Some(long_ago));
    }
    assert!(queue.take().unwrap().frames.is_empty());
    world.store(elsewhere, "aside").await;
    world.repairs();
    world.hub.gap(before);
    world.repaired().await;
    assert!(queue.take().is_err(), "it is closed, and not short of one");
    assert_eq!(told(&other, &["aside"]), ["aside"]);
    assert_eq!(world.metric("chatferry_repairs_given_up_total"), "1");
}

#[tokio::test]
async fn a_repair_shows_nothing_again_after_a_gap_that_was_longer_than_events_are_remembered() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_socket, queue) = world.join(here).await;
    let before = Timestamp::now();
    world.store(here, "apple").await;
    let shown = world.store(here, "pear").await;
    world.deliver(&shown);
    pass(Duration::from_secs(91)).await;
    world.repairs();
    world.hub.gap(before);
    world.repaired().await;
    let order = ["pear", "apple"];
    assert_eq!(told(&queue, &order), order);
}

#[tokio::test]
async fn what_the_store_has_shown_is_known_as_long_as_its_sender_owes_the_event() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_socket, queue) = world.join(here).await;
    let owed = world.store(here, "owed").await;
    world.repairs();
    world.hub.gap(owed.created_at);
    world.repaired().await;
    assert_eq!(told(&queue, &["owed"]), ["owed"]);
    pass(Duration::from_secs(299)).await;
    world.deliver(&world.store(here, "next").await);
    world.hear(&owed, Some(owed.created_at));
    assert_eq!(told(&queue, &["owed", "next"]), ["next"]);
}

#[tokio::test]
async fn a_gap_is_repaired_once_and_in_order() {
    let world = World::new().await;
    let here = world.conversation().await;
    let before = Timestamp::now();
    let (old, joined_later) = (queue(), queue());
    let _old = world
        .hub
        .join(here, "g".into(), Arc::clone(&old))
        .await
        .unwrap();
    let heard = world.store(here, "heard").await;
    world.deliver(&heard);
    world.store(here, "lost one").await;
    let membership = world
        .hub
        .join(here, "g".into(), Arc::clone(&joined_later))
        .await
        .unwrap();
    membership.is_shown(&world.history(here).await);
    world.store(here, "lost two").await;
    world.repairs();
    for _ in 0..2 {
        world.hub.gap(before);
        world.repaired().await;
    }
    let contents = ["heard", "lost one", "lost two"];
    assert_eq!(told(&old, &contents), contents);
    assert_eq!(told(&joined_later, &contents), ["lost two"]);
}

#[tokio::test]
async fn what_another_process_owes_is_read_by_a_repair_that_began_long_after() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_socket, queue) = world.join(here).await;
    world.store(here, "owed").await;
    let twenty = |at: Timestamp| Timestamp::from_micros(at.micros() + 20_000_000);
    world.repairs();
    world.hub.gap(twenty(Timestamp::now()));
    world.repaired().await;
    assert_eq!(told(&queue, &["owed"]), ["owed"]);
}

#[tokio::test]
async fn a_commit_that_was_confirmed_late_comes_before_what_its_sender_said_then() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_socket, queue) = world.join(here).await;
    let room = world.hub.room(here).unwrap();
    world.store(here, "late").await;
    let earlier = "strftime('%Y-%m-%d %H:%M:%f', created_at, '-30 seconds')";
    world.spoil(&format!("UPDATE messages SET created_at = {earlier}"));
    room.is_swept(before(Timestamp::now(), AGE));
    world.store(here, "newer").await;
    world.repairs();
    world.hub.gap(Timestamp::now());
    world.repaired().await;
    let contents = ["late", "newer"];
    assert_eq!(told(&queue, &contents), contents);
}

#[tokio::test]
async fn what_comes_while_memberships_are_restored_waits_for_what_was_missed() {
    let world = World::new().await;
    let (here, elsewhere) = (world.conversation().await, world.conversation().await);
    let (_socket, queue) = world.join(here).await;
    let (_other, other) = world.join(elsewhere).await;
    let before = Timestamp::now();
    world.store(here, "missed").await;
    world.hub.await_gap();
    let newer = world.store(here, "newer").await;
    world.deliver(&newer);
    assert!(queue.take().unwrap().frames.is_empty());
    let aside = world.store(elsewhere, "aside").await;
    world.deliver(&aside);
    world.repairs();
    world.hub.gap(before);
    world.repaired().await;
    let contents = ["missed", "newer", "aside"];
    assert_eq!(told(&queue, &contents), ["missed", "newer"]);
    assert_eq!(told(&other, &contents), ["aside"]);
    world.deliver(&world.store(here, "live").await);
    assert_eq!(told(&queue, &["live"]), ["live"]);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_costs_itself() {
    let world = World::new().await;
    let (here, elsewhere) = (world.conversation().await, world.conversation().await);
    let (_socket, queue) = world.join(here).await;
    let (_other, other) = world.join(elsewhere).await;
    let before = Timestamp::now();
    world.store(here, "one").await;
    let bad = world.store(here, "unreadable").await;
    world.store(here, "two").await;
    world.store(elsewhere, "aside").await;
    let id = bad.id.0.short();
    world.spoil(&format!(
        "UPDATE messages SET updated_at = 'not a date' WHERE id = '{id}'"
    ));
    world.repairs();
    world.hub.gap(before);
    world.repaired().await;
    let contents = ["one", "unreadable", "two", "aside"];
    assert_eq!(told(&queue, &contents), ["one", "two"]);
    assert_eq!(told(&other, &contents), ["aside"]);
    let metrics = world.hub.metrics.render();
    assert!(
        metrics.contains("chatferry_rows_unreadable_total 1"),
        "{metrics}"
    );
    let history = History::find(&world.store, here, Deleted::Skipped).await;
    assert!(matches!(history, Err(StoreError::Schema(_))), "{history:?}");
    world.deliver(&world.store(here, "live").await);
    assert_eq!(told(&queue, &["live"]), ["live"]);
}

#[tokio::test]
async fn another_process_can_ask_for_a_conversation_to_be_read_again() {
    let world = World::new().await;
    let (here, elsewhere) = (world.conversation().await, world.conversation().await);
    let (_socket, queue) = world.join(here).await;
    let (_other, other) = world.join(elsewhere).await;
    let since = Timestamp::now();
    world.store(here, "missed").await;
    world.store(elsewhere, "aside").await;
    world.repairs();
    let group = Some(here.to_string());
    let nothing: OnDisconnect = Box::new(|_| ());
    world.hub.order(
        &Control::ReadAgain(Notice { group, since }).event(),
        &nothing,
    );
    world.repaired().await;
    let contents = ["missed", "aside"];
    assert_eq!(told(&queue, &contents), ["missed"]);
    assert_eq!(told(&other, &contents), [""; 0]);
    world.hub.order(
        &Control::ReadAgain(Notice { group: None, since }).event(),
        &nothing,
    );
    world.repaired().await;
    assert_eq!(told(&queue, &contents), [""; 0]);
    assert_eq!(told(&other, &contents), ["aside"]);
}

thread_local! {
    /// A file, and a statement that is executed there when a message has been encoded.
    static MEANWHILE: Cell<Option<(std::path::PathBuf, String)>> = const { Cell::new(None) };
}

#[tokio::test]
async fn what_is_stored_between_two_pages_with_an_earlier_time_comes_before_what_is_newer() {
    let world = World::with(Box::new(|_, event| {
        if let Some((path, sql)) = MEANWHILE.take() {
            let db = rusqlite::Connection::open(path).unwrap();
            assert_eq!(db.execute(&sql, []).unwrap(), 1);
        }
        Bytes::from(format!("{event:?}"))
    }))
    .await;
    let here = world.conversation().await;
    let queue = Arc::new(Queue::new(QueueLimits {
        frames: 5,
        bytes: 4 * PAGE_BYTES,
    }));
    let joined = world.hub.join(here, here.to_string(), Arc::clone(&queue));
    let _socket = joined.await.unwrap();
    queue.history_is_told();
    let first = world.store(here, "first").await;
    world
        .store(here, &format!("long {}", "x".repeat(PAGE_BYTES)))
        .await;
    world.store(here, "next page").await;
    let at = Timestamp::from_micros(first.created_at.micros() + 1);
    let (at, id) = (to_sqlite(at), Uuid::new_v4().simple());
    let sql = format!(
        "INSERT INTO messages (id, conversation_id, sender_id, content, message_type, created_at, \
         updated_at, is_deleted) VALUES ('{id}', '{}', 'a', 'late', 'text', '{at}', '{at}', 0)",
        here.0.short()
    );
    MEANWHILE.set(Some((world.directory.join("chat.sqlite3"), sql)));
    world.repairs();
    world.hub.gap(Timestamp::now());
    world.repaired().await;
    let contents = ["first", "long", "late", "next page"];
    assert_eq!(told(&queue, &contents), contents);
    assert_eq!(world.metric("chatferry_repairs_begun_again_total"), "1");
}
