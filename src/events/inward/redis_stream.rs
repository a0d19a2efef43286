//! Events of other services from a stream of Redis.
//!
//! An entry is confirmed by `XACK`. A dead letter is copied to another stream. Entries of a consumer
//! that is gone are taken over after `events.inward.claim_s`.

use std::{collections::HashMap, convert::Infallible};

use async_trait::async_trait;
use redis::{Cmd, Value as Answer, from_redis_value};

use super::{ConsumeError, DEAD_MAX, Inbox, Incoming, PATIENCE, Source, TOO_MUCH, Taken};
use crate::{
    config::{self, events::Inward, redis_url::RedisUrl},
    events::sink::SinkSettingsError,
    layer::redis::{
        address::{Address, RedisConnection},
        bounds::TOO_LARGE,
    },
};

/// Entries that are read at once.
const TOGETHER: usize = 50;

/// Time that Redis waits for a new entry.
const BLOCK_MS: usize = 1000;

/// A stream that is read by one consumer of its group.
pub struct RedisStreamSource {
    address: Address,
    settings: Inward,
    /// Name in the group.
    name: String,
}

/// The fields of an entry, any bytes.
type Fields = HashMap<Vec<u8>, Vec<u8>>;

/// An entry of the stream: its id there, and its fields.
struct Entry {
    id: String,
    fields: Fields,
}

impl Entry {
    /// Reads an entry. One that was deleted from the stream has no fields.
    fn read(answer: Answer) -> Result<Self, redis::ParsingError> {
        let (id, fields): (String, Option<Fields>) = from_redis_value(answer)?;
        let fields = fields.unwrap_or_default();
        Ok(Entry { id, fields })
    }

    /// Returns whether something of it was left out, as it was too much for one answer.
    fn is_cut(&self) -> bool {
        self.fields
            .iter()
            .any(|(name, value)| name == TOO_LARGE || value == TOO_LARGE)
    }

    fn event(&self) -> Incoming<'_> {
        let field = |name: &str| self.fields.get(name.as_bytes());
        let body = match field("event") {
            _ if self.is_cut() => Err(TOO_MUCH),
            Some(event) => Ok(event.as_slice()),
            None => Err("there is no field event"),
        };
        Incoming {
            place: &self.id,
            id: field("id").map(|id| String::from_utf8_lossy(id).into_owned()),
            kind: None,
            body,
        }
    }
}

impl RedisStreamSource {
    /// Uses the stream of the settings; `None` if there is none. An answer of Redis holds fields of
    /// up to `max_bytes`; `owner` is the consumer's name in the group.
    ///
    /// # Errors
    /// When the address cannot be read.
    pub fn new(
        settings: &Inward,
        max_bytes: usize,
        owner: String,
    ) -> Result<Option<Self>, SinkSettingsError> {
        let Some(url) = settings.url.as_ref().map(config::Secret::expose) else {
            return Ok(None);
        };
        let url = RedisUrl::parse(url).map_err(|why| SinkSettingsError {
            key: "events.inward.url",
            why,
        })?;
        Ok(Some(RedisStreamSource {
            address: Address::from(url).with_values_of(max_bytes),
            settings: settings.clone(),
            name: owner,
        }))
    }

