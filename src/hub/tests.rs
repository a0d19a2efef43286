mod changes;
mod follow;
mod marks;
mod repair;
mod sweep;

use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::{
    chat::{Message, NewMessage},
    config::Config,
    dialect::django::tables::schema,
    hub::queue::QueueLimits,
    id::{ConversationId, MessageId},
    layer::{control::Notice, memory::MemoryLayer},
    python::datetime::Timestamp,
    store::{
        self, StoreError,
        history::{Deleted, History},
    },
    value::Value,
};

/// A hub over a store of its own, whose frames are the events' debug text.
struct World {
    hub: Arc<Hub>,
    layer: Arc<MemoryLayer>,
    store: Arc<dyn Store>,
    directory: std::path::PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl World {
    async fn new() -> Self {
        World::with(Box::new(|_, event| Bytes::from(format!("{event:?}")))).await
    }

    async fn with(encode: Encode) -> Self {
        let directory = std::env::temp_dir().join(format!("chatferry-hub-{}", Uuid::new_v4()));
        std::fs::create_dir(&directory).unwrap();
        let url = format!("sqlite://{}/chat.sqlite3", directory.display());
        let config = Config::of(&[("store.url", &url)]);
        let metrics = Arc::new(Metrics::new());
        let schema = schema(&config.store.tables);
        let store = store::open(&config, &schema, Arc::clone(&metrics));
        let store = store.await.unwrap();
        let layer = Arc::new(MemoryLayer::new());
        let hub = Arc::new(Hub::new(
            Arc::clone(&layer) as _,
            Arc::clone(&store),
            metrics,
            vec![encode],
            true,
            Vital::default(),
        ));
        World {
            hub,
            layer,
            store,
            directory,
        }
    }

    async fn conversation(&self) -> ConversationId {
        let names = ("a".to_owned(), Uuid::new_v4().to_string());
        let made = self
            .store
            .get_or_create_conversation(names.0, names.1)
            .await;
        made.unwrap().0.id
    }

    async fn store(&self, conversation_id: ConversationId, content: &str) -> Message {
        let new = NewMessage {
            id: None,
            conversation_id,
            sender_id: "a".into(),
            content: content.into(),
            message_type: "text".into(),
            is_deleted: false,
            attachments: Vec::new(),
        };
        let stored = self.store.insert_message(new, Box::new(|_| {})).await;
        Arc::unwrap_or_clone(stored.unwrap().unwrap())
    }

    async fn history(&self, conversation_id: ConversationId) -> Vec<Message> {
        let history = History::find(&self.store, conversation_id, Deleted::Skipped).await;
        history.unwrap().unwrap().whole().await.unwrap()
    }

    fn deliver(&self, message: &Message) {
        self.hear(message, None);
    }

    /// An event tells of this message, perhaps again.
    fn hear(&self, message: &Message, resent: Option<Timestamp>) {
        let room = self.hub.room(message.conversation_id).unwrap();
        let event = Event::stored(Arc::new(message.clone()));
        self.hub.deliver(&room, &event, resent);
    }

    /// Returns a socket in a conversation.
    async fn join(&self, here: ConversationId) -> (Membership, Arc<Queue>) {
        let queue = queue();
        let joined = self.hub.join(here, here.to_string(), Arc::clone(&queue));
        let joined = joined.await.unwrap();
        queue.history_is_told();
        (joined, queue)
    }

    /// Returns the value of a counter.
    fn metric(&self, name: &str) -> String {
        let metrics = self.hub.metrics.render();
        let start = format!("{name} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&*start));
        value.unwrap_or_else(|| panic!("no {name}")).to_owned()
    }

    /// Stores a mark, of which no event is sent.
    async fn mark(&self, message: MessageId, user: &str) {
        let marked = self
            .store
            .mark_read(message, user.to_owned(), Box::new(|_| {}))
            .await;
        marked.unwrap().unwrap();
    }

    /// An event tells of a mark, perhaps again.
    fn hear_mark(&self, room: &Room, message: MessageId, user: &str, resent: Option<Timestamp>) {
        let event = Event::MessageRead {
            message_id: message.to_string().into(),
            user_id: user.into(),
        };
        self.hub.deliver(room, &event, resent);
    }

    /// Repairs run from now on.
    fn repairs(&self) {
        tokio::spawn(Arc::clone(&self.hub).repair());
    }

    /// Waits until nothing waits for a repair.
    async fn repaired(&self) {
        let held = |(_, room): (ConversationId, Arc<Room>)| room.held_for().is_some();
        while self.hub.all_rooms().into_iter().any(held) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Changes the database behind the store's back.
    fn spoil(&self, sql: &str) {
        self.spoil_all(1, sql);
    }

    /// Changes so many rows of the database behind the store's back.
    fn spoil_all(&self, rows: usize, sql: &str) {
        let db = rusqlite::Connection::open(self.directory.join("chat.sqlite3")).unwrap();
        assert_eq!(db.execute(sql, []).unwrap(), rows);
    }
}

/// Time passes, for all but the time of day.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn queue() -> Arc<Queue> {
    Arc::new(Queue::new(QueueLimits {
        frames: 5,
        bytes: 10_000,
    }))
}

fn typing(user: &str) -> Event {
    Event::Typing {
        user_id: user.into(),
        is_typing: Value::Bool(true),
    }
}

/// Which of the contents stand in the frames that wait, in their order.
fn told(queue: &Queue, contents: &[&'static str]) -> Vec<&'static str> {
    let frames = queue.take().unwrap().frames;
    let texts = frames
        .iter()
        .map(|frame| String::from_utf8_lossy(frame).into_owned());
    texts
        .filter_map(|text| {
            contents
                .iter()
                .find(|content| text.contains(**content))
                .copied()
        })
        .collect()
}

#[tokio::test]
async fn every_socket_of_a_conversation_gets_the_same_bytes_and_nobody_else_any() {
    let world = World::new().await;
    let [here, elsewhere] = [1, 2].map(|n| Uuid::from_u128(n).into());
    let queues = [queue(), queue(), queue()];
    let _one = world
        .hub
        .join(here, "g".into(), Arc::clone(&queues[0]))
        .await
        .unwrap();
    let _two = world
        .hub
        .join(here, "g".into(), Arc::clone(&queues[1]))
        .await
        .unwrap();
    let _other = world
        .hub
        .join(elsewhere, "h".into(), Arc::clone(&queues[2]))
        .await
        .unwrap();
    let running = Arc::clone(&world.hub);
    let task = tokio::spawn(async move { running.run(Box::new(|_| ())).await });
    world.layer.group_send("g", typing("hello")).await.unwrap();
    queues[0].filled().await;
    queues[1].filled().await;
    assert_eq!(told(&queues[0], &["hello"]), ["hello"]);
    assert_eq!(told(&queues[1], &["hello"]), ["hello"]);
    assert!(queues[2].take().unwrap().frames.is_empty());
    task.abort();
}

#[tokio::test]
async fn a_full_queue_costs_only_its_own_socket() {
    let world = World::new().await;
    let here = Uuid::new_v4().into();
    let (slow, quick) = (queue(), queue());
    let _slow = world
        .hub
        .join(here, "g".into(), Arc::clone(&slow))
        .await
        .unwrap();
    let _quick = world
        .hub
        .join(here, "g".into(), Arc::clone(&quick))
        .await
        .unwrap();
    let room = world.hub.room(here).unwrap();
    for _ in 0..6 {
        world.hub.deliver(&room, &typing("x"), None);
        assert_eq!(quick.take().unwrap().frames.len(), 1);
    }
    assert!(slow.take().is_err());
}

#[tokio::test]
async fn the_last_socket_takes_the_process_out_of_the_group() {
    let world = World::new().await;
    let here = Uuid::new_v4().into();
    let one = world.hub.join(here, "g".into(), queue()).await.unwrap();
    let two = world.hub.join(here, "g".into(), queue()).await.unwrap();
    drop(one);
    assert_eq!(world.layer.group_size("g"), 1);
    drop(two);
    while world.layer.group_size("g") > 0 || world.hub.room(here).is_some() {
        tokio::task::yield_now().await;
    }
    let _again = world.hub.join(here, "g".into(), queue()).await.unwrap();
    assert_eq!(world.layer.group_size("g"), 1);
}

#[tokio::test]
async fn what_stood_in_the_history_is_not_told_live_again() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (newcomer, present) = (queue(), queue());
    let _present = world
        .hub
        .join(here, "g".into(), Arc::clone(&present))
        .await
        .unwrap();
    let membership = world
        .hub
        .join(here, "g".into(), Arc::clone(&newcomer))
        .await
        .unwrap();
    let on_its_way = world.store(here, "hello").await;
    membership.is_shown(&world.history(here).await);
    world.deliver(&on_its_way);
    assert_eq!(told(&newcomer, &["hello"]), [""; 0]);
    assert_eq!(told(&present, &["hello"]), ["hello"]);
}

#[tokio::test]
async fn what_came_live_before_its_page_of_the_history_was_read_is_told_by_the_history() {
    let world = World::new().await;
    let here = world.conversation().await;
    let newcomer = queue();
    let membership = world
        .hub
        .join(here, "g".into(), Arc::clone(&newcomer))
        .await
        .unwrap();
    let (one, two) = (
        world.store(here, "one").await,
        world.store(here, "two").await,
    );
    world.deliver(&one);
    world.deliver(&two);
    membership.is_shown(std::slice::from_ref(&one));
    let three = world.store(here, "three").await;
    membership.is_shown(std::slice::from_ref(&three));
    world.deliver(&three);
    assert_eq!(told(&newcomer, &["one", "two", "three"]), ["two"]);
}

#[tokio::test]
async fn three_events_with_one_id_are_three_frames() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_socket, queue) = world.join(here).await;
    let mut message = world.store(here, "first").await;
    world.deliver(&message);
    for content in ["edited", "again"] {
        message.content = content.into();
        world.deliver(&message);
    }
    let contents = ["first", "edited", "again"];
    assert_eq!(told(&queue, &contents), contents);
}

#[tokio::test]
async fn what_the_store_has_shown_is_passed_over_once_and_its_edits_are_shown() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_socket, queue) = world.join(here).await;
    let before = Timestamp::now();
    let mut message = world.store(here, "first").await;
    world.repairs();
    world.hub.gap(before);
    world.repaired().await;
    world.deliver(&message);
    message.content = "edited".into();
    world.deliver(&message);
    assert_eq!(told(&queue, &["first", "edited"]), ["first", "edited"]);

    let (newcomer, queue) = world.join(here).await;
    let mut late = world.store(here, "late").await;
    newcomer.is_shown(&world.history(here).await);
    world.deliver(&late);
    late.content = "corrected".into();
    world.deliver(&late);
    assert_eq!(told(&queue, &["late", "corrected"]), ["corrected"]);
}

#[tokio::test]
async fn what_is_sent_again_is_shown_to_those_who_have_not_seen_it() {
    let world = World::new().await;
    let here = world.conversation().await;
    let (_old, old) = world.join(here).await;
    let (heard, missed) = (
        world.store(here, "heard").await,
        world.store(here, "missed").await,
    );
    world.deliver(&heard);
    let (newcomer, new) = world.join(here).await;
    newcomer.is_shown(&world.history(here).await);
    for _ in 0..2 {
        world.hear(&heard, Some(heard.created_at));
        world.hear(&missed, Some(missed.created_at));
    }
    let contents = ["heard", "missed"];
    assert_eq!(told(&old, &contents), contents);
    assert_eq!(told(&new, &contents), [""; 0]);
}
