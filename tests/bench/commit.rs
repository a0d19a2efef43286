//! What group commit is worth: messages per second through the committer, against one commit for
//! each message and against a loop of multi-row inserts written for the purpose, on the same
//! database in the same run; and what a lone sender waits.
//!
//! `cargo run --release -p chatferry-bench --bin commit -- URL …` works in databases that may be
//! filled, one after the other (`mysql://…`, `postgres://…`, `sqlite://FILE`); their tables are made
//! if they are missing.
//! `tests/run commit` gives it one of each kind. Rates depend on the machine. What is held is the
//! aim: with 200 at once, 90 % of the loop. Less is told, and the exit code is 1.

#![allow(clippy::unwrap_used, reason = "no figures without")]

mod senders;

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use chatferry::{
    config::{Config, Database},
    dialect::django::tables::schema,
    id::ConversationId,
    metrics::Metrics,
    store,
};
use mysql_async::{Conn, Opts, prelude::Queryable};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use self::senders::{EACH, SENDERS, median, sender, senders};

const ALONE: usize = 300;
/// What the committer must reach of the loop.
const AIM: f64 = 0.9;
/// How often each is measured, in turn; what is told is the median.
const ROUNDS: usize = 7;

#[tokio::main]
async fn main() -> ExitCode {
    let mut worst = f64::INFINITY;
    for url in std::env::args().skip(1) {
        worst = worst.min(measure(&url).await);
    }
    if worst.is_infinite() {
        println!("skipped: no database; give URLs, mysql://user:pw@host:port/db");
    }
    if worst < AIM {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Measures on one database, and returns the share of what is done by hand.
async fn measure(url: &str) -> f64 {
    let flags = [("store.url".to_owned(), url.to_owned())];
    let config = Config::load(None, std::iter::empty(), &flags)
        .unwrap()
        .config;
    let schema = schema(&config.store.tables);
    store::migrate(&config, &schema).await.unwrap();
    let mut hand = Hand::on(&config).await;
    let store = store::open(&config, &schema, Arc::new(Metrics::new()))
        .await
        .unwrap();
    let pair = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let (conversation, _) = store
        .get_or_create_conversation(pair.0, pair.1)
        .await
        .unwrap();
    let id = conversation.id;

    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(Round {
            single: rate(ALONE, hand.insert(id, 1, ALONE)).await,
            alone: rate(ALONE, sender(&store, id, ALONE)).await,
            batched: rate(SENDERS * EACH, hand.insert(id, SENDERS, EACH)).await,
            committer: rate(SENDERS * EACH, senders(&store, id)).await,
        });
    }
    store.close().await;
    let median = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let share = median(|round| round.committer / round.batched);
    println!("{:?}", config.store.url.database());
    println!(
        "  one commit for each message  {:>9.0} messages/s",
        median(|r| r.single)
    );
    println!(
        "  inserts of {SENDERS} rows, by hand  {:>9.0} messages/s",
        median(|r| r.batched)
    );
    println!(
        "  {SENDERS} senders, group commit     {:>9.0} messages/s",
        median(|r| r.committer)
    );
    println!("  share of what is done by hand {share:>8.2} aim {AIM}");
    println!(
        "  a lone sender, by hand       {:>9.2} ms",
        median(|r| 1e3 / r.single)
    );
    println!(
        "  a lone sender, group commit  {:>9.2} ms",
        median(|r| 1e3 / r.alone)
    );
    share
}

/// Messages per second.
struct Round {
    single: f64,
    alone: f64,
    batched: f64,
    committer: f64,
}

/// How many of `count` there were in a second.
#[allow(clippy::cast_precision_loss, reason = "thousands")]
async fn rate(count: usize, work: impl Future<Output = ()>) -> f64 {
    let began = Instant::now();
    work.await;
    count as f64 / began.elapsed().max(Duration::from_micros(1)).as_secs_f64()
}

/// A connection of the loop's own, with the driver's and the server's settings as they come.
enum Hand {
    Mysql(Conn),
    Postgres(Client),
    Sqlite(rusqlite::Connection),
}

impl Hand {
    async fn on(config: &Config) -> Self {
        let url = &config.store.url;
        match url.database() {
            Database::Mysql => Hand::Mysql(
                Conn::new(Opts::from_url(url.expose()).unwrap())
                    .await
                    .unwrap(),
            ),
            Database::Postgres => {
                let connected = tokio_postgres::connect(url.expose(), NoTls).await;
                let (client, connection) = connected.unwrap();
                tokio::spawn(connection);
                Hand::Postgres(client)
            }
            Database::Sqlite => {
                let db = rusqlite::Connection::open(url.sqlite_file().unwrap()).unwrap();
                db.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")
                    .unwrap();
                Hand::Sqlite(db)
            }
        }
    }

    /// `count` times one statement of so many rows.
    async fn insert(&mut self, conversation_id: ConversationId, rows: usize, count: usize) {
        let conversation = conversation_id.0.short();
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
            match self {
                Hand::Mysql(db) => db.query_drop(sql).await.unwrap(),
                Hand::Postgres(db) => db.batch_execute(&sql).await.unwrap(),
                Hand::Sqlite(db) => db.execute_batch(&sql).unwrap(),
            }
        }
    }
}
