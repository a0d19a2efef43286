//! A real server for each test, and clients that can send anything.
//!
//! The server listens on a free port with an SQLite file of its own, in the test's own process
//! ([`server`]) or as the real binary ([`process`]). The clients ([`http`], [`socket`]) write
//! bytes to TCP, so that a test can send what no library would. What the databases have in common
//! is in [`database`], [`faults`], [`races`], [`rows`], [`together`] and [`proxy`]; [`neighbours`],
//! [`child`], [`shared`] and [`certificate`] are what else must be there.

pub mod certificate;
pub mod child;
pub mod database;
pub mod directory;
pub mod faults;
pub mod http;
pub mod neighbours;
pub mod process;
pub mod proxy;
pub mod races;
pub mod rows;
pub mod script;
pub mod server;
pub mod shared;
pub mod socket;
pub mod together;

use std::{future::Future, time::Duration};

use chatferry::dialect::django::{drf::View, routes::ROWS};

pub use self::{
    directory::Directory,
    http::{Answer, Connection, id_of, request},
    neighbours::{Port, skip},
    process::Process,
    proxy::Proxy,
    server::Server,
    shared::Shared,
    socket::Socket,
};

/// How long anything that must happen may take. It is only there so that a test which fails ends:
/// many run at once, on machines that are busy with other things too.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The size of a test: `long` with `CHATFERRY_TEST_LONG` in the environment, as `tests/run messages`
/// has it.
pub fn long_or_short(long: usize, short: usize) -> usize {
    match std::env::var_os("CHATFERRY_TEST_LONG") {
        Some(_) => long,
        None => short,
    }
}

/// The view of the route that the metrics call so.
pub fn view_of(label: &str) -> View {
    ROWS.iter().find(|row| row.label == label).unwrap().view
}

/// Waits for `what`, and fails the test if it does not come.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(PATIENCE, future).await;
    outcome.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}

/// Asks again and again until `holds` is true.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
