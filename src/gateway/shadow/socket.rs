//! Compares what Django writes on a socket with what we would have written for the same rows.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use tokio::{sync::mpsc, time::sleep};

use super::{
    SETTLE, Verdict, diff,
    watcher::{SeenOutput, Waiting},
};
use crate::{
    app::App,
    chat::{Event, Message, SentMessage, policy::Caller},
    dialect::django::{
        events::{Events, id_of},
        frames::{Rejection, error_frame, event_frame, history_frame},
    },
    gateway::Gateway,
    id::{ConversationId, MessageId},
    layer::events::{EventTable as _, handler},
    python::{
        datetime::Timestamp,
        json::{self, Constants},
        pystr::str_of,
    },
    service::ChatError,
    store::{
        StoreError,
        history::{Deleted, History, Pages},
    },
    value::Value,
    ws::writer::payload,
};

/// Most microseconds between the commit of a message and its event.
const RECENT: i64 = 120_000_000;

/// Rows that are this much older than the socket were in every history, in microseconds; of
/// younger ones one side may know and the other not.
const OLD: i64 = 10_000_000;

/// Rows besides those of a limited history that are read: those of them that Django did not have
/// are left out.
const LATER: usize = 1000;

/// Codes with which Django ends sockets because it goes away, or because its consumer has crashed
/// on a frame that we answer with an error.
const EXPECTED_CODES: [u16; 3] = [1001, 1011, 1012];

/// The comparisons of one socket.
#[derive(Clone)]
pub struct SocketComparison {
    app: Arc<App>,
    gateway: Arc<Gateway>,
    conversation: ConversationId,
    began: Timestamp,
}

impl SocketComparison {
    pub fn new(app: &Arc<App>, gateway: &Arc<Gateway>, conversation: ConversationId) -> Self {
        SocketComparison {
            app: Arc::clone(app),
            gateway: Arc::clone(gateway),
            conversation,
            began: Timestamp::now(),
        }
    }

    /// Compares the answer to the handshake. `refused` is our own refusal of its headers.
    pub async fn handshake(&self, django: StatusCode, refused: Option<u16>) {
        let verdict = match self.may_connect(refused).await {
            Ok(ours) if ours == django.as_u16() => Verdict::Same,
            Ok(ours) => {
                let text = format!("Django has {}, Chatferry {ours}", django.as_u16());
                Verdict::of("handshake", Some(text))
            }
            Err(_) => Verdict::Unknown,
        };
        self.conclude(&verdict);
    }

    async fn may_connect(&self, refused: Option<u16>) -> Result<u16, ChatError> {
        if let Some(status) = refused {
            return Ok(status);
        }
        let admitted = self
            .app
            .chat
            .admit_socket(&Caller::Anybody, self.conversation);
        match admitted.await {
            Ok(_) => Ok(101),
            Err(ChatError::NoConversation) => Ok(403),
            Err(error) => Err(error),
        }
    }

    /// Compares what is seen until the socket has ended.
    pub async fn run(self, mut seen: mpsc::Receiver<Waiting>) {
        let mut first = true;
        while let Some(waiting) = seen.recv().await {
            let Ok(slot) = self.gateway.shadow.slots.acquire().await else {
                return;
            };
            let verdict = match &waiting.seen {
                SeenOutput::Text(text) => {
                    let of_history = std::mem::replace(&mut first, false);
                    let verdict = self.text(text, of_history).await;
                    if matches!(verdict, Ok(Verdict::Different(_))) {
                        // A row may have been on its way.
                        sleep(SETTLE).await;
                        self.text(text, of_history).await
                    } else {
                        verdict
                    }
                }
                SeenOutput::Binary => Ok(different("frame", "Django has sent a binary message")),
                SeenOutput::Close { code, asked } => Ok(close(*code, *asked)),
            };
            self.conclude(&verdict.unwrap_or(Verdict::Unknown));
            drop((slot, waiting));
        }
    }

    fn conclude(&self, verdict: &Verdict) {
        let place = format!("socket of {}", self.conversation);
        let shadow = &self.gateway.shadow;
        shadow.conclude(&self.app.metrics, &place, verdict);
    }

    async fn text(&self, text: &[u8], first: bool) -> Result<Verdict, StoreError> {
        let value = std::str::from_utf8(text)
            .ok()
            .and_then(|text| json::loads(text, Constants::Allow).ok());
        let Some(value) = value else {
            return Ok(different("frame", "Django has sent no JSON"));
        };
        let kind = value.get("type").and_then(Value::as_str);
        let (kind, ours) = match kind {
            _ if first => ("history", self.history(&value).await?),
            Some("chat_message") => match self.message(&value).await? {
                Some(ours) => ("message", ours),
                None => return Ok(different("message", "there is no such row")),
            },
            Some(kind) if self.passes(kind) => return Ok(Verdict::Unknown),
            kind => match (self.event(kind, &value), error(&value)) {
                (Some((word, ours)), _) => (word, ours),
                (None, Some(ours)) => ("error", ours),
                (None, None) => {
                    return Ok(different(
                        "frame",
                        "Django has sent a frame of another kind",
                    ));
                }
            },
        };
        let tell = self.gateway.shadow.tell;
        Ok(Verdict::of(
            kind,
            diff::difference(text, payload(&ours), tell),
        ))
    }

    /// Returns whether an event of Django code's own making is passed on here as well.
    fn passes(&self, kind: &str) -> bool {
        let mut passed = self.app.config.layer.passthrough.iter();
        passed.any(|name| handler(name) == handler(kind))
    }

