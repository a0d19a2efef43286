//! Restores on a host what we are members of, and sees that it stays so.

use std::{sync::Arc, time::Duration};

use redis::{Pipeline, Value};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Core, CoreHost, local_of, reader};
use crate::{
    chat::Event,
    layer::{
        CONTROL, LayerError,
        control::Control,
        redis::{
            address::RedisConnection,
            clock::instant_of,
            codec::ChannelRoute,
            inbox::Inbox,
            keeper::{KeptHost, LastSeen},
            link::{HostLink, LOOK, RESPONSE, accepted, is_master},
            names::{group_key, queue_key},
            script::{self, Entry},
        },
    },
};

/// Memberships looked up every [`LOOK`], in turn: with no more than that it is the longest that a
/// flush goes unnoticed.
const LOOKED_UP: usize = 200;

/// Seconds after which a process of Chatferry that has not shown up counts as gone. One that lives
/// is back after [`LOOK`].
const SHOWN_UP: f64 = 60.0;

/// The least time between two restorations, each of which makes conversations be read again.
const BETWEEN: Duration = Duration::from_secs(1);

/// The longest between two renewals of all memberships, however long they last: other processes
/// may have a shorter `group_expiry` than ours, and sweep by it.
const RENEW: Duration = Duration::from_secs(600);

/// Memberships of one write.
const CHUNK: usize = 500;

/// Reason why this layer cannot use a Redis Cluster.
const CLUSTER: &str = "this Redis is a cluster, and may keep any key on another server: \
                       layer.backend = redis_pubsub works there, here and in Django";

/// The layer's business with one host.
pub(super) struct Keeper {
    pub core: Arc<Core>,
    pub host: Arc<CoreHost>,
}

impl KeptHost for Keeper {
    /// Waits for messages in our queue.
    type Incoming = RedisConnection;

    fn number(&self) -> usize {
        self.host.number
    }

    fn link(&self) -> &HostLink {
        &self.host.link
    }

    fn inbox(&self) -> &Inbox {
        &self.core.inbox
    }

    async fn set_up(&self) -> Result<RedisConnection, LayerError> {
        let link = &self.host.link;
        let (mut commands, server) = link.address.connect_to(RESPONSE).await?;
        if is_cluster(&mut commands).await {
            return Err(LayerError::Unavailable(CLUSTER.to_owned()));
        }
        let role = redis::cmd("ROLE").query_async::<Value>(&mut commands).await;
        is_master(role.ok().as_ref())?;
        let incoming = link.address.connect(reader::PATIENCE).await?;
        let loaded = script::load().query_async::<String>(&mut commands).await;
        // A server that does not let us load scripts may let us run them.
        let script = loaded.ok().map(Arc::from);
        let time = redis::cmd("TIME").query_async::<Value>(&mut commands).await;
        link.look_at_clock(self.host.number, time.ok().as_ref());
        if let Some(notice) = link.moved.notice(&server, self.core.inbox.now()) {
            self.core.inbox.reach_back(self.host.number, notice.since);
            let event = Control::ReadAgain(notice).event();
            self.core
                .send_notice(&self.host, &event, &mut commands)
                .await?;
        }
        link.moved
            .settle(server, instant_of(self.core.scores.latest()));
        link.set_up(commands, script);
        self.core.inbox.returning(self.host.number);
        self.core.restore(&self.host).await?;
        Ok(incoming)
    }

    async fn serve(&self, incoming: RedisConnection, seen: &LastSeen) -> LayerError {
        tokio::select! {
            error = self.core.read(&self.host, incoming, seen) => error,
            error = self.core.look_after(&self.host) => error,
            error = self.host.link.moves() => error,
        }
    }
}

