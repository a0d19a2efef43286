//! The connection for commands to one host: there or not, and which of its failures mean that it
//! is gone.
//!
//! Every caller's commands go to one connection, and its driver writes in one go all that has
//! gathered while the last write was under way. [`keeper`](super::keeper) opens connections and
//! opens them again; here a failed command takes the connection down, so that the next callers
//! hear at once that there is none instead of waiting too.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, ServerErrorKind, Value};
use tokio::sync::Notify;

use super::{
    address::{Address, RedisConnection},
    moved::Moved,
    script::{self, Added, Entry, Group, Life, Once},
};
use crate::{
    clock::{Change, Clock},
    layer::LayerError,
    metrics::Metrics,
    python::datetime::Timestamp,
};

/// The longest wait for an answer; past it the connection counts as gone. Redis answers in far
/// less, but a machine that is short of processors must not be taken for a Redis that is away:
/// what follows would cost it even more.
pub const RESPONSE: Duration = Duration::from_secs(3);

/// Interval at which a connected host is checked.
pub const LOOK: Duration = Duration::from_secs(2);

/// The way to one host.
pub struct HostLink {
    pub address: Address,
    pub clock: Arc<Clock>,
    pub metrics: Arc<Metrics>,
    /// The server that Sentinels led to, if they did.
    pub moved: Moved,
    live: RwLock<Option<Live>>,
    /// The reason why there is no connection.
    why: RwLock<Arc<str>>,
    /// Refusal of the server to make a member of one of our channels, and its time.
    /// Until it makes one there is a connection and no layer.
    refusal: Mutex<Option<(Timestamp, String)>>,
}

#[derive(Clone)]
struct Live {
    connection: RedisConnection,
    /// The server's name for the script, if it let us load it.
    script: Option<Arc<str>>,
    /// Notified when this connection was taken down by a failed command.
    gone: Arc<Notify>,
}

impl HostLink {
    #[must_use]
    pub fn new(address: Address, clock: Arc<Clock>, metrics: Arc<Metrics>) -> Self {
        HostLink {
            address,
            clock,
            metrics,
            moved: Moved::default(),
            live: RwLock::default(),
            why: RwLock::new("not tried yet".into()),
            refusal: Mutex::default(),
        }
    }

    /// Takes `connection` for commands from now on.
    pub fn set_up(&self, connection: RedisConnection, script: Option<Arc<str>>) {
        let gone = Arc::default();
        self.set(Some(Live {
            connection,
            script,
            gone,
        }));
    }

    /// From now on there is no connection.
    pub fn take_down(&self) {
        self.set(None);
    }

    /// From now on there is no connection, and this is why.
    pub fn take_down_for(&self, error: &LayerError) {
        self.explain(reason(error));
        self.take_down();
    }

    fn explain(&self, why: String) {
        *self.why.write().unwrap_or_else(PoisonError::into_inner) = why.into();
    }

