//! A batch: messages of many senders at once.

use std::sync::Arc;

use chatferry::{
    metrics::Metrics,
    store::{self, Store},
};
use futures_util::future::join_all;
use uuid::Uuid;

use super::{
    nowhere::Nowhere,
    world::{CONVERSATION, Directory, alone, config, new_message},
};

const ROWS: usize = 100;

pub fn committer(times: usize) {
    alone(async {
        let store = Nowhere::new(Arc::new(Metrics::new()));
        batches(&store, CONVERSATION, times).await;
    });
}

pub fn sqlite(times: usize) {
    let directory = Directory::new();
    let file = directory.path().join("chat.sqlite3");
    let config = config(&[("store.url", format!("sqlite://{}", file.display()))]);
    alone(async {
        let store = store::open(&config, Arc::new(Metrics::new()))
            .await
            .unwrap();
        let pair = ("alice".to_owned(), "bob".to_owned());
        let made = store.get_or_create_conversation(pair.0, pair.1).await;
        let (conversation, _) = made.unwrap();
        batches(&*store, conversation.id, times).await;
        store.close().await;
    });
}

async fn batches(store: &dyn Store, conversation_id: Uuid, times: usize) {
    for _ in 0..times {
        let inserts =
            (0..ROWS).map(|_| store.insert_message(new_message(conversation_id), Box::new(|_| {})));
        for inserted in join_all(inserts).await {
            assert!(inserted.unwrap().is_some());
        }
    }
}
