//! `chatferry serve`: from the first look at the settings to the exit code.
//!
//! The order at the start: open the store, listen, serve; if the database is not up yet, listen
//! first, so that load balancers get an answer, and wait for it. At the end: take no more
//! connections, finish what was asked, close sockets spread over the drain, commit what is pending,
//! send what is owed to Redis, leave the layer's groups, hand over the last spans.

mod leaving;
mod reload;
mod summary;
mod systemd;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::{advice, caution, rehearsal};
use crate::app::App;
use crate::config::{Backend, Bind, Config, Database, Effective, Format, Loaded, StartRefusal};
use crate::dialect::SystemError;
use crate::server::{Entrance, Listener, Server, Site, StartError, scrape, waiting};
use crate::store::StoreError;
use crate::store::sqlite::sole::{self, Sole};
use crate::telemetry::Logging;
use crate::tls::Tls;

/// Interval at which durations are folded into their buckets, and repeated lines summed up.
const UPKEEP: Duration = Duration::from_secs(5);

/// Between two looks at a database that is not up yet, and between two lines about it.
const LOOK: Duration = Duration::from_millis(500);
const LINE: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT, then drains. Fails when it cannot start, or when the drain's
/// window was over while connections were open. `reread` gets the settings anew on SIGHUP; `log`
/// is the log if it is ours.
pub(super) async fn serve<E: Display + 'static>(
    loaded: Loaded,
    log: Option<Logging>,
    reread: impl Fn() -> Result<Loaded, E> + Send + 'static,
) -> ExitCode {
    let config = loaded.config.clone();
    // Caught from before anybody can know that there is something to stop.
    let mut signals = Signals::catch();
    let hangup = signal(SignalKind::hangup());
    let file = match take_file(&config) {
        Ok(file) => file,
        Err(code) => return code,
    };
    let started = tokio::select! {
        started = start(&config) => started,
        () = next(&mut signals) => {
            tracing::info!("stopped before there was anything to serve");
            return ExitCode::SUCCESS;
        }
    };
    let (site, listener, metrics) = match started {
        Ok(started) => started,
        Err(code) => return code,
    };
    let entrances = match listen_for_systems(&site).await {
        Ok(entrances) => entrances,
        Err(code) => return code,
    };
    let app = &site.app;
    let server = Server::new(Arc::clone(&site), listener, entrances);
    let address = server.address();
    let address = address.unwrap_or_else(|_| config.server.bind.to_string());
    announce(&config, &address);
    summary::log(&loaded);
    caution::log(&loaded);
    tracing::info!(
        workers = Handle::current().metrics().num_workers(),
        body_memory_mib = config.server.body_memory_mib,
        answer_memory_mib = config.server.answer_memory_mib,
        "started"
    );
    systemd::ready();
    #[cfg(debug_assertions)]
    provoke(app);
    let drain = tokio::spawn(drain_on_signal(Arc::clone(app), signals));
    let tasks = [
        tokio::spawn(show_metrics(Arc::clone(app), metrics)),
        tokio::spawn(keep_up(Arc::clone(app), log.clone())),
        tokio::spawn(rehearsal::log(Arc::clone(&site), loaded.clone())),
        tokio::spawn(reload::on_signal(
            Arc::clone(&site),
            log,
            hangup,
            loaded,
            reread,
        )),
    ];
    let ended = server.run().await;
    for task in tasks {
        task.abort();
    }
    let code = leaving::leave(&site, ended).await;
    drain.abort();
    // The next process may have the database.
    drop(file);
    code
}

