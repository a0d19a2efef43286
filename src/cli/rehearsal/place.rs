//! Where `serve` would listen, and the SQLite file that it would have for itself.

use std::io;

use super::{CheckOutcome, CheckStep, Steps};
use crate::cli::{advice, healthcheck};
use crate::config::{Backend, Bind, Config};
use crate::server::Listener;
use crate::store::sqlite::sole;

/// Looks at the addresses and the lock. What a Chatferry has that serves at `server.bind` is a
/// warning: it may be the very one that is asked about.
pub(super) async fn steps(steps: &mut Steps<impl FnMut(&CheckStep)>, config: &Config) {
    let mut is_served = false;
    let bound = async {
        let taken = taken(&config.server.bind, config).await;
        is_served = taken.is_some() && healthcheck::is_served(&config.server).await;
        place("server.bind", &config.server.bind, taken, is_served)
    };
    steps.add("bind", bound).await;
    if let Some(at) = &config.metrics.bind {
        let metrics = async { place("metrics.bind", at, taken(at, config).await, is_served) };
        steps.add("metrics bind", metrics).await;
    }
    if config.store.url.sqlite_file().is_some() {
        let lock = async { lock(config, is_served) };
        steps.add("store: lock", lock).await;
    }
}

/// Why the address cannot be listened on.
async fn taken(at: &Bind, config: &Config) -> Option<io::Error> {
    Listener::probe(at, config.server.reuse_port).await.err()
}

fn place(key: &str, at: &Bind, taken: Option<io::Error>, is_served: bool) -> CheckOutcome {
    let about = CheckOutcome::well(at);
    match taken {
        None => about,
        Some(error) if is_served && error.kind() == io::ErrorKind::AddrInUse => {
            about.with_warnings([advice::served(key, at)])
        }
        Some(error) => about.with_faults([advice::listen(&error, key, at)]),
    }
}

fn lock(config: &Config, is_served: bool) -> CheckOutcome {
    let Some(file) = config.store.url.sqlite_file() else {
        return CheckOutcome::default();
    };
    let about = CheckOutcome::well(file.display());
    let hears_others = config.layer.backend != Backend::Memory;
    // A directory that is not there is reported by the store.
    match sole::holder(file, hears_others) {
        Ok(Some(lock)) if !config.server.reuse_port && !is_served => {
            about.with_faults([advice::shared(file, &lock)])
        }
        _ => about,
    }
}
