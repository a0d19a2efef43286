//! Starts workers, lets them join, and starts those anew that have ended: at once the first time,
//! then slower and slower.

use std::{
    env, fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::UnixListener,
    process::{Child, Command},
    sync::{Notify, Semaphore, watch},
    time::{Instant, sleep, timeout},
};

use super::{
    Host, HostError, link, lock,
    remote::{self, RemotePlace},
};
use crate::random;

/// Variable that names our socket to a worker.
const SOCKET: &str = "CHATFERRY_HOST_SOCKET";

/// The wait before a worker is started anew: at first, and at most.
pub(super) const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MOST: Duration = Duration::from_secs(30);

/// A worker that has lived for as long was well.
const WELL: Duration = Duration::from_secs(30);

/// Time for a worker to end once its connection is gone.
const ENDING: Duration = Duration::from_secs(3);

/// Connections that have not greeted yet.
const GREETING: usize = 64;

/// Listener for workers. Its file is removed when it is dropped.
pub struct WorkerPlace {
    listener: UnixListener,
    path: PathBuf,
    /// A directory that was made for it.
    directory: Option<PathBuf>,
    /// The user who may join.
    owner: u32,
}

impl WorkerPlace {
    /// Listens at this path, or at a private one.
    ///
    /// # Errors
    /// When it cannot listen there, or finds no name for a private one.
    pub fn bind(path: Option<&Path>) -> Result<Self, HostError> {
        let at = if let Some(path) = path {
            path.to_path_buf()
        } else {
            let own = format!("chatferry-{}", random::name()?);
            env::temp_dir().join(own).join("workers.sock")
        };
        WorkerPlace::bind_at(&at, path.is_none()).map_err(|error| HostError::Socket {
            path: at.display().to_string(),
            error,
        })
    }

    /// Returns where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn bind_at(path: &Path, is_private: bool) -> io::Result<Self> {
        let mut directory = None;
        if is_private && let Some(parent) = path.parent() {
            fs::create_dir(parent)?;
            directory = Some(parent.to_owned());
            fs::set_permissions(parent, fs::Permissions::from_mode(0o700))?;
        } else if std::os::unix::net::UnixStream::connect(path).is_err() && path.exists() {
            // Left behind by a process that is gone.
            fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(WorkerPlace {
            listener,
            owner: fs::metadata(path)?.uid(),
            path: path.to_owned(),
            directory,
        })
    }
}

impl Drop for WorkerPlace {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        if let Some(directory) = &self.directory {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// A phase in the life of workers that were started together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Others serve until they have joined; the end of one is that of all.
    Starting,
    /// One that ends is started again.
    #[default]
    Serving,
    /// Others are starting that may take their place: one that ends is started again after that,
    /// if at all.
    Held,
    /// Not started again.
    Retired,
    /// To end now.
    Over,
}

/// Workers that were started together.
#[derive(Clone, Debug, Default)]
pub struct Generation(watch::Sender<Phase>);

impl Generation {
    /// Returns one whose first end is that of all.
    pub fn starting() -> Self {
        Generation(watch::Sender::new(Phase::Starting))
    }

    /// Lets them serve. Returns `false` if they have ended.
    pub fn settle(&self) -> bool {
        self.0.send_if_modified(|phase| {
            let is_alive = *phase != Phase::Over;
            if is_alive {
                *phase = Phase::Serving;
            }
            is_alive
        })
    }

    /// Starts none again until it is settled.
    pub fn hold(&self) {
        self.0.send_replace(Phase::Held);
    }

    /// Starts none again.
    pub fn retire(&self) {
        self.0.send_replace(Phase::Retired);
    }

    /// Ends them.
    pub fn end(&self) {
        self.0.send_replace(Phase::Over);
    }

    /// Waits until they are to end.
    pub async fn over(&self) {
        self.until(|phase| phase == Phase::Over).await;
    }

    async fn until(&self, is_it: impl Fn(Phase) -> bool) {
        // It cannot fail: `self` holds a sender.
        let _ = self.0.subscribe().wait_for(|phase| is_it(*phase)).await;
    }

