//! Clients that come from another process.

use super::*;
use crate::layer::control::Follows;

#[tokio::test]
async fn what_a_history_shows_and_others_lack_comes_before_what_its_client_says() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_old, old) = world.join(here).await;
    world.repairs();
    let quiet = world.store(here, "by REST").await;
    world.hub.unannounced().note(quiet.id);
    world.store(here, "said elsewhere").await;
    let (newcomer, new) = world.join(here).await;
    newcomer.is_shown(&world.history(here).await);
    assert!(newcomer.may_precede());
    newcomer.speaks("a");
    assert!(!newcomer.may_precede(), "once");
    world.deliver(&world.store(here, "said here").await);
    world.repaired().await;
    let contents = ["by REST", "said elsewhere", "said here"];
    assert_eq!(told(&old, &contents), contents[1..]);
    assert_eq!(told(&new, &contents), ["said here"]);
}

#[tokio::test]
async fn what_comes_while_it_is_waited_for_is_shown_in_the_order_of_the_store() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_old, old) = world.join(here).await;
    world.repairs();
    let first = world.store(here, "first").await;
    let (newcomer, _new) = world.join(here).await;
    newcomer.is_shown(&world.history(here).await);
    newcomer.speaks("a");
    world.deliver(&world.store(here, "then").await);
    world.deliver(&first);
    world.repaired().await;
    let contents = ["first", "then"];
    assert_eq!(told(&old, &contents), contents);
}

#[tokio::test]
async fn nothing_waits_for_what_has_come_or_for_what_others_said() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_old, old) = world.join(here).await;
    let heard = world.store(here, "heard").await;
    world.deliver(&heard);
    let (newcomer, _new) = world.join(here).await;
    newcomer.is_shown(&world.history(here).await);
    assert!(!newcomer.may_precede());
    world.store(here, "by a").await;
    let (newcomer, _new) = world.join(here).await;
    newcomer.is_shown(&world.history(here).await);
    assert!(newcomer.may_precede());
    newcomer.speaks("b");
    world.deliver(&world.store(here, "next").await);
    let contents = ["heard", "by a", "next"];
    assert_eq!(told(&old, &contents), ["heard", "next"]);
}

#[tokio::test]
async fn a_process_that_is_notified_reads_what_its_sockets_lack_and_nothing_else() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_socket, queue) = world.join(here).await;
    world.repairs();
    let room = world.hub.room(here).unwrap();
    let (heard, owed) = (
        world.store(here, "heard").await,
        world.store(here, "owed").await,
    );
    world.deliver(&heard);
    let follows = |messages: &[&Message]| Follows {
        conversation: here,
        messages: messages.iter().map(|it| it.id).collect(),
        since: heard.created_at,
        until: owed.created_at,
    };
    world.hub.follow(&room, follows(&[&heard]));
    assert_eq!(room.held_for(), None);
    world.hub.follow(&room, follows(&[&heard, &owed]));
    world.deliver(&world.store(here, "then").await);
    world.repaired().await;
    let contents = ["heard", "owed", "then"];
    assert_eq!(told(&queue, &contents), contents);
}

#[tokio::test]
async fn what_was_stored_during_a_repair_is_read_by_it_once_more() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_old, old) = world.join(here).await;
    let room = world.hub.room(here).unwrap();
    assert!(room.hold(|| world.hub.metrics.repair_open()));
    let said = world.store(here, "said elsewhere").await;
    let (newcomer, _new) = world.join(here).await;
    newcomer.is_shown(&world.history(here).await);
    newcomer.speaks("a");
    world.deliver(&world.store(here, "said here").await);
    let next = room.next(false);
    assert_eq!(next, super::super::room::Next::Read(said.created_at));
    room.let_be(said.created_at);
    world.repairs();
    world.hub.missed.notify_one();
    world.repaired().await;
    let contents = ["said elsewhere", "said here"];
    assert_eq!(told(&old, &contents), contents);
}