impl Core {
    async fn look_after(&self, host: &CoreHost) -> LayerError {
        let renew = RENEW.min(Duration::from_secs(self.settings.group_expiry) / 3);
        let mut renewed = Instant::now();
        // When the last round of lookups began that found all memberships, and the one under way.
        let (mut well, mut began) = (self.inbox.now(), self.inbox.now());
        let mut turn = 0;
        let mut restored_at = None;
        loop {
            let found = tokio::select! {
                () = sleep(LOOK.min(renew)) => self.is_still_member(host, &mut turn).await,
                () = host.missing.notified() => Ok(false),
            };
            let is_due = renewed.elapsed() >= renew;
            let refused = host.link.refuses_since();
            let found = match found {
                Ok(true) if refused.is_some() => Ok(false),
                Ok(true) if is_due => self.renew(host).await,
                found => found,
            };
            let restored = match found {
                Ok(true) => {
                    if turn == 0 {
                        (well, began) = (began, self.inbox.now());
                    }
                    if is_due {
                        renewed = Instant::now();
                    }
                    continue;
                }
                Ok(false) => {
                    let since = refused.map_or(well, |since| since.min(well));
                    self.inbox.lost(host.number, since);
                    if let Some(last) = restored_at {
                        sleep_until(last + BETWEEN).await;
                    }
                    restored_at = Some(Instant::now());
                    if refused.is_none() {
                        let address = &host.link.address;
                        tracing::warn!(host = %address, "memberships were lost: restoring");
                        self.inbox.returning(host.number);
                    }
                    let restored = self.restore(host).await;
                    match (&restored, host.link.refuses_since()) {
                        (Err(LayerError::Unavailable(_)), _) => {}
                        // As good as away, until a later attempt.
                        (_, Some(since)) => self.inbox.lost(host.number, since),
                        (_, None) => self.inbox.back(host.number),
                    }
                    restored
                }
                Err(error) => Err(error),
            };
            match restored {
                // A refusal (out of memory, no permission) does not get better by reconnecting.
                Ok(()) | Err(LayerError::Refused(_)) => {
                    renewed = Instant::now();
                    (well, began, turn) = (self.inbox.now(), self.inbox.now(), 0);
                }
                Err(error) => return error,
            }
        }
    }

    /// Looks some memberships up, from the place `turn` on; the server is asked in any case, to see
    /// that it is there.
    async fn is_still_member(&self, host: &CoreHost, turn: &mut usize) -> Result<bool, LayerError> {
        let samples = host.members().samples(*turn, LOOKED_UP);
        *turn = if samples.len() < LOOKED_UP {
            0
        } else {
            *turn + LOOKED_UP
        };
        let mut look = redis::pipe();
        look.cmd("ROLE");
        look.cmd("TIME");
        for (group, local) in &samples {
            look.cmd("ZSCORE")
                .arg(group_key(&self.settings.prefix, group))
                .arg(format!("{}{local}", self.queue));
        }
        if host.members().contains(CONTROL, CONTROL) {
            self.show_up(&mut look);
        }
        let answers = host.link.ask(&look).await?;
        is_master(answers.first())?;
        host.link.look_at_clock(host.number, answers.get(1));
        let gone = answers.iter().skip(2).zip(&samples);
        let mut gone = gone.filter(|(answer, _)| matches!(answer, Value::Nil));
        // It may have ended while we were asking.
        let is_missed = gone.any(|(_, (group, local))| host.members().contains(group, local));
        Ok(!is_missed)
    }

    /// Stays in the group of Chatferry's processes, and takes out those that have not done so for a
    /// while: what is said there is not kept for the dead.
    fn show_up(&self, look: &mut Pipeline) {
        let key = group_key(&self.settings.prefix, CONTROL);
        let score = self.scores.next();
        look.cmd("ZADD")
            .arg(&key)
            .arg(score.to_string())
            .arg(format!("{}{CONTROL}", self.queue));
        look.cmd("ZREMRANGEBYSCORE")
            .arg(&key)
            .arg(0)
            .arg((self.scores.earliest() - SHOWN_UP).to_string());
        look.cmd("EXPIRE").arg(&key).arg(self.settings.group_expiry);
    }

    /// Says something to the other Chatferry processes, before anything else is sent to this host.
    async fn send_notice(
        &self,
        host: &CoreHost,
        notice: &Event,
        commands: &mut RedisConnection,
    ) -> Result<(), LayerError> {
        let failed = |error: redis::RedisError| LayerError::Unavailable(error.to_string());
        let codec = &self.inbox.codec;
        let fields = codec.fields(notice)?;
        let mut look = redis::cmd("ZRANGE");
        look.arg(group_key(&self.settings.prefix, CONTROL));
        let members = look.arg(0).arg(-1).query_async::<Vec<String>>(commands);
        let mut members = members.await.map_err(failed)?;
        members.retain(|name| local_of(name, &self.queue).is_none());
        for target in self.queues(members) {
            let names: Vec<&str> = target.names.iter().map(String::as_str).collect();
            let route = ChannelRoute::Each(&names);
            let entry = Entry {
                group: None,
                key: &target.key,
                score: self.scores.next(),
                capacity: target.capacity,
                bytes: codec.seal(&fields, route, self.inbox.now_s())?,
            };
            if target.host == host.number {
                let call = script::call(None, &[], &[entry], self.life(), None);
                call.query_async::<Value>(commands).await.map_err(failed)?;
            } else if let Some(other) = self.hosts.get(target.host) {
                // A process that waits for a host has a gap of its own.
                let _ = other.link.add(&[], &[entry], self.life(), None).await;
            }
        }
        Ok(())
    }

