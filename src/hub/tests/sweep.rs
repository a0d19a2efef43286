//! Comparing with the store: what is found, and what is counted.

use super::*;

/// So long after now.
fn later(seconds: i64) -> Timestamp {
    Timestamp::from_micros(Timestamp::now().micros() + seconds * 1_000_000)
}

/// Dates a message of the database so long ahead.
fn date_ahead(world: &World, message: &Message, seconds: i64) {
    let (id, at) = (
        message.id.0.short(),
        crate::python::datetime::to_sqlite(later(seconds)),
    );
    world.spoil(&format!(
        "UPDATE messages SET created_at = '{at}', updated_at = '{at}' WHERE id = '{id}'"
    ));
}

#[tokio::test]
async fn a_message_that_no_event_came_for_is_found() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_socket, queue) = world.join(here).await;
    let heard = world.store(here, "heard").await;
    world.deliver(&heard);
    world.store(here, "missed").await;
    let quiet = world.store(here, "quiet").await;
    world.hub.unannounced().note(quiet.id);
    let contents = ["heard", "missed", "quiet"];
    world.hub.sweep_once(0, Timestamp::now()).await;
    assert_eq!(told(&queue, &contents), ["heard"], "it may still come");
    for _ in 0..2 {
        world.hub.sweep_once(0, later(20)).await;
    }
    assert_eq!(told(&queue, &contents), ["missed"]);
    assert_eq!(world.metric("chatferry_messages_swept_total"), "1");
}

#[tokio::test]
async fn a_read_mark_that_no_event_came_for_is_found() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_socket, queue) = world.join(here).await;
    let message = world.store(here, "hello").await;
    world.deliver(&message);
    world.mark(message.id, "bob").await;
    let contents = ["hello", "bob"];
    world.hub.sweep_once(0, Timestamp::now()).await;
    assert_eq!(told(&queue, &contents), ["hello"], "it may come");
    for _ in 0..2 {
        world.hub.sweep_once(0, later(20)).await;
    }
    assert_eq!(told(&queue, &contents), ["bob"]);
    assert_eq!(world.metric("chatferry_read_marks_swept_total"), "1");
}

#[tokio::test]
async fn only_what_a_chatferry_process_stored_and_no_event_ever_came_for_is_a_fault() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_socket, queue) = world.join(here).await;
    let message = world.store(here, "lost").await;
    world.mark(message.id, "lost mark").await;
    let late = world.store(here, "late").await;
    let by_rest = world.store(here, "by REST of Django").await;
    let (ours, id) = (by_rest.id.0.short(), Uuid::new_v4().simple());
    world.spoil(&format!(
        "UPDATE messages SET id = '{id}' WHERE id = '{ours}'"
    ));
    world.hub.sweep_once(0, later(20)).await;
    let room = world.hub.room(here).unwrap();
    let contents = ["lost mark", "late", "by REST of Django", "lost"];
    assert_eq!(told(&queue, &contents).len(), 4);
    // Real time passes too, on a busy machine a few seconds.
    pass(Duration::from_secs(200)).await;
    world.hear(&late, Some(late.created_at));
    for (waits_s, count) in [(0, "0"), (132, "1"), (400, "1")] {
        pass(Duration::from_secs(waits_s)).await;
        world.hub.count_unheard(here, &room);
        assert_eq!(world.metric("chatferry_messages_unheard_total"), count);
        assert_eq!(world.metric("chatferry_read_marks_unheard_total"), count);
    }
    assert_eq!(world.metric("chatferry_messages_swept_total"), "3");
    assert_eq!(world.metric("chatferry_read_marks_swept_total"), "1");
    assert_eq!(told(&queue, &contents), [""; 0]);
}

#[tokio::test]
async fn what_a_history_is_about_to_tell_is_not_found() {
    let world = World::new().await;
    let here = world.conversation().await;
    let queue = queue();
    let group = here.to_string();
    let _socket = world.hub.join(here, group, Arc::clone(&queue)).await;
    world.store(here, "in the history").await;
    world.hub.sweep_once(0, later(20)).await;
    assert_eq!(world.metric("chatferry_messages_swept_total"), "0");
    assert!(queue.take().unwrap().frames.is_empty());
}

#[tokio::test]
async fn a_message_from_a_clock_that_is_ahead_is_found_and_its_time_brings_no_other() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_socket, queue) = world.join(here).await;
    let heard = world.store(here, "heard").await;
    let missed = world.store(here, "missed").await;
    world.deliver(&heard);
    for message in [&heard, &missed] {
        date_ahead(&world, message, 300);
    }
    let contents = ["heard", "missed", "next"];
    world.hub.sweep_once(0, Timestamp::now()).await;
    assert_eq!(told(&queue, &contents), ["heard"], "it may still come");
    pass(Duration::from_secs(10)).await;
    for _ in 0..2 {
        world.hub.sweep_once(0, Timestamp::now()).await;
        pass(Duration::from_secs(10)).await;
    }
    assert_eq!(told(&queue, &contents), ["missed"]);
    // Long after, when their time has come.
    pass(Duration::from_secs(290)).await;
    world.deliver(&world.store(here, "next").await);
    world.hub.sweep_once(0, later(310)).await;
    assert_eq!(told(&queue, &contents), ["next"]);
    assert_eq!(world.metric("chatferry_messages_swept_total"), "1");
}

#[tokio::test]
async fn a_clock_that_is_set_back_hides_nothing() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_socket, queue) = world.join(here).await;
    world.hub.sweep_once(0, later(300)).await;
    world.store(here, "missed").await;
    world.hub.sweep_once(0, later(20)).await;
    assert_eq!(told(&queue, &["missed"]), ["missed"]);
}
