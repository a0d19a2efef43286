use std::{collections::VecDeque, sync::Mutex as StdMutex, time::Duration};

use super::*;
use crate::config::IdVersion;

use uuid::Uuid;

/// A database that fails as a test asks, then works.
#[derive(Clone, Default)]
struct Fake(Arc<StdMutex<Script>>);

#[derive(Default)]
struct Script {
    /// Answers to the next batches.
    failures: VecDeque<StoreError>,
    /// Writes of each batch.
    batches: Vec<Vec<String>>,
    /// True if a batch whose commit is not confirmed has been committed.
    commits_in_secret: bool,
    rows: Vec<String>,
}

impl Fake {
    fn failing(failures: impl IntoIterator<Item = StoreError>) -> Self {
        let fake = Fake::default();
        fake.script().failures.extend(failures);
        fake
    }

    fn start_with(&self, ids: IdVersion) -> Arc<Committer> {
        Arc::new(Committer::start(
            self.clone(),
            NewIds::ours(ids),
            Arc::new(Metrics::new()),
        ))
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }

    fn start(&self) -> Arc<Committer> {
        self.start_with(IdVersion::V7)
    }
}

impl Script {
    fn store(&mut self, contents: &[String]) {
        for content in contents {
            if !self.rows.contains(content) {
                self.rows.push(content.clone());
            }
        }
    }
}

fn content(write: &Write) -> String {
    match write {
        Write::Message(message) => message.content.clone(),
        other => panic!("{other:?}"),
    }
}

impl Backend for Fake {
    async fn write(
        &mut self,
        batch: Arc<Vec<Write>>,
        _: Attempt,
    ) -> Result<Vec<CommitOutcome>, StoreError> {
        // Time for others to queue up.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut script = self.script();
        let contents: Vec<String> = batch.iter().map(content).collect();
        script.batches.push(contents.clone());
        if let Some(failure) = script.failures.pop_front() {
            if script.commits_in_secret && matches!(failure, StoreError::Unknown(_)) {
                script.store(&contents);
            }
            return Err(failure);
        }
        if contents.iter().any(|content| content == "bad") {
            return Err(StoreError::Refused("bad".into()));
        }
        script.store(&contents);
        Ok(vec![CommitOutcome::Stored; batch.len()])
    }
}

async fn say(committer: &Committer, content: &str) -> Result<Option<Arc<Message>>, StoreError> {
    let new = NewMessage {
        id: None,
        conversation_id: Uuid::nil().into(),
        sender_id: "alice".into(),
        content: content.into(),
        message_type: "text".into(),
        is_deleted: false,
        attachments: Vec::new(),
    };
    committer.insert(new, Box::new(|_| {})).await
}

/// Many at once; whether each was stored.
async fn say_all(committer: &Arc<Committer>, contents: &[&str]) -> Vec<bool> {
    let mut saying = Vec::new();
    for content in contents {
        let (committer, content) = (Arc::clone(committer), (*content).to_owned());
        saying.push(tokio::spawn(async move { say(&committer, &content).await }));
    }
    let mut stored = Vec::new();
    for saying in saying {
        stored.push(saying.await.unwrap().is_ok());
    }
    stored
}

