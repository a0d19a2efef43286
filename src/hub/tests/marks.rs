//! Read marks: shown once, late rather than never, and in order.

use super::*;

#[tokio::test]
async fn a_read_mark_that_is_sent_again_is_shown_once() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_socket, queue) = world.join(here).await;
    let room = world.hub.room(here).unwrap();
    let read = |id: &str| Event::MessageRead {
        message_id: id.into(),
        user_id: "bob".into(),
    };
    let now = Timestamp::now();
    for (id, resent) in [
        ("one", None),
        ("one", Some(now)),
        ("two", Some(now)),
        ("two", Some(now)),
    ] {
        world.hub.deliver(&room, &read(id), resent);
    }
    assert_eq!(told(&queue, &["one", "two"]), ["one", "two"]);
}

#[tokio::test]
async fn a_read_mark_that_was_missed_is_found_once_and_no_older_one() {
    let world = World::new().await;
    let here = world.conversation().await;
    let message = world.store(here, "hello").await;
    let mark = async |user: &str| {
        let marked = world
            .store
            .mark_read(message.id, user.to_owned(), Box::new(|_| {}))
            .await;
        marked.unwrap().unwrap()
    };
    mark("early bird").await;
    // Longer before the socket came than clocks may differ.
    world.spoil(
        "UPDATE delivery_receipts SET timestamp = strftime('%Y-%m-%d %H:%M:%f', 'now', '-5 seconds')",
    );
    let (socket, queue) = world.join(here).await;
    socket.is_shown(&world.history(here).await);
    let room = world.hub.room(here).unwrap();
    let hear = |user: &str| {
        let event = Event::MessageRead {
            message_id: message.id.to_string().into(),
            user_id: user.into(),
        };
        world.hub.deliver(&room, &event, None);
    };
    mark("heard").await;
    hear("heard");
    mark("missed one").await;
    mark("missed two").await;
    let quiet = mark("quiet").await;
    world.hub.unannounced().note(quiet.id);
    world.repairs();
    for _ in 0..2 {
        world.hub.gap(Timestamp::now());
        world.repaired().await;
    }
    // It was only late.
    hear("missed one");
    hear("live");
    let users = [
        "early bird",
        "heard",
        "missed one",
        "missed two",
        "quiet",
        "live",
    ];
    let want = ["heard", "missed one", "missed two", "live"];
    assert_eq!(told(&queue, &users), want);
    hear("missed one");
    assert_eq!(told(&queue, &users), ["missed one"], "it was marked again");
}

#[tokio::test]
async fn a_mark_from_before_the_layer_took_us_as_a_member_does_not_follow_a_newer_one() {
    let world = World::new().await;
    let here = world.conversation().await;
    let message = world.store(here, "hello").await;
    let room = Arc::new(Room::new(here, here.to_string(), Arc::default()));
    world.hub.rooms().insert(here, Arc::clone(&room));
    let (hub, queue) = (Arc::clone(&world.hub), queue());
    // The layer takes its time.
    let asked = room.joined.lock().await;
    let joining = {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move { hub.join(here, here.to_string(), queue).await })
    };
    while room.is_empty() {
        tokio::task::yield_now().await;
    }
    let before = Timestamp::now();
    // Its event was sent before we were a member.
    let early = world
        .store
        .mark_read(message.id, "early".into(), Box::new(|_| {}))
        .await;
    early.unwrap();
    drop(asked);
    let _socket = joining.await.unwrap().unwrap();
    world.mark(message.id, "newer").await;
    world.hear_mark(&room, message.id, "newer", None);
    world.repairs();
    world.hub.gap(before);
    world.repaired().await;
    assert_eq!(told(&queue, &["early", "newer"]), ["newer"]);
}

#[tokio::test]
async fn marks_that_wait_keep_their_order_though_the_store_finds_only_the_newer_one() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_socket, queue) = world.join(here).await;
    let message = world.store(here, "hello").await;
    let room = world.hub.room(here).unwrap();
    let before = Timestamp::now();
    world.hub.await_gap();
    // A message that is too old to be looked up.
    world.hear_mark(&room, Uuid::new_v4().into(), "first", None);
    world.mark(message.id, "second").await;
    world.hear_mark(&room, message.id, "second", None);
    world.repairs();
    world.hub.gap(before);
    world.repaired().await;
    let users = ["first", "second"];
    assert_eq!(told(&queue, &users), users);
}

/// Returns a message in a conversation with newer ones, more than are looked up. All are older than
/// a repair reads.
async fn old_message(world: &World, here: ConversationId) -> Message {
    let old = world.store(here, "old").await;
    for _ in 0..55 {
        world.store(here, "newer").await;
    }
    let earlier = "strftime('%Y-%m-%d %H:%M:%f', created_at, '-300 seconds')";
    world.spoil_all(56, &format!("UPDATE messages SET created_at = {earlier}"));
    old
}

