//! A batch: messages of many senders at once.

use std::sync::Arc;

use chatferry::{
    dialect::django::tables::schema,
    id::ConversationId,
    metrics::Metrics,
    store::{self, Store},
};
use futures_util::future::join_all;

use super::{
    Go,
    nowhere::Nowhere,
    world::{CONVERSATION, Directory, config, new_message, one_thread},
};

const ROWS: usize = 100;

pub fn committer() -> Go {
    let runtime = one_thread();
    let store = runtime.block_on(async { Nowhere::new(Arc::new(Metrics::new())) });
    Box::new(move |times| runtime.block_on(batches(&store, CONVERSATION, times)))
}

pub fn sqlite() -> Go {
    let (runtime, directory) = (one_thread(), Directory::new());
    let file = directory.path().join("chat.sqlite3");
    let config = config(&[("store.url", format!("sqlite://{}", file.display()))]);
    let (store, conversation) = runtime.block_on(async {
        let schema = schema(&config.store.tables);
        let store = store::open(&config, &schema, Arc::new(Metrics::new()));
        let store = store.await.unwrap();
        let made = store.get_or_create_conversation("alice".to_owned(), "bob".to_owned());
        let (conversation, _) = made.await.unwrap();
        (store, conversation.id)
    });
    Box::new(move |times| {
        // Until the end, when it is removed.
        let _ = &directory;
        runtime.block_on(batches(&*store, conversation, times));
    })
}

async fn batches(store: &dyn Store, conversation_id: ConversationId, times: usize) {
    for _ in 0..times {
        let inserts =
            (0..ROWS).map(|_| store.insert_message(new_message(conversation_id), Box::new(|_| {})));
        for inserted in join_all(inserts).await {
            assert!(inserted.unwrap().is_some());
        }
    }
}