/// Takes the SQLite file for this process, unless it may be shared: two processes that do not hear
/// each other would each have half of the sockets. With `server.reuse_port` that is wanted for a
/// moment, from one version to the next.
fn take_file(config: &Config) -> Result<Option<Sole>, ExitCode> {
    let Some(file) = config.store.url.sqlite_file() else {
        return Ok(None);
    };
    let hears_others = config.layer.backend != Backend::Memory;
    match sole::lock(file, hears_others) {
        Ok(Sole::No(lock)) if !config.server.reuse_port => {
            Err(super::failed(&advice::shared(file, &lock)))
        }
        Ok(sole) => {
            if let Sole::No(_) = sole {
                tracing::warn!(
                    "another process serves the same SQLite file: until it has ended, sockets there \
                     and sockets here do not hear each other"
                );
            }
            Ok(Some(sole))
        }
        // A directory that is not there is reported by the database.
        Err(error) => {
            tracing::debug!(%error, "whether other processes serve this SQLite file is not known");
            Ok(None)
        }
    }
}

/// Prints where clients find the server. A reader that has gone does not keep it from serving.
fn announce(config: &Config, address: &str) {
    let version = env!("CARGO_PKG_VERSION");
    let listens = format!("chatferry {version} listens on {address}");
    let page = format!("{address}{}", config.django.url_prefix);
    let _ = match config.log.format {
        Format::Text if address.starts_with("http") => {
            writeln!(io::stdout(), "{listens}\nThe chat page is {page}")
        }
        Format::Text => writeln!(io::stdout(), "{listens}"),
        // A collector of JSON lines reads both outputs.
        Format::Json => writeln!(io::stdout(), "{}", serde_json::json!({"message": listens})),
    };
}

/// Returns the running server, or the exit code of a start that failed and was reported.
async fn start(config: &Config) -> Result<(Arc<Site>, Listener, Option<Listener>), ExitCode> {
    let began = Instant::now();
    let failed = |error: StartError| super::failed(&advice::start(&error, config));
    let error = match Site::start(config.clone()).await {
        Ok(site) => {
            return Ok((
                site,
                listen(config).await?,
                listen_for_metrics(config).await?,
            ));
        }
        Err(error) if may_pass(&error, config) => error,
        Err(error) => return Err(failed(error)),
    };
    let (listener, metrics) = (listen(config).await?, listen_for_metrics(config).await?);
    let tls = Tls::of(&config.server.tls).map_err(|error| failed(error.into()))?;
    let site = tokio::select! {
        site = wait_for_database(config, began, error) => site.map_err(failed)?,
        never = waiting::answer(&listener, &config.server, tls) => match never {},
    };
    Ok((site, listener, metrics))
}

/// Returns the socket that was handed over to us, or one of our own.
async fn listen(config: &Config) -> Result<Listener, ExitCode> {
    let handed_over = Listener::inherited().map_err(|error| {
        super::failed(&format!(
            "the socket that was handed over (LISTEN_FDS) cannot be used: {error}"
        ))
    })?;
    let Some(listener) = handed_over else {
        return bind(config, "server.bind", &config.server.bind).await;
    };
    // It may be open to others although `server.bind` is not.
    let mut real = config.clone();
    real.server.bind = listener.place().map_err(|error| super::failed(&error))?;
    if real.is_open_to_anybody() && !real.auth.allow_anonymous {
        let bind = Effective {
            key: "server.bind",
            value: real.server.bind.to_string(),
            origin: "a socket that was handed over".to_owned(),
        };
        super::complain(&StartRefusal::Anonymous { bind });
        return Err(ExitCode::from(super::WRONG));
    }
    Ok(listener)
}

/// Opens a socket at the address of the setting `key`.
async fn bind(config: &Config, key: &str, at: &Bind) -> Result<Listener, ExitCode> {
    let listener = Listener::bind(at, config.server.reuse_port).await;
    listener.map_err(|error| super::failed(&advice::listen(&error, key, at)))
}

/// Returns the other address that the metrics may have.
async fn listen_for_metrics(config: &Config) -> Result<Option<Listener>, ExitCode> {
    match &config.metrics.bind {
        Some(at) => bind(config, "metrics.bind", at).await.map(Some),
        None => Ok(None),
    }
}

