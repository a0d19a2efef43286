//! What group commit is worth: messages per second through the committer, against one commit for
//! each message and against a loop of multi-row inserts written for the purpose, on the same
//! server in the same run; and what a lone sender waits.
//!
//! `cargo bench --bench commit -- mysql://user:pw@host:port/db` works in a database that may be
//! filled; its tables are made if they are missing. Rates depend on the machine. What is held is the
//! aim: with 200 at once, 90 % of the loop. Less is told, and the exit code is 1.

#![allow(clippy::unwrap_used, reason = "no figures without")]

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use chatferry::{
    chat::NewMessage,
    config::Config,
    metrics::Metrics,
    store::{self, Store},
};
use mysql_async::{Conn, Opts, prelude::Queryable};
use uuid::Uuid;

const SENDERS: usize = 200;
const EACH: usize = 200;
const ALONE: usize = 500;
/// What the committer must reach of the loop.
const AIM: f64 = 0.9;
/// How often each is measured; the best counts, because the machine does other things too.
const ROUNDS: usize = 3;

#[tokio::main]
async fn main() -> ExitCode {
    // Cargo adds flags of its own.
    let Some(url) = std::env::args().skip(1).find(|arg| !arg.starts_with('-')) else {
        println!("skipped: no server; give its URL, mysql://user:pw@host:port/db");
        return ExitCode::SUCCESS;
    };
    let flags = [("store.url".to_owned(), url.clone())];
    let config = Config::load(None, std::iter::empty(), &flags)
        .unwrap()
        .config;
    store::migrate(&config).await.unwrap();
    let store = store::open(&config, Arc::new(Metrics::new()))
        .await
        .unwrap();
    let pair = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let (conversation, _) = store
        .get_or_create_conversation(pair.0, pair.1)
        .await
        .unwrap();
    let mut hand = Conn::new(Opts::from_url(&url).unwrap()).await.unwrap();

    let (mut committer, mut single, mut batched) = (0.0_f64, 0.0_f64, 0.0_f64);
    for _ in 0..ROUNDS {
        committer = committer.max(rate(SENDERS * EACH, senders(&store, conversation.id)).await);
        batched =
            batched.max(rate(SENDERS * EACH, inserts(&mut hand, conversation.id, SENDERS)).await);
        single = single.max(rate(ALONE, inserts_of(&mut hand, conversation.id, 1, ALONE)).await);
    }
    println!("one commit for each message     {single:>9.0} messages/s");
    println!("inserts of {SENDERS} rows, by hand     {batched:>9.0} messages/s");
    println!("{SENDERS} senders, group commit        {committer:>9.0} messages/s");
    let share = committer / batched;
    println!("share of what is done by hand   {share:>9.2}   aim {AIM}");
    println!("a lone sender, by hand          {:>9.2} ms", 1e3 / single);
    let alone = rate(ALONE, sender(&store, conversation.id, ALONE)).await;
    println!("a lone sender, group commit     {:>9.2} ms", 1e3 / alone);
    store.close().await;
    hand.disconnect().await.unwrap();
    if share < AIM {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// How many of `count` there were in a second.
#[allow(clippy::cast_precision_loss, reason = "thousands")]
async fn rate(count: usize, work: impl Future<Output = ()>) -> f64 {
    let began = Instant::now();
    work.await;
    count as f64 / began.elapsed().max(Duration::from_micros(1)).as_secs_f64()
}

async fn senders(store: &Arc<dyn Store>, conversation_id: Uuid) {
    let mut sending = Vec::new();
    for _ in 0..SENDERS {
        let store = Arc::clone(store);
        sending.push(tokio::spawn(async move {
            sender(&store, conversation_id, EACH).await;
        }));
    }
    for sending in sending {
        sending.await.unwrap();
    }
}

async fn sender(store: &Arc<dyn Store>, conversation_id: Uuid, count: usize) {
    for _ in 0..count {
        let new = NewMessage {
            conversation_id,
            sender_id: "alice".into(),
            content: "Nothing much, and you? 안녕하세요".into(),
            message_type: "text".into(),
            is_deleted: false,
        };
        let stored = store.insert_message(new, Box::new(|_| {})).await;
        assert!(stored.unwrap().is_some());
    }
}

async fn inserts(conn: &mut Conn, conversation_id: Uuid, rows: usize) {
    inserts_of(conn, conversation_id, rows, SENDERS * EACH / rows).await;
}

async fn inserts_of(conn: &mut Conn, conversation_id: Uuid, rows: usize, count: usize) {
    let conversation = conversation_id.simple();
    for _ in 0..count {
        let values = (0..rows).map(|_| {
            format!(
                "('{}', '{conversation}', 'alice', 'Nothing much, and you? 안녕하세요', 'text', \
                 '2026-11-20 08:54:04.849273', '2026-11-20 08:54:04.849300', false)",
                Uuid::new_v4().simple()
            )
        });
        let sql = format!(
            "INSERT INTO messages (id, conversation_id, sender_id, content, message_type, \
             created_at, updated_at, is_deleted) VALUES {}",
            values.collect::<Vec<_>>().join(", ")
        );
        conn.query_drop(sql).await.unwrap();
    }
}
