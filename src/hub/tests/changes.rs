//! Messages that their senders change.

use super::*;
use crate::{hub::frames::DialectSlot, python::datetime::after};

/// A socket of a dialect that has a form for changes.
async fn join(world: &World, here: ConversationId) -> Membership {
    let limits = QueueLimits {
        frames: 5,
        bytes: 10_000,
    };
    let queue = Arc::new(Queue::of(DialectSlot::after(1), limits));
    let joined = world.hub.join(here, here.to_string(), queue);
    joined.await.unwrap()
}

#[tokio::test]
async fn after_a_gap_it_is_looked_for_all_that_no_sweep_has_compared() {
    let world = World::new().await;
    let here = world.conversation().await;
    let _socket = join(&world, here).await;
    let swept = world.hub.room(here).unwrap().swept();
    // The gap is later than what may have been missed before it.
    world
        .hub
        .gap(after(Timestamp::now(), Duration::from_secs(60)));
    let looked_at = world.hub.changes.take();
    assert!(matches!(looked_at[..], [(id, since)] if id == here && since < swept));
    let since = after(Timestamp::now(), Duration::from_secs(60));
    let notice = Notice { group: None, since };
    world.hub.read_again(&notice);
    let looked_at = world.hub.changes.take();
    assert!(matches!(looked_at[..], [(_, since)] if since <= swept));
}

#[tokio::test]
async fn nothing_is_looked_up_where_nobody_is_shown_changes() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_socket, _queue) = world.join(here).await;
    world.hub.gap(Timestamp::now());
    assert!(world.hub.changes.take().is_empty());
}
