//! The database, by one connection that writes nothing that stays.

use super::{CheckOutcome, CheckStep, Steps};
use crate::cli::advice::{self, Advice};
use crate::config::{Config, Policy};
use crate::dialect::django::tables::schema;
use crate::python::datetime::Timestamp;
use crate::store::StoreError;
use crate::store::look::{self, Look};
use crate::store::schema::{LooseColumn, NarrowColumn, ShortColumn};

/// Steps that need a connection.
const REST: [&str; 6] = [
    "store: tables",
    "store: lengths",
    "store: character sets",
    "store: collation",
    "store: rights",
    "store: clock",
];

/// Microseconds that the server's clock may differ from ours.
const CLOCK_US: u64 = 1_000_000;

/// Looks at the connection, then at all that it shows.
pub(super) async fn steps(steps: &mut Steps<impl FnMut(&CheckStep)>, config: &Config) {
    let mut opened = None;
    let connect = async {
        match connect(config).await {
            Ok((look, version)) => {
                opened = Some(look);
                CheckOutcome::well(format!("{version}: {}", config.store.url))
            }
            Err(error) => {
                CheckOutcome::well(&config.store.url).with_faults([advice::store(&error, config)])
            }
        }
    };
    steps.add("store: connect", connect).await;
    let Some(mut look) = opened else {
        return skip(steps, &REST, "no connection").await;
    };
    let (first, rest) = REST.split_at(1);
    let are_usable = async { tables(&mut *look, config).await };
    if !steps.add(first[0], are_usable).await {
        return skip(steps, rest, "no tables of the chat").await;
    }
    let lengths = async { lengths(look.lengths().await, config) };
    steps.add("store: lengths", lengths).await;
    let charsets = async { charsets(look.charsets().await, config) };
    steps.add("store: character sets", charsets).await;
    let collation = async {
        if config.auth.policy == Policy::Open {
            return CheckOutcome::skipped("no policy tells users apart");
        }
        collation(look.collations().await, config)
    };
    steps.add("store: collation", collation).await;
    let rights = async { rights(&look.rehearse().await, config) };
    steps.add("store: rights", rights).await;
    let clock = async { clock(&mut *look, config).await };
    steps.add("store: clock", clock).await;
}

async fn skip(steps: &mut Steps<impl FnMut(&CheckStep)>, names: &[&'static str], why: &str) {
    for name in names {
        steps.add(name, async { CheckOutcome::skipped(why) }).await;
    }
}

async fn connect(config: &Config) -> Result<(Box<dyn Look>, String), StoreError> {
    let mut look = look::open(config, &schema(&config.store.tables)).await?;
    let version = look.version().await?;
    Ok((look, version))
}

async fn tables(look: &mut dyn Look, config: &Config) -> CheckOutcome {
    let schema = schema(&config.store.tables);
    let names: Vec<&str> = schema.tables().iter().map(|it| it.name.as_str()).collect();
    let about = CheckOutcome::well(names.join(", "));
    match look.tables().await {
        Ok(found) => about.with_faults(found.iter().map(Advice::of)),
        Err(error) => about.with_faults([advice::store(&error, config)]),
    }
}

/// The outcome of a question whose answer is `found`, which `advise` makes a warning of.
fn odd<T>(
    about: &str,
    found: Result<Vec<T>, StoreError>,
    config: &Config,
    advise: impl FnOnce(&[T]) -> Advice,
) -> CheckOutcome {
    match found {
        Ok(found) if found.is_empty() => CheckOutcome::well(about),
        Ok(found) => CheckOutcome::well(about).with_warnings([advise(&found)]),
        Err(error) => CheckOutcome::well(about).with_faults([advice::store(&error, config)]),
    }
}

fn lengths(found: Result<Vec<ShortColumn>, StoreError>, config: &Config) -> CheckOutcome {
    odd("columns of texts", found, config, advice::lengths)
}

fn charsets(found: Result<Vec<NarrowColumn>, StoreError>, config: &Config) -> CheckOutcome {
    odd("columns of texts", found, config, advice::charset)
}

fn collation(found: Result<Vec<LooseColumn>, StoreError>, config: &Config) -> CheckOutcome {
    let database = config.store.url.database();
    odd("columns of user ids", found, config, |loose| {
        advice::collation(loose, database)
    })
}

fn rights(written: &Result<(), StoreError>, config: &Config) -> CheckOutcome {
    let about = CheckOutcome::well("a row of each table, written and taken back");
    let fault = written.as_ref().err();
    about.with_faults(fault.map(|error| advice::write(error, config)))
}

async fn clock(look: &mut dyn Look, config: &Config) -> CheckOutcome {
    let before = Timestamp::now().micros();
    let theirs = match look.now().await {
        Ok(Some(theirs)) => theirs,
        Ok(None) => return CheckOutcome::skipped("it is this machine's"),
        Err(error) => {
            return CheckOutcome::well("the server's").with_faults([advice::store(&error, config)]);
        }
    };
    // The server has looked between the two. Our own clock may have been set back meanwhile.
    let after = Timestamp::now().micros().max(before);
    let ahead = theirs.saturating_sub(theirs.clamp(before, after));
    let is_off = ahead.unsigned_abs() > CLOCK_US;
    CheckOutcome::well("the server's and this machine's")
        .with_warnings(is_off.then(|| advice::clock(ahead)))
}
