//! Events for other services: what is written to the outbox, in which order it is published, and
//! what consumers see when sinks, databases and processes go away.
//!
//! Every test of the outbox is run on each kind of database.

mod brokers;
mod chaos;
mod inward;
mod inward_brokers;
mod log;
mod orders;
mod outbox;
mod reconcile;
mod redis_stream;
mod schemas;
mod webhook;

use chatferry::store::outbox::{Lease, Outbox, OutboxRow};
use std::{sync::Arc, time::Duration};

use crate::support::{Server, server::load};

/// Long enough for what a test does with it.
const LONG: Duration = Duration::from_secs(3600);

/// Settings by which events are kept, and none is published: there is no server at that address.
const KEPT: [(&str, &str); 2] = [
    ("events.sinks", "redis_stream"),
    ("events.redis_stream.url", "redis://127.0.0.1:1/0"),
];

/// The outbox of a server.
fn outbox_of(server: &Server) -> &Arc<Outbox> {
    server.app.store.outbox().unwrap()
}

/// A lease of a sink of the test's own.
async fn lease(outbox: &Outbox, sink: &str) -> Lease {
    outbox.prepare(&[sink]).await.unwrap();
    outbox.lease(sink, "test", LONG).await.unwrap().unwrap()
}

/// Every event after a place, in order.
async fn events_after(outbox: &Outbox, place: i64) -> Vec<OutboxRow> {
    while outbox.give_places().await.unwrap() > 0 {}
    let mut events: Vec<OutboxRow> = Vec::new();
    loop {
        let last = events.last().map_or(place, |event| event.place);
        let more = outbox.after(last, 100).await.unwrap();
        if more.is_empty() {
            return events;
        }
        events.extend(more);
    }
}

/// Settings with these flags over a database.
fn settings(url: &str, flags: &[(&str, &str)]) -> chatferry::config::Config {
    load(&[("store.url", url)], flags)
}