    /// Returns whether one that has ended is started again, once that is known.
    async fn goes_on(&self) -> bool {
        self.until(|phase| phase != Phase::Held).await;
        let phase = *self.0.borrow();
        if phase == Phase::Starting {
            self.end();
        }
        phase == Phase::Serving
    }
}

/// Starts as many workers as are set, and keeps them running.
pub fn start(host: &Arc<Host>, command: &str, generation: &Generation) {
    for _ in 0..host.settings.workers {
        let (host, command) = (Arc::clone(host), command.to_owned());
        let generation = generation.clone();
        tokio::spawn(async move { keep(&host, &command, &generation).await });
    }
}

/// Runs the workers until the host stops.
pub async fn run(host: Arc<Host>, place: WorkerPlace, remote: Option<RemotePlace>) {
    if let Some(command) = host.settings.start() {
        let generation = lock(&host.generation).clone();
        start(&host, &command, &generation);
    }
    tokio::select! {
        () = accept(&host, &place) => {}
        () = remote::accept(&host, remote) => {}
        () = host.stopped() => {}
    }
}

async fn accept(host: &Arc<Host>, place: &WorkerPlace) {
    let room = Arc::new(Semaphore::new(GREETING + host.settings.workers));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match place.listener.accept().await {
            Ok((stream, _)) => {
                let user = stream.peer_cred().map(|peer| peer.uid());
                if !user.is_ok_and(|user| user == place.owner || user == 0) {
                    tracing::warn!("a process of another user wanted to join as a worker");
                    continue;
                }
                let (host, number) = (Arc::clone(host), host.number());
                tokio::spawn(async move {
                    link::serve(host, number, stream.into_split(), None).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a worker could not join");
                sleep(BACKOFF).await;
            }
        }
    }
}

/// Keeps one worker running.
async fn keep(host: &Arc<Host>, command: &str, generation: &Generation) {
    let mut backoff = BACKOFF;
    loop {
        let began = Instant::now();
        let ended = match spawn(command, &host.path) {
            Ok(child) => watch(host, child, generation).await,
            Err(error) => Err(error),
        };
        let goes_on = tokio::select! {
            goes_on = generation.goes_on() => goes_on,
            () = host.stopped() => false,
        };
        if !goes_on || *host.stopping.borrow() {
            return;
        }
        let ended = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        if began.elapsed() >= WELL {
            backoff = BACKOFF;
        }
        host.metrics.host_worker_restarted();
        tracing::error!(ended, ?backoff, "a worker has ended and is started again");
        tokio::select! {
            () = sleep(backoff) => {}
            () = host.stopped() => return,
        }
        backoff = (backoff * 2).min(BACKOFF_MOST);
    }
}

/// Returns the line of the shell that becomes a worker, which is known by the shell's process. A
/// plain command may have assignments before it; one of several parts has its own `exec`.
fn line(command: &str) -> String {
    let command = command.trim();
    if command.starts_with("exec ") || command.contains(['\n', ';', '&', '|']) {
        return command.to_owned();
    }
    format!("exec env {command}")
}

/// Starts a worker.
fn spawn(command: &str, path: &Path) -> io::Result<Child> {
    Command::new("sh")
        .arg("-c")
        .arg(line(command))
        .env(SOCKET, path)
        .stdin(Stdio::null())
        // Ctrl-C in a terminal begins our drain: workers are needed until it is over.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Waits for the end of a worker, which comes soon once the host stops or others take its place.
async fn watch(
    host: &Arc<Host>,
    mut child: Child,
    generation: &Generation,
) -> io::Result<ExitStatus> {
    let kill = Arc::new(Notify::new());
    let pid = child.id().unwrap_or_default();
    lock(&host.started).insert(pid, Arc::clone(&kill));
    let ended = tokio::select! {
        ended = child.wait() => Some(ended),
        () = kill.notified() => None,
        () = host.stopped() => timeout(ENDING, child.wait()).await.ok(),
        () = generation.over() => timeout(ENDING, child.wait()).await.ok(),
    };
    let ended = match ended {
        Some(ended) => ended,
        None => match child.start_kill() {
            Ok(()) => child.wait().await,
            Err(error) => Err(error),
        },
    };
    lock(&host.started).remove(&pid);
    ended
}

#[cfg(test)]
mod tests {
    use super::{Path, line, spawn};

    #[tokio::test]
    async fn a_worker_takes_the_place_of_its_shell() {
        for command in [
            "sleep 60",
            "PYTHONPATH=/srv sleep 60",
            " exec sleep 60",
            "cd / && exec sleep 60",
        ] {
            let child = spawn(command, Path::new("workers.sock")).unwrap();
            let name = format!("/proc/{}/comm", child.id().unwrap());
            while std::fs::read_to_string(&name).unwrap() != "sleep\n" {
                tokio::task::yield_now().await;
            }
        }
    }

    #[test]
    fn a_plain_command_may_begin_with_assignments() {
        assert_eq!(line("A=1 python"), "exec env A=1 python");
        assert_eq!(line("cd /srv; exec python"), "cd /srv; exec python");
    }
}
