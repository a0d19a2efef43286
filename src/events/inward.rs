//! Events of other services, read from a stream of Redis by a group of consumers: messages that an
//! assistant has made.
//!
//! An entry is confirmed (`XACK`) once its message is committed. The id of an event becomes that of
//! the message, so an event that comes again is stored and broadcast once. What can never be stored is
//! copied to another stream with the reason, and confirmed: whatever an entry holds, those behind it
//! are consumed. Entries of a consumer that is gone are taken over after `events.inward.claim_s`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use redis::{Cmd, Value as Answer, from_redis_value};
use serde_json::Value;
use tokio::{sync::watch, time::sleep};
use uuid::Uuid;

use super::sink::SinkSettingsError;
use crate::{
    app::App,
    chat::NewMessage,
    config::{self, events::Inward, redis_url::RedisUrl},
    id::ConversationId,
    layer::{
        LayerError,
        redis::{
            address::{Address, RedisConnection},
            backoff::Backoff,
            bounds::TOO_LARGE,
        },
    },
    service::ChatError,
    store::StoreError,
};

/// Type of the events that are consumed. Others are confirmed, and nothing is done.
const GENERATED: &str = "ai.message.generated";

/// Sender of a message whose event names none.
const ASSISTANT: &str = "assistant";

/// Entries that are read at once.
const TOGETHER: usize = 50;

/// Time that Redis waits for a new entry, and that we wait for Redis.
const BLOCK_MS: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(10);

/// Entries that the stream of dead letters is cut to, nearly.
const DEAD_MAX: usize = 100_000;

/// One consumer of the group.
pub struct Consumer {
    app: Arc<App>,
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
}