#[tokio::test(start_paused = true)]
async fn a_lone_write_waits_for_nobody_and_a_crowd_shares_a_batch() {
    let fake = Fake::default();
    let committer = fake.start();
    assert!(say(&committer, "alone").await.is_ok());
    let crowd = ["a", "b", "c", "d", "e"];
    assert_eq!(say_all(&committer, &crowd).await, [true; 5]);
    let sizes: Vec<_> = fake.script().batches.iter().map(Vec::len).collect();
    assert_eq!((sizes[0], sizes.iter().sum::<usize>()), (1, 6));
    assert!(sizes.len() <= 3, "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn ids_grow_from_message_to_message() {
    let fake = Fake::default();
    let committer = fake.start();
    let mut last = Uuid::nil().into();
    for _ in 0..2000 {
        let message = say(&committer, "a").await.unwrap().unwrap();
        assert_eq!(message.id.uuid().unwrap().get_version_num(), 7);
        assert!(message.id > last);
        last = message.id;
    }
}

#[tokio::test(start_paused = true)]
async fn ids_are_random_by_setting() {
    let committer = Fake::default().start_with(IdVersion::V4);
    let message = say(&committer, "a").await.unwrap().unwrap();
    assert_eq!(message.id.uuid().unwrap().get_version_num(), 4);
}

#[tokio::test(start_paused = true)]
async fn long_texts_fill_a_batch_before_many_do() {
    let fake = Fake::default();
    let committer = fake.start();
    let half = "x".repeat(BATCH_BYTES / 2);
    assert_eq!(say_all(&committer, &[half.as_str(); 7]).await, [true; 7]);
    let sizes: Vec<_> = fake.script().batches.iter().map(Vec::len).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 7);
    assert!(
        sizes.contains(&2) && sizes.iter().all(|size| *size <= 2),
        "{sizes:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_bad_row_does_not_take_its_neighbours_with_it() {
    let fake = Fake::default();
    let committer = fake.start();
    let stored = say_all(&committer, &["a", "b", "bad", "c", "bad"]).await;
    assert_eq!(stored, [true, true, false, true, false]);
    assert_eq!(fake.script().rows, ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_loses_against_another_transaction_is_tried_again() {
    let fake = Fake::failing(vec![StoreError::Conflict("deadlock".into()); 5]);
    let committer = fake.start();
    assert!(say(&committer, "a").await.is_ok());
    assert_eq!(fake.script().batches.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_loses_every_time_is_given_up() {
    let fake = Fake::failing(vec![StoreError::Conflict("deadlock".into()); 8]);
    let committer = fake.start();
    let told = say(&committer, "a").await;
    assert!(matches!(told, Err(StoreError::Conflict(_))), "{told:?}");
    assert!(say(&committer, "b").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_was_not_confirmed_is_looked_up_and_written_once() {
    for commits_in_secret in [true, false] {
        let fake = Fake::failing([StoreError::Unknown("gone".into())]);
        fake.script().commits_in_secret = commits_in_secret;
        let committer = fake.start();
        assert!(say(&committer, "a").await.is_ok());
        assert_eq!(fake.script().rows, ["a"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_says_nothing_of_a_commit_that_was_not_confirmed() {
    let conflicts = vec![StoreError::Conflict("duplicate key".into()); 20];
    let lost = std::iter::once(StoreError::Unknown("gone".into()));
    let fake = Fake::failing(lost.chain(conflicts));
    fake.script().commits_in_secret = true;
    let committer = fake.start();
    assert!(say(&committer, "a").await.is_ok());
    assert_eq!(fake.script().rows, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn while_a_commit_is_in_doubt_newcomers_are_sent_away_and_nothing_overtakes_it() {
    let away = || StoreError::Unavailable("refused".into());
    let fake = Fake::failing([StoreError::Unknown("gone".into()), away(), away(), away()]);
    let committer = fake.start();
    let first = tokio::spawn({
        let committer = Arc::clone(&committer);
        async move { say(&committer, "first").await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let told = say(&committer, "second").await;
    assert!(matches!(told, Err(StoreError::Unavailable(_))), "{told:?}");
    assert!(first.await.unwrap().is_ok());
    assert!(say(&committer, "third").await.is_ok());
    assert_eq!(fake.script().rows, ["first", "third"]);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_tell_is_said_to_be_unknown_in_the_end() {
    let away = std::iter::repeat_with(|| StoreError::Unavailable("refused".into()));
    let fake = Fake::failing(
        [StoreError::Unknown("gone".into())]
            .into_iter()
            .chain(away.take(500)),
    );
    let committer = fake.start();
    let began = tokio::time::Instant::now();
    let told = say(&committer, "a").await;
    assert!(matches!(told, Err(StoreError::Unknown(_))), "{told:?}");
    assert!(began.elapsed() >= SETTLE_MAX);
}

#[tokio::test(start_paused = true)]
async fn closing_writes_what_was_handed_over_and_takes_no_more() {
    let fake = Fake::default();
    let committer = fake.start();
    let last = tokio::spawn({
        let committer = Arc::clone(&committer);
        async move { say(&committer, "last").await }
    });
    tokio::task::yield_now().await;
    committer.close().await;
    assert!(last.await.unwrap().is_ok());
    assert_eq!(fake.script().rows, ["last"]);
    let told = say(&committer, "late").await;
    assert!(matches!(told, Err(StoreError::Closed)), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn messages_are_announced_in_the_order_of_their_times() {
    let fake = Fake::default();
    let committer = fake.start();
    let announced = Arc::new(StdMutex::new(Vec::new()));
    let mut saying = Vec::new();
    for number in 0..50 {
        let (committer, announced) = (Arc::clone(&committer), Arc::clone(&announced));
        let new = NewMessage {
            id: None,
            conversation_id: Uuid::nil().into(),
            sender_id: "alice".into(),
            content: number.to_string(),
            message_type: "text".into(),
            is_deleted: false,
            attachments: Vec::new(),
        };
        saying.push(tokio::spawn(async move {
            let tell =
                move |message: &Arc<Message>| announced.lock().unwrap().push(message.created_at);
            committer.insert(new, Box::new(tell)).await
        }));
    }
    for saying in saying {
        saying.await.unwrap().unwrap();
    }
    let announced = announced.lock().unwrap();
    assert!(announced.len() == 50 && announced.is_sorted());
}