    /// Returns the frame that we would have sent for the event of Django's, and what the metrics
    /// call it.
    fn event(&self, kind: Option<&str>, django: &Value) -> Option<(&'static str, Bytes)> {
        let mut member = |name| Ok(django.get(name).cloned().unwrap_or(Value::Null));
        let event = self.events().read(kind?, &mut member).ok()??;
        let word = match event {
            Event::MessageRead { .. } => "message_read",
            Event::Typing { .. } => "typing",
            _ => return None,
        };
        Some((word, event_frame(&self.events(), &event)))
    }

    fn events(&self) -> Events {
        let zone = self.app.zone().clone();
        Events { zone }
    }

    /// Returns the history that we would have sent: of the rows that were written around the
    /// handshake those that Django had.
    async fn history(&self, django: &Value) -> Result<Bytes, StoreError> {
        let shown: Vec<MessageId> = match django.get("messages") {
            Some(Value::List(messages)) => messages.iter().filter_map(id_of).collect(),
            _ => Vec::new(),
        };
        let shown: std::collections::HashSet<MessageId> = shown.into_iter().collect();
        let (store, id) = (&self.app.store, self.conversation);
        let limit = Some(self.app.config.ws.history_limit).filter(|&limit| limit > 0);
        let most = limit.map(|limit| limit.saturating_add(LATER));
        let history = History::read(store, id, Deleted::Skipped, most).await?;
        let rows = history.whole().await?;
        let old = self.began.micros() - OLD;
        let mut rows: Vec<Message> = rows
            .into_iter()
            .filter(|row| row.created_at.micros() < old || shown.contains(&row.id))
            .collect();
        let beyond = limit.map_or(0, |limit| rows.len().saturating_sub(limit));
        rows.drain(..beyond);
        Ok(history_frame(&rows, self.app.zone()))
    }

    /// Returns the event that we would have sent for the row of Django's; `None` if there is no
    /// such row.
    async fn message(&self, django: &Value) -> Result<Option<Bytes>, StoreError> {
        let Some(told) = django.get("message") else {
            return Ok(None);
        };
        let row = match id_of(told) {
            Some(id) => self.row(id).await?,
            None => self.newest().await?,
        };
        let Some(row) = row else { return Ok(None) };
        // The type is echoed as it was sent, and stored as a text.
        let shown_type = told
            .get("message_type")
            .filter(|shown| str_of(shown) == *row.message_type)
            .cloned()
            .unwrap_or_else(|| row.message_type.as_str().into());
        let event = Event::MessageSent(SentMessage::Stored {
            message: Arc::new(row),
            shown_type,
        });
        Ok(Some(event_frame(&self.events(), &event)))
    }

    async fn row(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        let shadow = &self.gateway.shadow;
        if let Some(row) = shadow.remembered(&id) {
            return Ok(Some(row));
        }
        let rows = self.recent().await?;
        for row in &rows {
            shadow.remember(row.clone());
        }
        Ok(rows.into_iter().find(|row| row.id == id))
    }

    /// For a message without an id that we know of: what it should have looked like.
    async fn newest(&self) -> Result<Option<Message>, StoreError> {
        Ok(self.recent().await?.pop())
    }

    async fn recent(&self) -> Result<Vec<Message>, StoreError> {
        let since = Timestamp::from_micros(Timestamp::now().micros() - RECENT);
        let pages = Pages::since(&self.app.store, self.conversation, since);
        pages.whole().await
    }
}

fn different(kind: &'static str, text: &str) -> Verdict {
    Verdict::of(kind, Some(text.to_owned()))
}

/// We never end a socket that does nothing wrong, and answer a close frame with 1000.
fn close(code: Option<u16>, asked: bool) -> Verdict {
    let told = code.map_or("no code".to_owned(), |code| code.to_string());
    match code {
        Some(1000) if asked => Verdict::Same,
        Some(code) if EXPECTED_CODES.contains(&code) => Verdict::Unknown,
        _ if asked => different("close", &format!("Django answers {told}, Chatferry 1000")),
        _ => different("close", &format!("Django closes with {told}")),
    }
}

/// Returns the error frame of ours with the text of Django's, if Django has such a text.
fn error(django: &Value) -> Option<Bytes> {
    let text = django.get("error")?.as_str()?;
    let known = [Rejection::Json, Rejection::Required].map(|rejection| rejection.to_string());
    known
        .iter()
        .find(|known| *known == text)
        .map(|text| error_frame(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goodbye_of_django_s_own_is_a_difference_unless_it_goes_away() {
        for (code, asked, verdict) in [
            (Some(1000), true, Some(Verdict::Same)),
            (Some(1011), false, Some(Verdict::Unknown)),
            (Some(1001), false, Some(Verdict::Unknown)),
            (Some(1000), false, None),
            (Some(4001), false, None),
            (Some(4001), true, None),
            (None, false, None),
        ] {
            match verdict {
                Some(verdict) => assert_eq!(close(code, asked), verdict),
                None => assert!(matches!(close(code, asked), Verdict::Different(_))),
            }
        }
    }

    #[test]
    fn an_error_is_known_by_its_text() {
        let frame = |text| error(&Value::Map(vec![("error".into(), Value::from(text))]));
        assert!(frame("Invalid JSON format").is_some());
        assert!(frame("Something else").is_none());
    }
}