    async fn make_group(&self, redis: &mut RedisConnection) -> Result<(), ConsumeError> {
        let mut make = redis::cmd("XGROUP");
        make.arg("CREATE").arg(&self.settings.stream);
        make.arg(&self.settings.group).arg("0").arg("MKSTREAM");
        match make.query_async::<()>(redis).await {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// Reads entries after this id and consumes them; returns how many there were.
    async fn read(
        &self,
        (redis, inbox): (&mut RedisConnection, &Inbox),
        from: &str,
    ) -> Result<usize, ConsumeError> {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(&self.settings.group).arg(&self.name);
        read.arg("COUNT").arg(TOGETHER).arg("BLOCK").arg(BLOCK_MS);
        read.arg("STREAMS").arg(&self.settings.stream).arg(from);
        let streams: Option<Vec<(String, Vec<Answer>)>> = read.query_async(redis).await?;
        let entries = streams
            .into_iter()
            .flatten()
            .flat_map(|(_, entries)| entries);
        self.do_all(redis, inbox, entries.collect()).await
    }

    /// Takes entries over that others were given and have not confirmed for long.
    async fn take_over(
        &self,
        redis: &mut RedisConnection,
        inbox: &Inbox,
    ) -> Result<usize, ConsumeError> {
        let mut claim = redis::cmd("XAUTOCLAIM");
        claim.arg(&self.settings.stream).arg(&self.settings.group);
        claim
            .arg(&self.name)
            .arg(self.settings.claim_s * 1000)
            .arg("0");
        claim.arg("COUNT").arg(TOGETHER);
        let mut answer: Vec<Answer> = claim.query_async(redis).await?;
        let entries = match answer.len() {
            0 | 1 => Vec::new(),
            _ => from_redis_value(answer.swap_remove(1))?,
        };
        self.do_all(redis, inbox, entries).await
    }

    async fn do_all(
        &self,
        redis: &mut RedisConnection,
        inbox: &Inbox,
        entries: Vec<Answer>,
    ) -> Result<usize, ConsumeError> {
        let count = entries.len();
        for entry in entries {
            let mut entry = Entry::read(entry)?;
            if entry.is_cut() {
                entry = self.read_alone(redis, entry).await?;
            }
            self.do_one(redis, inbox, entry).await?;
        }
        Ok(count)
    }

    /// Reads an entry again by itself: it may have been cut because of those before it.
    async fn read_alone(
        &self,
        redis: &mut RedisConnection,
        cut: Entry,
    ) -> Result<Entry, ConsumeError> {
        let mut range = redis::cmd("XRANGE");
        range.arg(&self.settings.stream).arg(&cut.id).arg(&cut.id);
        let found: Vec<Answer> = range.query_async(redis).await?;
        let entry = found.into_iter().next().map(Entry::read).transpose()?;
        Ok(entry.unwrap_or(cut))
    }

    async fn do_one(
        &self,
        redis: &mut RedisConnection,
        inbox: &Inbox,
        entry: Entry,
    ) -> Result<(), ConsumeError> {
        let mut done = redis::pipe();
        done.atomic();
        if let Taken::Dead(why) = inbox.take(entry.event()).await? {
            done.add_command(self.bury(&entry, &why)).ignore();
        }
        done.cmd("XACK")
            .arg(&self.settings.stream)
            .arg(&self.settings.group)
            .arg(&entry.id)
            .ignore();
        Ok(done.query_async(redis).await?)
    }

    /// Copies an entry to the stream of dead letters, with its id and the reason. Of one that is too
    /// large only its small fields are copied; all of it stays in its stream.
    fn bury(&self, entry: &Entry, why: &str) -> Cmd {
        let mut bury = redis::cmd("XADD");
        bury.arg(format!("{}.dead", self.settings.stream));
        bury.arg("MAXLEN").arg("~").arg(DEAD_MAX).arg("*");
        for (name, value) in &entry.fields {
            if name != TOO_LARGE && value != TOO_LARGE {
                bury.arg(name).arg(value);
            }
        }
        bury.arg("entry").arg(&entry.id).arg("error").arg(why);
        bury
    }
}

#[async_trait]
impl Source for RedisStreamSource {
    async fn consume(&self, inbox: &Inbox) -> Result<Infallible, ConsumeError> {
        let mut redis = self.address.connect(PATIENCE).await?;
        self.make_group(&mut redis).await?;
        // Entries that this consumer got before the connection was lost.
        while self.read((&mut redis, inbox), "0").await? > 0 {}
        loop {
            self.take_over(&mut redis, inbox).await?;
            self.read((&mut redis, inbox), ">").await?;
        }
    }
}