    /// Renews every membership that still stands. Returns whether all do: one that was lost is not
    /// made anew here, as events have been missed.
    async fn renew(&self, host: &CoreHost) -> Result<bool, LayerError> {
        let all = host.members().samples(0, usize::MAX);
        for chunk in all.chunks(CHUNK) {
            let mut commands = redis::pipe();
            for (group, channel) in self.full(chunk) {
                let key = group_key(&self.settings.prefix, &group);
                let score = self.scores.next().to_string();
                let renewed = commands.cmd("ZADD").arg(&key).arg("XX").arg("CH");
                renewed.arg(score).arg(channel);
                commands
                    .cmd("EXPIRE")
                    .arg(&key)
                    .arg(self.settings.group_expiry);
            }
            let answers = host.link.ask(&commands).await?;
            // No score is given twice: what is there has changed.
            let gone = answers.iter().step_by(2).zip(chunk);
            let mut gone = gone.filter(|(answer, _)| matches!(answer, Value::Int(0)));
            // It may have ended while we were asking.
            if gone.any(|(_, (group, local))| host.members().contains(group, local)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tells Redis every membership, and what has ended since it was last there. Notes whether it
    /// refuses any.
    async fn restore(&self, host: &CoreHost) -> Result<(), LayerError> {
        let goodbyes = host.members().goodbyes();
        for chunk in goodbyes.chunks(CHUNK) {
            self.leave(host, &self.full(chunk)).await?;
            host.members().said(chunk);
        }
        let all = host.members().all();
        let mut refusal = None;
        for chunk in all.chunks(CHUNK) {
            let answers = host.link.ask(&self.joining(&self.full(chunk))).await?;
            // A membership that ended meanwhile may have been sent before this.
            let ended: Vec<_> = {
                let mut members = host.members();
                for ((group, local), answer) in chunk.iter().zip(answers.into_iter().step_by(2)) {
                    match accepted(answer) {
                        Ok(_) => members.told(group, local),
                        Err(error) => refusal = Some(error),
                    }
                }
                let ended = |(group, local): &&(String, String)| !members.contains(group, local);
                chunk.iter().filter(ended).cloned().collect()
            };
            if !ended.is_empty() {
                self.leave(host, &self.full(&ended)).await?;
            }
        }
        match refusal {
            Some(error) => host.link.refuse(&error),
            None => host.link.accept(),
        }
        Ok(())
    }

    /// Memberships with the full names of their channels.
    fn full(&self, memberships: &[(String, String)]) -> Vec<(String, String)> {
        let full =
            |(group, local): &(String, String)| (group.clone(), format!("{}{local}", self.queue));
        memberships.iter().map(full).collect()
    }

    /// Makes each channel a member of its group, or renews that.
    pub(super) async fn join(
        &self,
        host: &CoreHost,
        memberships: &[(String, String)],
    ) -> Result<(), LayerError> {
        run(host, &self.joining(memberships)).await
    }

    /// Two commands for each membership.
    fn joining(&self, memberships: &[(String, String)]) -> Pipeline {
        let mut commands = redis::pipe();
        for (group, channel) in memberships {
            let key = group_key(&self.settings.prefix, group);
            let score = self.scores.next().to_string();
            commands.cmd("ZADD").arg(&key).arg(score).arg(channel);
            commands
                .cmd("EXPIRE")
                .arg(&key)
                .arg(self.settings.group_expiry);
        }
        commands
    }

    pub(super) async fn leave(
        &self,
        host: &CoreHost,
        memberships: &[(String, String)],
    ) -> Result<(), LayerError> {
        let mut commands = redis::pipe();
        for (group, channel) in memberships {
            let key = group_key(&self.settings.prefix, group);
            commands.cmd("ZREM").arg(&key).arg(channel);
        }
        run(host, &commands).await
    }

    /// Leaves every group of this host and takes our queue away.
    pub(super) async fn say_goodbye(&self, host: &CoreHost) {
        let all = host.members().all();
        for chunk in all.chunks(CHUNK) {
            let _ = self.leave(host, &self.full(chunk)).await;
        }
        let mut commands = redis::pipe();
        commands
            .cmd("DEL")
            .arg(queue_key(&self.settings.prefix, &self.queue));
        for from in 0..self.hosts.len() {
            commands.cmd("DEL").arg(self.note(from));
        }
        let _ = run(host, &commands).await;
        host.link.take_down();
    }
}

/// Returns whether the server says that it is part of a cluster: in the section that Valkey has
/// too, whose `redis_mode` is `server_mode`. One that does not let us ask is believed to be none.
async fn is_cluster(commands: &mut RedisConnection) -> bool {
    let mut look = redis::cmd("INFO");
    let said = look.arg("cluster").query_async::<String>(commands).await;
    said.is_ok_and(|said| said.lines().any(|line| line == "cluster_enabled:1"))
}

async fn run(host: &CoreHost, commands: &Pipeline) -> Result<(), LayerError> {
    host.link.run(commands).await
}
