//! The end of a server, once no more connections are served.
//!
//! First every accepted write is committed or refused, which announces its event; then the layer
//! sends these events; then the layer ends. Each step has the rest of the drain, and a least time of
//! its own.

use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::time::sleep;

use crate::cli::failed;
use crate::server::{Ended, Site};
use crate::shutdown::{Drain, Over};

/// Least time for the database to confirm the last writes.
pub const LAST_WRITES: Duration = Duration::from_secs(10);

/// Least time for the layer to send the last events.
pub const LAST_EVENTS: Duration = Duration::from_secs(2);

/// Longest time for the collector to take the last spans, from when everything else is
/// over: what is left of the drain's window, within these bounds.
pub const LAST_SPANS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(5);

/// Time after which the log says what is waited for.
const SOON: Duration = Duration::from_millis(100);

/// Lets go of everything, and returns the exit code, which has been explained.
pub async fn leave(site: &Site, ended: Ended) -> ExitCode {
    let app = &site.app;
    if let Ended::Failed(_) = ended {
        // Nothing is drained.
        app.drain.hurry();
    }
    let written = commit(site).await;
    send(site).await;
    let layers = site.apps().map(|app| &app.layer);
    let layers = layers.chain(site.host.as_ref().map(|host| host.layer()));
    join_all(layers.map(|layer| layer.close())).await;
    app.audit.flush();
    if let Some(tracer) = &app.tracer {
        let left = app.drain.left();
        tracer
            .close(left.clamp(*LAST_SPANS.start(), *LAST_SPANS.end()))
            .await;
    }
    if !written {
        return failed(
            &"the database did not confirm the last writes in time: they may be stored or not, and \
             nobody was told that they are",
        );
    }
    match ended {
        Ended::Drained => {
            tracing::info!("drained");
            ExitCode::SUCCESS
        }
        Ended::Failed(task) => failed(&format!(
            "the task `{task}` has panicked; the process ends, and is to be started again"
        )),
        Ended::Abandoned(open, over) => {
            let over = match over {
                Over::Window => "server.drain_s was over",
                Over::Hurried => "a second signal ended the drain",
            };
            failed(&format!("{open} connections were still open when {over}"))
        }
    }
}

/// Has every write that was accepted stored or refused, and ends the workers. Returns `false` if
/// the database has not confirmed all of them in time.
async fn commit(site: &Site) -> bool {
    let stores = join_all(site.apps().map(|app| app.store_with_groups.close()));
    let all = async { join(stores, site.mounts.leave()).await.1 };
    let written = within(&site.app.drain, LAST_WRITES, all, || {
        tracing::info!("waiting for the database to confirm the last writes");
    });
    let written = async { written.await == Some(true) };
    match &site.host {
        Some(host) => tokio::join!(written, host.dismiss()).0,
        None => written.await,
    }
}

/// Gives the layers time to send what they have, and what they owe, and the sinks to take events.
async fn send(site: &Site) {
    let drain = &site.app.drain;
    let sent = async {
        let chats = join_all(site.apps().map(|app| async {
            app.hub.tell_last().await;
            app.layer.settled().await;
        }));
        let hosted = async {
            if let Some(host) = &site.host {
                host.layer().settled().await;
            }
        };
        let events = async {
            if let Some(events) = &site.events {
                events.close().await;
            }
        };
        tokio::join!(chats, hosted, events);
    };
    let sent = within(drain, LAST_EVENTS, sent, || {
        tracing::info!(
            left_s = drain.left().as_secs(),
            "waiting for Redis and for sinks to take their events"
        );
    });
    if sent.await.is_none() {
        tracing::warn!(
            "the drain is over, and not all events are taken: other processes find the messages, \
             and events for sinks, in the store"
        );
    }
}

/// Waits for `work` until the drain is over, and at least for a time; `None` if it is not done then.
async fn within<T>(
    drain: &Drain,
    least: Duration,
    work: impl Future<Output = T>,
    waits: impl FnOnce(),
) -> Option<T> {
    let mut work = pin!(work);
    let bound = join(sleep(least), drain.over());
    tokio::select! {
        biased;
        done = &mut work => return Some(done),
        () = sleep(SOON) => waits(),
    }
    tokio::select! {
        biased;
        done = work => Some(done),
        _ = bound => None,
    }
}
