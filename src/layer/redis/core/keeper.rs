//! Restores on a host what we are members of, and sees that it stays so.

use std::{sync::Arc, time::Duration};

use redis::{Pipeline, Value, aio::MultiplexedConnection};
use tokio::time::{Instant, sleep};

use super::{Core, Host, reader};
use crate::{
    django::datetime::Timestamp,
    layer::{
        LayerError,
        redis::{
            inbox::Inbox,
            keeper::{Kept, Seen},
            link::{Link, RESPONSE},
            names::{group_key, queue_key},
            script,
        },
    },
};

/// How often one of our memberships is looked up: the longest that a flush goes unnoticed.
const LOOK: Duration = Duration::from_secs(2);

/// The longest between two renewals of all memberships, however long they last: other processes
/// may have a shorter `group_expiry` than ours, and sweep by it.
const RENEW: Duration = Duration::from_secs(600);

/// Memberships told in one write.
const CHUNK: usize = 500;

/// The layer's business with one host.
pub(super) struct Keeper {
    pub core: Arc<Core>,
    pub host: Arc<Host>,
}

impl Kept for Keeper {
    /// Waits for messages in our queue.
    type Incoming = MultiplexedConnection;

    fn number(&self) -> usize {
        self.host.number
    }

    fn link(&self) -> &Link {
        &self.host.link
    }

    fn inbox(&self) -> &Inbox {
        &self.core.inbox
    }

    async fn set_up(&self) -> Result<MultiplexedConnection, LayerError> {
        let link = &self.host.link;
        let mut commands = link.address.connect(RESPONSE).await?;
        let incoming = link.address.connect(reader::PATIENCE).await?;
        let loaded = script::load().query_async::<String>(&mut commands).await;
        // A server that does not let us load scripts may let us run them.
        let script = loaded.ok().map(Arc::from);
        link.set_up(commands, script);
        self.core.restore(&self.host).await?;
        Ok(incoming)
    }

    async fn serve(&self, incoming: MultiplexedConnection, seen: &Seen) -> LayerError {
        tokio::select! {
            error = self.core.read(&self.host, incoming, seen) => error,
            error = self.core.look_after(&self.host) => error,
        }
    }
}

impl Core {
    async fn look_after(&self, host: &Host) -> LayerError {
        let renew = RENEW.min(Duration::from_secs(self.settings.group_expiry) / 3);
        let mut renewed = Instant::now();
        let mut well = Timestamp::now();
        loop {
            let found = tokio::select! {
                () = sleep(LOOK.min(renew)) => self.is_still_member(host).await,
                () = host.missing.notified() => Ok(false),
            };
            let restored = match found {
                Ok(true) if renewed.elapsed() < renew => {
                    well = Timestamp::now();
                    continue;
                }
                Ok(true) => self.restore(host).await,
                Ok(false) => {
                    tracing::warn!(host = %host.link.address, "memberships were lost: restoring");
                    let restored = self.restore(host).await;
                    self.inbox.gap(well);
                    restored
                }
                Err(error) => Err(error),
            };
            match restored {
                // A refusal (out of memory, no permission) does not get better by reconnecting.
                Ok(()) | Err(LayerError::Refused(_)) => {
                    renewed = Instant::now();
                    well = Timestamp::now();
                }
                Err(error) => return error,
            }
        }
    }

    /// Looks one membership up; the server is asked in any case, to see that it is there.
    async fn is_still_member(&self, host: &Host) -> Result<bool, LayerError> {
        let sample = host.members().sample();
        let mut look = redis::pipe();
        let Some((group, local)) = sample else {
            look.cmd("PING");
            return host.link.run(&look).await.map(|()| true);
        };
        look.cmd("ZSCORE")
            .arg(group_key(&self.settings.prefix, &group))
            .arg(format!("{}{local}", self.queue));
        let gone = matches!(host.link.ask(&look).await?.first(), Some(Value::Nil));
        // It may have ended while we were asking.
        Ok(!(gone && host.members().contains(&group, &local)))
    }

    /// Tells Redis every membership, and what has ended since it was last there.
    async fn restore(&self, host: &Host) -> Result<(), LayerError> {
        let goodbyes = host.members().goodbyes();
        for chunk in goodbyes.chunks(CHUNK) {
            self.leave(host, &self.full(chunk)).await?;
            host.members().said(chunk);
        }
        let all = host.members().all();
        for chunk in all.chunks(CHUNK) {
            self.join(host, &self.full(chunk)).await?;
            // What has ended meanwhile may have been told before this.
            let ended: Vec<_> = {
                let mut members = host.members();
                for (group, local) in chunk {
                    members.told(group, local);
                }
                let ended = |(group, local): &&(String, String)| !members.contains(group, local);
                chunk.iter().filter(ended).cloned().collect()
            };
            if !ended.is_empty() {
                self.leave(host, &self.full(&ended)).await?;
            }
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
        host: &Host,
        memberships: &[(String, String)],
    ) -> Result<(), LayerError> {
        let mut commands = redis::pipe();
        for (group, channel) in memberships {
            let key = group_key(&self.settings.prefix, group);
            let score = self.clock.score().to_string();
            commands.cmd("ZADD").arg(&key).arg(score).arg(channel);
            commands
                .cmd("EXPIRE")
                .arg(&key)
                .arg(self.settings.group_expiry);
        }
        run(host, &commands).await
    }

    pub(super) async fn leave(
        &self,
        host: &Host,
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
    pub(super) async fn say_goodbye(&self, host: &Host) {
        let all = host.members().all();
        for chunk in all.chunks(CHUNK) {
            let _ = self.leave(host, &self.full(chunk)).await;
        }
        let mut commands = redis::pipe();
        commands
            .cmd("DEL")
            .arg(queue_key(&self.settings.prefix, &self.queue));
        let _ = run(host, &commands).await;
        host.link.take_down();
    }
}

async fn run(host: &Host, commands: &Pipeline) -> Result<(), LayerError> {
    host.link.run(commands).await
}