    /// The reason why there is no connection.
    #[must_use]
    pub fn why(&self) -> Arc<str> {
        Arc::clone(&self.why.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns whether that is the reason already.
    #[must_use]
    pub fn is_down_for(&self, error: &LayerError) -> bool {
        *self.why() == *reason(error)
    }

    /// The server refuses a membership. It is asked again.
    pub fn refuse(&self, why: &LayerError) {
        let mut refusal = self.refusal();
        if refusal.is_none() {
            tracing::warn!(host = %self.address, error = %why, "memberships are refused");
        }
        let since = refusal
            .take()
            .map_or_else(|| Timestamp::by(&self.clock), |(since, _)| since);
        *refusal = Some((since, reason(why)));
    }

    /// Every membership stands.
    pub fn accept(&self) {
        if self.refusal().take().is_some() {
            tracing::info!(host = %self.address, "memberships are no longer refused");
        }
    }

    /// Since when memberships are refused, if they are.
    #[must_use]
    pub fn refuses_since(&self) -> Option<Timestamp> {
        self.refusal().as_ref().map(|(since, _)| *since)
    }

    fn refusal(&self) -> MutexGuard<'_, Option<(Timestamp, String)>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`LayerError::Refused`] while memberships are.
    pub async fn ping(&self) -> Result<(), LayerError> {
        let mut ping = redis::pipe();
        ping.cmd("PING");
        self.run(&ping).await?;
        match &*self.refusal() {
            Some((_, why)) => Err(LayerError::Refused(format!("{}: {why}", self.address))),
            None => Ok(()),
        }
    }

    /// The host's other connection has failed: this one is not to be trusted either.
    pub fn fail(&self) {
        if let Ok(live) = self.live() {
            live.gone.notify_one();
        }
        self.take_down();
    }

    /// Waits until a command has failed in a way that means the connection is gone.
    pub async fn broken(&self) {
        if let Ok(live) = self.live() {
            live.gone.notified().await;
        }
    }

    /// Returns the answers to all of `commands`, which are written together. Those the server
    /// refused are among them.
    ///
    /// # Errors
    /// [`LayerError::Unavailable`]: at once if there is no connection, within [`RESPONSE`] if
    /// there is no answer.
    pub async fn ask(&self, commands: &Pipeline) -> Result<Vec<Value>, LayerError> {
        let mut live = self.live()?;
        let count = commands.len();
        let answers = live.connection.send_packed_commands(commands, 0, count);
        let answers = self.bounded(answers).await;
        let answers = answers.map_err(|error| self.failed(&live, &error))?;
        let errors = answers.iter().filter_map(|answer| match answer {
            Value::ServerError(error) => Some(RedisError::from(error.clone())),
            _ => None,
        });
        for error in errors {
            let failure = self.failed(&live, &error);
            if matches!(failure, LayerError::Unavailable(_)) {
                return Err(failure);
            }
        }
        Ok(answers)
    }

    /// As [`ask`](Self::ask), of commands whose answers do not matter.
    ///
    /// # Errors
    /// [`LayerError::Refused`] too, if the server refused one of them.
    pub async fn run(&self, commands: &Pipeline) -> Result<(), LayerError> {
        self.ask(commands)
            .await?
            .into_iter()
            .try_for_each(|answer| accepted(answer).map(|_| ()))
    }

    /// Returns the answer to one command, in a type of the caller's.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn read<T: FromRedisValue>(&self, command: Cmd) -> Result<T, LayerError> {
        let mut commands = redis::pipe();
        commands.add_command(command);
        let answer = self.ask(&commands).await?.into_iter().next();
        let answer = accepted(answer.unwrap_or(Value::Nil))?;
        let odd = |error: redis::ParsingError| LayerError::Refused(error.to_string());
        redis::from_redis_value(answer).map_err(odd)
    }

    /// Returns the keys that match a pattern. A key that changes meanwhile may be left out or come
    /// twice.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn keys(&self, pattern: &str) -> Result<Vec<String>, LayerError> {
        let (mut keys, mut cursor) = (Vec::new(), 0_u64);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg(pattern)
                .arg("COUNT")
                .arg(1000);
            let (next, found): (u64, Vec<Vec<u8>>) = self.read(scan).await?;
            keys.extend(found.into_iter().flat_map(String::from_utf8));
            cursor = next;
            if cursor == 0 {
                return Ok(keys);
            }
        }
    }

    /// Puts entries into their queues, in their order, but for those of groups that have changed.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn add(
        &self,
        groups: &[Group<'_>],
        entries: &[Entry<'_>],
        lifetime: Life,
        once: Option<&Once>,
    ) -> Result<Added, LayerError> {
        let call = |name: Option<&str>| script::call(name, groups, entries, lifetime, once);
        self.evaluate(call).await.map(script::added)
    }

    /// Returns the answer of a script that is made by `call`: by its name, or with its text if the
    /// server has forgotten it.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn evaluate(&self, call: impl Fn(Option<&str>) -> Cmd) -> Result<Value, LayerError> {
        let mut live = self.live()?;
        let named = call(live.script.as_deref());
        let mut reply = self.answer(&mut live, &named).await;
        let forgotten = ErrorKind::Server(ServerErrorKind::NoScript);
        if reply.as_ref().is_err_and(|error| error.kind() == forgotten) {
            // The text makes the server remember it again under the same name.
            reply = self.answer(&mut live, &call(None)).await;
        }
        reply.map_err(|error| self.failed(&live, &error))
    }

    /// Compares the clock with that of the server, which answered this to `TIME`. Of several hosts
    /// only the first one's counts: they may differ. A server that does not let us ask tells
    /// nothing.
    pub fn look_at_clock(&self, number: usize, answer: Option<&Value>) {
        let answer = answer.filter(|_| number == 0).cloned();
        let time = answer.map(redis::from_redis_value::<(u64, u32)>);
        let Some(Ok((seconds, micros))) = time else {
            return;
        };
        let host = &self.address;
        let time =
            Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros.into()));
        match self.clock.compare(time) {
            Some(Change::Apart {
                ahead_s,
                is_followed,
            }) => tracing::warn!(
                %host,
                ahead_s,
                is_followed,
                "the clocks of this machine and of Redis differ: one of them is wrong"
            ),
            Some(Change::Agree) => tracing::info!(%host, "the clock agrees with that of Redis"),
            None => {}
        }
    }

    /// Waits until the Sentinels lead to another server; for ever without Sentinels.
    pub async fn moves(&self) -> LayerError {
        if !self.address.has_sentinels() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(server) = self.moved.server() else {
                continue;
            };
            if let Err(error) = self.address.still_leads_to(&server).await {
                return error;
            }
        }
    }

    /// Returns whether there is a connection now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.live().is_ok()
    }

    /// Returns whether scripts may be run; without, a call cannot be numbered.
    #[must_use]
    pub fn has_script(&self) -> bool {
        self.live().is_ok_and(|live| live.script.is_some())
    }

    fn set(&self, to: Option<Live>) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = to;
    }

    fn live(&self) -> Result<Live, LayerError> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.clone().ok_or_else(|| {
            LayerError::Unavailable(format!("no connection to {}: {}", self.address, self.why()))
        })
    }

    /// Returns the error for the caller; the connection is taken down if it means that it is
    /// gone.
    fn failed(&self, live: &Live, error: &RedisError) -> LayerError {
        let failure = if means_gone(error) {
            self.explain(error.to_string());
            self.forget(live);
            live.gone.notify_one();
            LayerError::Unavailable(format!("{}: {error}", self.address))
        } else {
            LayerError::Refused(error.to_string())
        };
        self.metrics.redis_error(failure.label());
        failure
    }

    /// From now on there is no connection, unless there is another one already.
    fn forget(&self, live: &Live) {
        let mut current = self.live.write().unwrap_or_else(PoisonError::into_inner);
        current.take_if(|now| Arc::ptr_eq(&now.gone, &live.gone));
    }

    async fn answer(&self, live: &mut Live, command: &Cmd) -> Result<Value, RedisError> {
        let answer = live.connection.send_packed_command(command);
        self.bounded(answer).await.and_then(Value::extract_error)
    }

    /// The connection's own bound starts when a command is written; this one also holds for those
    /// that wait to be.
    async fn bounded<T>(
        &self,
        answer: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisError> {
        let began = Instant::now();
        match tokio::time::timeout(RESPONSE, answer).await {
            Ok(answer) => {
                if answer.is_ok() {
                    self.metrics.redis_round_trip(began.elapsed());
                }
                answer
            }
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }
}

/// Writes an error without what all of its kind begin with.
fn reason(error: &LayerError) -> String {
    match error {
        LayerError::Unavailable(why) | LayerError::Refused(why) => why.clone(),
        other => other.to_string(),
    }
}

/// Fails if the answer to `ROLE` says that the server is no master (any more): what is sent there
/// reaches no other server. A server that does not let us ask is believed.
///
/// # Errors
/// [`LayerError::Unavailable`].
pub fn is_master(answer: Option<&Value>) -> Result<(), LayerError> {
    let Some(Value::Array(parts)) = answer else {
        return Ok(());
    };
    let role = parts.first().cloned();
    match role.map(redis::from_redis_value::<String>) {
        Some(Ok(role)) if role != "master" => {
            let why = format!("the server is a {role}, and no master");
            Err(LayerError::Unavailable(why))
        }
        _ => Ok(()),
    }
}

/// Returns the answer, unless it is a refusal.
///
/// # Errors
/// [`LayerError::Refused`].
pub fn accepted(answer: Value) -> Result<Value, LayerError> {
    answer
        .extract_error()
        .map_err(|error| LayerError::Refused(error.to_string()))
}

/// Returns whether another connection may do better: this one is broken, or the server is no master
/// (any more), is still loading, or wants us to log in.
#[must_use]
pub fn means_gone(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, MasterDown, ReadOnly};
    match error.kind() {
        ErrorKind::Server(kind) => matches!(kind, ReadOnly | BusyLoading | MasterDown),
        ErrorKind::Extension => error.code() == Some("NOAUTH"),
        ErrorKind::Client => false,
        _ => true,
    }
}