/// Opens the addresses that chats of other systems have of their own.
async fn listen_for_systems(site: &Site) -> Result<Vec<(Entrance, Listener)>, ExitCode> {
    let mut entrances = Vec::new();
    for (entrance, mounted) in site.mounts.iter() {
        let Some(at) = &mounted.mount.bind else {
            continue;
        };
        let name = mounted.mount.name;
        let listener = bind(&site.app.config, &format!("{name}.bind"), at).await?;
        if let Ok(place) = listener.place() {
            tracing::info!("{name} listens on {place}");
        }
        entrances.push((entrance, listener));
    }
    Ok(entrances)
}

/// Serves the metrics there, if they have one.
async fn show_metrics(app: Arc<App>, listener: Option<Listener>) {
    let Some(listener) = listener else { return };
    if let Ok(place) = listener.place() {
        tracing::info!("the metrics are on {place}");
    }
    match scrape::serve(app, listener).await {}
}

/// Tries again until `store.wait_s` is over, after the first attempt has failed with `error`.
async fn wait_for_database(
    config: &Config,
    began: Instant,
    mut error: StartError,
) -> Result<Arc<Site>, StartError> {
    let wait = Duration::from_secs(config.store.wait_s);
    let mut told: Option<Instant> = None;
    while may_pass(&error, config) && began.elapsed() < wait {
        if told.is_none_or(|told| told.elapsed() >= LINE) {
            told = Some(Instant::now());
            let waited_s = began.elapsed().as_secs();
            tracing::warn!(waited_s, wait_s = wait.as_secs(), %error, "waiting for the database");
            systemd::status("waiting for the database");
        }
        sleep(LOOK.min(wait.saturating_sub(began.elapsed()))).await;
        match Site::start(config.clone()).await {
            Ok(site) => return Ok(site),
            Err(again) => error = again,
        }
    }
    Err(error)
}

/// Returns whether it may only be too early. A file is there or is not.
fn may_pass(error: &StartError, config: &Config) -> bool {
    match error {
        StartError::Store(StoreError::Unavailable(_)) => {
            config.store.url.database() != Database::Sqlite
        }
        StartError::System(_, SystemError::Unavailable(_)) => true,
        _ => false,
    }
}

/// Makes the task panic that a test names. There is no such thing in a release.
#[cfg(debug_assertions)]
fn provoke(app: &App) {
    let Ok(task) = std::env::var("CHATFERRY_PROVOKE") else {
        return;
    };
    let (committer, layer) = (app.store.committer().vital(), app.layer.vital());
    for vital in [&app.vital, committer, &layer] {
        vital.provoke(&task);
    }
}

async fn keep_up(app: Arc<App>, log: Option<Logging>) {
    loop {
        sleep(UPKEEP).await;
        app.metrics.upkeep();
        app.audit.upkeep();
        if let Some(log) = &log {
            log.upkeep();
        }
    }
}

/// The two signals that ask the process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> Option<Self> {
        let both = signal(SignalKind::terminate())
            .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
        match both {
            Ok((terminate, interrupt)) => Some(Signals {
                terminate,
                interrupt,
            }),
            Err(error) => {
                tracing::warn!(
                    %error,
                    "signals cannot be caught: SIGTERM will end the process at once"
                );
                None
            }
        }
    }
}

/// Waits for either of them.
async fn next(signals: &mut Option<Signals>) {
    match signals {
        Some(signals) => tokio::select! {
            _ = signals.terminate.recv() => {}
            _ = signals.interrupt.recv() => {}
        },
        None => std::future::pending().await,
    }
}

async fn drain_on_signal(app: Arc<App>, mut signals: Option<Signals>) {
    next(&mut signals).await;
    tracing::info!(drain_s = app.config.server.drain_s, "draining");
    systemd::stopping();
    app.metrics.drain_begun();
    app.drain.begin();
    // A second signal ends the drain at once.
    next(&mut signals).await;
    app.drain.hurry();
}
