//! The cost of an outbox for the chat: messages per second through the committer without it, with it
//! while a publisher drains it, and with a backlog that is drained meanwhile; on the same database in
//! the same run.
//!
//! `cargo run --release -p chatferry-bench --bin outbox -- REDIS URL…` works in databases that may be
//! filled; their tables are made if they are missing. Events go to the stream `chatferry.bench` of
//! that Redis. `tests/run outbox` gives it a MariaDB and a Redis. Held are the aims: 85 % with an
//! outbox, and 80 % while a backlog is drained. `BACKLOG` in the environment is its length, 1,000,000
//! if it is not set. An aim that is missed is printed, and the exit code is 1.

#![allow(clippy::unwrap_used, reason = "no figures without")]

mod senders;

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use chatferry::{
    config::Config,
    dialect::django::tables::schema,
    id::ConversationId,
    metrics::Metrics,
    server::Site,
    store::{self, Store},
};
use tokio::time::sleep;
use uuid::Uuid;

use self::senders::{EACH, SENDERS, median, senders};

/// Measurements of each, in turn; the median is printed.
const ROUNDS: usize = 7;
const WITH_OUTBOX: f64 = 0.85;
const WHILE_DRAINING: f64 = 0.8;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let redis = arguments.next().unwrap_or_default();
    let mut is_reached = true;
    for url in arguments {
        is_reached &= measure(&redis, &url).await;
    }
    if is_reached {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The settings of a server on this database, with a sink or without.
fn config(url: &str, redis: Option<&str>) -> Config {
    let mut flags = vec![("store.url", url), ("server.bind", "127.0.0.1:0")];
    if let Some(redis) = redis {
        flags.extend([
            ("events.sinks", "redis_stream"),
            ("events.redis_stream.url", redis),
            ("events.redis_stream.stream", "chatferry.bench"),
            ("events.redis_stream.max_len", "10000"),
        ]);
    }
    let flags = flags.into_iter();
    let flags: Vec<_> = flags
        .map(|(key, it)| (key.to_owned(), it.to_owned()))
        .collect();
    Config::load(None, std::iter::empty(), &flags)
        .unwrap()
        .config
}

/// Measures on one database, and returns whether the aims are reached.
async fn measure(redis: &str, url: &str) -> bool {
    let (plain, with) = (config(url, None), config(url, Some(redis)));
    let schema = schema(&with.store.tables);
    store::migrate(&with, &schema).await.unwrap();
    let open = async |config: &Config| {
        let opened = store::open(config, &schema, Arc::new(Metrics::new())).await;
        opened.unwrap()
    };
    // Three stores beside each other: one writes no events, one writes events that are not published, and one
    // belongs to a server that publishes.
    let (without, unread) = (open(&plain).await, open(&with).await);
    let pair = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let opened = without.get_or_create_conversation(pair.0, pair.1).await;
    let id = opened.unwrap().0.id;
    let mut plain_rates = Vec::new();
    let mut outbox_rates = Vec::new();
    for _ in 0..ROUNDS {
        plain_rates.push(rate(&without, id).await);
        let site = Site::start(with.clone()).await.unwrap();
        outbox_rates.push(rate(&site.app.store, id).await);
        site.events.as_ref().unwrap().close().await;
        site.app.store.close().await;
    }
    let wanted = std::env::var("BACKLOG").map_or(1_000_000, |it| it.parse().unwrap());
    let mut backlog = 0;
    while backlog < wanted {
        rate(&unread, id).await;
        backlog += SENDERS * EACH;
    }
    let site = Site::start(with.clone()).await.unwrap();
    let outbox = Arc::clone(site.app.store.outbox().unwrap());
    let waiting = async || outbox.backlog("redis_stream").await.unwrap().events;
    while waiting().await == 0 {
        sleep(Duration::from_millis(100)).await;
    }
    let (began, first) = (Instant::now(), waiting().await);
    let mut draining_rates = Vec::new();
    while draining_rates.len() < ROUNDS && waiting().await > 0 {
        draining_rates.push(rate(&without, id).await);
    }
    while waiting().await > 0 {
        sleep(Duration::from_millis(100)).await;
    }
    #[allow(clippy::cast_precision_loss, reason = "millions")]
    let drained = first as f64 / began.elapsed().as_secs_f64();
    site.events.as_ref().unwrap().close().await;
    let (plain, with) = (median(plain_rates), median(outbox_rates));
    let draining = median(draining_rates);
    println!("{:?}", self::config(url, None).store.url.database());
    println!("  without an outbox             {plain:>9.0} messages/s");
    println!("  with an outbox                {with:>9.0} messages/s");
    println!(
        "  share                         {:>9.2} aim {WITH_OUTBOX}",
        with / plain
    );
    println!("  while {first} events are drained {draining:>9.0} messages/s");
    println!(
        "  share                         {:>9.2} aim {WHILE_DRAINING}",
        draining / plain
    );
    println!("  drained                       {drained:>9.0} events/s");
    with / plain >= WITH_OUTBOX && draining / plain >= WHILE_DRAINING
}

/// Messages that many senders store in a second.
#[allow(clippy::cast_precision_loss, reason = "thousands")]
async fn rate(store: &Arc<dyn Store>, conversation_id: ConversationId) -> f64 {
    let began = Instant::now();
    senders(store, conversation_id).await;
    (SENDERS * EACH) as f64 / began.elapsed().as_secs_f64()
}