/// Why an entry was not done with.
#[derive(Debug, thiserror::Error)]
enum ConsumeError {
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    #[error(transparent)]
    Connect(#[from] LayerError),
    #[error("the answer is unreadable: {0}")]
    Answer(#[from] redis::ParsingError),
    #[error(transparent)]
    Store(StoreError),
}

impl Consumer {
    /// Uses the stream of the settings; `None` if there is none.
    ///
    /// # Errors
    /// When the address cannot be read.
    pub fn new(app: &Arc<App>) -> Result<Option<Self>, SinkSettingsError> {
        let settings = &app.config.events.inward;
        let Some(url) = settings.url.as_ref().map(config::Secret::expose) else {
            return Ok(None);
        };
        let url = RedisUrl::parse(url).map_err(|why| SinkSettingsError {
            key: "events.inward.url",
            why,
        })?;
        Ok(Some(Consumer {
            app: Arc::clone(app),
            address: Address::from(url).with_values_of(app.config.layer.max_event_bytes),
            settings: settings.clone(),
            name: super::owner(),
        }))
    }

    /// Consumes until it is to stop.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut backoff = Backoff::default();
        let mut is_reported = false;
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                error = self.consume() => {
                    if std::mem::replace(&mut is_reported, true) {
                        tracing::debug!(%error, "events of others are still not consumed");
                    } else {
                        tracing::warn!(%error, "events of others are not consumed now");
                    }
                }
            }
            sleep(backoff.next()).await;
        }
    }

    /// Consumes until something fails. What is under way then comes again.
    async fn consume(&self) -> ConsumeError {
        match self.consume_all().await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn consume_all(&self) -> Result<std::convert::Infallible, ConsumeError> {
        let mut redis = self.address.connect(PATIENCE).await?;
        self.make_group(&mut redis).await?;
        // Entries that this consumer got before the connection was lost.
        while self.read(&mut redis, "0").await? > 0 {}
        loop {
            self.take_over(&mut redis).await?;
            self.read(&mut redis, ">").await?;
        }
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
    async fn read(&self, redis: &mut RedisConnection, from: &str) -> Result<usize, ConsumeError> {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(&self.settings.group).arg(&self.name);
        read.arg("COUNT").arg(TOGETHER).arg("BLOCK").arg(BLOCK_MS);
        read.arg("STREAMS").arg(&self.settings.stream).arg(from);
        let streams: Option<Vec<(String, Vec<Answer>)>> = read.query_async(redis).await?;
        let entries = streams
            .into_iter()
            .flatten()
            .flat_map(|(_, entries)| entries);
        self.do_all(redis, entries.collect()).await
    }

    /// Takes entries over that others were given and have not confirmed for long.
    async fn take_over(&self, redis: &mut RedisConnection) -> Result<usize, ConsumeError> {
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
        self.do_all(redis, entries).await
    }

    async fn do_all(
        &self,
        redis: &mut RedisConnection,
        entries: Vec<Answer>,
    ) -> Result<usize, ConsumeError> {
        let count = entries.len();
        for entry in entries {
            let mut entry = Entry::read(entry)?;
            if entry.is_cut() {
                entry = self.read_alone(redis, entry).await?;
            }
            self.do_one(redis, entry).await?;
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

    async fn do_one(&self, redis: &mut RedisConnection, entry: Entry) -> Result<(), ConsumeError> {
        let metrics = &self.app.metrics;
        let stored = match message_of(&entry) {
            Ok(None) => Ok("ignored"),
            Ok(Some(new)) => match self.app.chat.post_once(new).await {
                Ok((_, true)) => Ok("stored"),
                Ok((_, false)) => Ok("repeated"),
                Err(ChatError::Store(error)) if is_passing(&error) => {
                    return Err(ConsumeError::Store(error));
                }
                Err(error) => Err(error.to_string()),
            },
            Err(why) => Err(why),
        };
        let mut done = redis::pipe();
        done.atomic();
        match stored {
            Ok(outcome) => metrics.event_consumed(outcome),
            Err(why) => {
                metrics.event_consumed("dead");
                tracing::error!(entry = entry.id, why, "an event of others is put aside");
                done.add_command(self.bury(&entry, &why)).ignore();
            }
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

/// Returns whether the same may be stored later.
fn is_passing(error: &StoreError) -> bool {
    error.may_pass() || matches!(error, StoreError::Closed)
}

/// Returns the message of an entry; `None` for an event of another type.
///
/// # Errors
/// A text for the log, if it is no such event.
fn message_of(entry: &Entry) -> Result<Option<NewMessage>, String> {
    if entry.is_cut() {
        return Err("it is larger than layer.max_event_bytes".to_owned());
    }
    let field = |name: &str| entry.fields.get(name.as_bytes());
    let event = field("event").ok_or("there is no field event")?;
    let event: Value = serde_json::from_slice(event).map_err(|error| error.to_string())?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let kind = text(&event["event_type"]).or_else(|| text(&event["type"]));
    if kind.ok_or("the event has no type")? != GENERATED {
        return Ok(None);
    }
    let data = &event["data"];
    let id = field("id").map(|id| String::from_utf8_lossy(id).into_owned());
    let id = id
        .or_else(|| text(&event["id"]))
        .or_else(|| text(&data["message_id"]));
    let id: Uuid = id
        .and_then(|id| id.parse().ok())
        .ok_or("the event has no UUID as its id")?;
    let conversation = text(&data["conversation_id"]);
    let conversation: ConversationId = conversation
        .and_then(|id| id.parse().ok())
        .ok_or("conversation_id is no id")?;
    let content = text(&data["content"]).filter(|content| !content.is_empty());
    Ok(Some(NewMessage {
        id: Some(id.into()),
        conversation_id: conversation,
        sender_id: text(&data["sender_id"]).unwrap_or_else(|| ASSISTANT.to_owned()),
        content: content.ok_or("content is no text")?,
        message_type: text(&data["message_type"]).unwrap_or_else(|| "text".to_owned()),
        is_deleted: false,
        attachments: Vec::new(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(event: &str) -> Result<Option<NewMessage>, String> {
        message_of(&Entry {
            id: "1-1".to_owned(),
            fields: [(b"event".to_vec(), event.as_bytes().to_vec())].into(),
        })
    }

    #[test]
    fn a_message_is_read_from_either_form_of_an_event() {
        let id = "01a22e73-a80e-773a-b90f-b29d898b5a8d";
        let data = format!("{{\"conversation_id\": \"{id}\", \"content\": \"a\"}}");
        let cloud = format!("{{\"type\": \"{GENERATED}\", \"id\": \"{id}\", \"data\": {data}}}");
        let message = read(&cloud).unwrap().unwrap();
        assert_eq!(message.id.unwrap().to_string(), id);
        assert_eq!(
            (&*message.sender_id, &*message.message_type),
            (ASSISTANT, "text")
        );
        assert_eq!(read("{\"event_type\": \"user.created\"}"), Ok(None));
        for bad in [
            "no JSON",
            "{}",
            &format!("{{\"type\": \"{GENERATED}\", \"data\": {data}}}"),
            &cloud.replace("\"a\"", "5"),
            &cloud.replace("conversation_id", "room"),
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