#[tokio::test]
async fn a_mark_of_an_old_message_is_found_and_comes_before_newer_ones() {
    let world = World::new().await;
    let here = world.conversation().await;
    let old = old_message(&world, here).await;
    let (_socket, queue) = world.join(here).await;
    let room = world.hub.room(here).unwrap();
    let message = world.store(here, "hello").await;
    world.deliver(&message);
    world.mark(old.id, "first").await;
    world.mark(message.id, "second").await;
    world.mark(message.id, "by Django").await;
    let id = Uuid::new_v4().simple();
    world.spoil(&format!(
        "UPDATE delivery_receipts SET id = '{id}' WHERE user_id = 'by Django'"
    ));
    world.repairs();
    world.hub.gap(Timestamp::now());
    world.repaired().await;
    let users = ["first", "second", "by Django"];
    assert_eq!(told(&queue, &users), users);
    // Its sender makes good too.
    world.hear_mark(&room, old.id, "first", Some(Timestamp::now()));
    assert_eq!(told(&queue, &users), [""; 0]);
}

#[tokio::test]
async fn marks_keep_the_order_in_which_they_were_made_though_the_clock_was_set_back() {
    let world = World::new().await;
    let here = world.conversation().await;
    let message = world.store(here, "hello").await;
    let (_socket, queue) = world.join(here).await;
    let users = ["first", "second"];
    for user in users {
        world.mark(message.id, user).await;
    }
    world.spoil(
        "UPDATE delivery_receipts SET timestamp = strftime('%Y-%m-%d %H:%M:%f', 'now', '+3 seconds') \
         WHERE user_id = 'first'",
    );
    world.repairs();
    world.hub.gap(Timestamp::now());
    world.repaired().await;
    assert_eq!(told(&queue, &users), users);
}

#[tokio::test]
async fn a_sweep_finds_the_mark_of_an_old_message() {
    let world = World::new().await;
    let here = world.conversation().await;
    let old = old_message(&world, here).await;
    let (_socket, queue) = world.join(here).await;
    world.mark(old.id, "bob").await;
    for _ in 0..2 {
        let later = Timestamp::from_micros(Timestamp::now().micros() + 20_000_000);
        world.hub.sweep_once(0, later).await;
    }
    assert_eq!(told(&queue, &["bob"]), ["bob"]);
    assert_eq!(world.metric("chatferry_read_marks_swept_total"), "1");
}

#[tokio::test]
async fn a_mark_that_waits_does_not_pull_forward_those_that_the_store_has() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_socket, queue) = world.join(here).await;
    let message = world.store(here, "hello").await;
    let room = world.hub.room(here).unwrap();
    world.hub.await_gap();
    let users = ["of another sender", "first", "second"];
    for user in users {
        world.mark(message.id, user).await;
    }
    // The event of the first is missed, that of the other sender comes late.
    for user in ["second", "of another sender"] {
        world.hear_mark(&room, message.id, user, None);
    }
    world.repairs();
    world.hub.gap(Timestamp::now());
    world.repaired().await;
    assert_eq!(told(&queue, &users), users);
}

#[tokio::test]
async fn a_mark_that_came_after_the_look_follows_those_that_the_look_found() {
    for is_heard in [true, false] {
        let world = World::new().await;
        let here = world.conversation().await;
        let (_socket, queue) = world.join(here).await;
        let message = world.store(here, "hello").await;
        let room = world.hub.room(here).unwrap();
        let before = Timestamp::now();
        world.hub.await_gap();
        let users = ["of another sender", "first", "second"];
        for user in &users[..2] {
            world.mark(message.id, user).await;
        }
        if is_heard {
            world.hear_mark(&room, message.id, "first", None);
        }
        let of = [(here, Arc::clone(&room), before)];
        let missed = world.hub.missed(&of).await.unwrap().remove(0);
        world.mark(message.id, "second").await;
        for user in ["second", "of another sender"] {
            world.hear_mark(&room, message.id, user, None);
        }
        world.hub.show_marks(&room, &missed.marks, &missed.unfound);
        world.repairs();
        world.hub.gap(Timestamp::now());
        world.repaired().await;
        assert_eq!(told(&queue, &users), users);
    }
}

#[tokio::test]
async fn a_mark_that_the_store_cannot_find_keeps_its_place_though_it_came_after_the_look() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_socket, queue) = world.join(here).await;
    let message = world.store(here, "hello").await;
    let room = world.hub.room(here).unwrap();
    world.hub.gap(Timestamp::now());
    let since = room.take_over().unwrap();
    let users = ["of an old message", "first", "second"];
    world.mark(message.id, "first").await;
    let of = [(here, Arc::clone(&room), since)];
    let missed = world.hub.missed(&of).await.unwrap().remove(0);
    world.mark(message.id, "second").await;
    // They were in the queue of this process when the connection was lost.
    world.hear_mark(&room, Uuid::new_v4().into(), users[0], None);
    for user in &users[1..] {
        world.hear_mark(&room, message.id, user, None);
    }
    assert!(world.hub.repair_room(here, &room, missed).await);
    assert_eq!(told(&queue, &users), users);
}

#[tokio::test]
async fn the_late_event_of_a_mark_from_before_a_socket_came_does_not_follow_newer_ones() {
    let world = World::new().await;
    let here = world.conversation().await;
    let message = world.store(here, "hello").await;
    world.mark(message.id, "early").await;
    let (_socket, queue) = world.join(here).await;
    let room = world.hub.room(here).unwrap();
    // The commit took its time, and the layer was away when the event was first sent.
    let sent = Timestamp::now();
    world.mark(message.id, "newer").await;
    world.repairs();
    world.hub.gap(sent);
    world.repaired().await;
    world.hear_mark(&room, message.id, "early", Some(sent));
    assert_eq!(told(&queue, &["early", "newer"]), ["newer"]);
}
