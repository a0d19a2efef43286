//! `GET conversations/{id}/events`: what is said in a conversation as server-sent events, for clients
//! that cannot open a WebSocket.
//!
//! A reader is a member of the conversation like a socket: its queue is bounded, its rights are
//! looked at again, and it ends with the process. `data` is the frame of a socket, `event` its
//! type, and `id` a cursor, with which a browser comes back by itself (`Last-Event-ID`).

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::{
    StatusCode,
    body::Frame,
    header::{CACHE_CONTROL, HeaderName, HeaderValue},
};
use serde::Deserialize;
use tokio::time::{sleep, sleep_until};

use super::{
    super::{
        cursor::Cursor,
        frames::{MessageView, ServerFrame, Shown, ended},
        groups::GroupView,
        pages::PageEnds,
    },
    call::Call,
    messages::PAGE,
    problem::{Problem, ProblemCode},
};
use crate::{
    app::App,
    auth::sockets::Registration,
    chat::Group,
    http::{Body, Broken, Response, reply::with_body},
    hub::{
        Membership,
        queue::{Overflow, Queue, QueueLimits},
    },
    id::{ConversationId, MessageId},
    limits::{SocketSeat, memory::Share},
    python::datetime::Timestamp,
    random,
    service::{ChatError, MessagePage, Resumed},
    shutdown::CloseTurn,
    store::history::{Direction, PAGE_MESSAGES},
    ws::writer::payload,
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Keeps a proxy from gathering events (nginx).
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Opens the stream. Without a cursor it begins with the newest messages.
pub async fn stream(call: Call<'_>, id: ConversationId) -> Result<Response, Problem> {
    let app = call.app;
    let limit = call.limit(PAGE, PAGE_MESSAGES)?;
    let after = came_back(&call)?;
    if app.drain.has_begun() {
        return Err(Problem::new(
            ProblemCode::Unavailable,
            "the server goes away",
        ));
    }
    let seat = call.request.meter.open_socket()?;
    // First registered, then looked at: what ends its rights in between is not missed.
    let registration = app.auth.register(Some(id), call.admission);
    call.admit(id).await?;
    call.allow_rows()?;
    let limits = &app.config.ws;
    let queue = Arc::new(Queue::of(
        call.slot,
        QueueLimits {
            frames: limits.queue_messages,
            bytes: limits.queue_bytes,
        },
    ));
    // First a member, then the messages: one in between is in both, and its id is the same.
    let joined = app
        .hub
        .join(id, app.chat_with_groups.group(id), Arc::clone(&queue))
        .await;
    let membership = joined.map_err(ChatError::from)?;
    let began = call.now();
    let start = after.map(|cursor| cursor.start(began));
    let resumed = app.chat_with_groups.resume(id, start, limit, began).await?;
    let mut feed = Feed {
        app: Arc::clone(app),
        id,
        membership,
        registration,
        seat,
        share: call.share(),
        queue,
        until: call.admission.until,
        turn: app.drain.subscribe(),
        ping: Duration::from_secs(limits.ping_interval_s),
        began,
        waiting: None,
        behind: None,
        is_over: false,
    };
    let group = app.chat_with_groups.group_of(id).await?;
    feed.begin(&resumed, group.as_ref(), after.is_some());
    let body = StreamBody::new(stream::unfold(feed, async |mut feed| {
        let chunk = feed.next().await?;
        Some((chunk.map(Frame::data), feed))
    }));
    let mut response = with_body(StatusCode::OK, EVENT_STREAM, Body::passed(body));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

/// Returns the cursor of a reader that comes back: what its browser says, or the parameter `after`.
fn came_back(call: &Call<'_>) -> Result<Option<Cursor>, Problem> {
    match call
        .request
        .header(&LAST_EVENT_ID)
        .filter(|id| !id.is_empty())
    {
        None => call.cursor("after"),
        Some(id) => {
            let cursor = id.parse();
            let cursor = cursor.map_err(|error| Problem::bad(format!("Last-Event-ID: {error}")));
            cursor.map(Some)
        }
    }
}

/// A stream that is open, and everything that it holds. Dropped, the reader leaves.
struct Feed {
    app: Arc<App>,
    id: ConversationId,
    membership: Membership,
    registration: Registration,
    /// It counts as an open socket of the client's.
    seat: SocketSeat,
    /// The memory for what is on its way to it.
    share: Share,
    queue: Arc<Queue>,
    /// When the token or session runs out.
    until: Option<Instant>,
    turn: CloseTurn,
    /// Time without an event after which a comment is sent.
    ping: Duration,
    /// When it became a member: what was stored until then is read.
    began: Timestamp,
    waiting: Option<Vec<u8>>,
    /// Place after which messages are still to be read. Until then the queue is not asked.
    behind: Option<(Timestamp, MessageId)>,
    is_over: bool,
}

impl Feed {
    /// Puts the first event together.
    fn begin(&mut self, resumed: &Resumed, group: Option<&Group>, came_back: bool) {
        let (page, is_resumed) = (&resumed.page, resumed.is_resumed);
        let (updated, deleted) = resumed.changes();
        self.seat.meter().charge_rows(resumed.changed.len());
        let PageEnds { next, before } = PageEnds::of(page, resumed.direction());
        let cursor = Cursor::all(self.began);
        let frame = ServerFrame::Subscribed {
            reference: None,
            conversation: Shown(self.id),
            group: group.map(GroupView::of),
            reload: came_back && !is_resumed,
            messages: page.messages.iter().map(MessageView::of).collect(),
            updated: updated.into_iter().map(MessageView::of).collect(),
            deleted: deleted.into_iter().map(|it| Shown(it.id)).collect(),
            cursor,
            next,
            before,
        };
        // Readers come back at different times when a server goes away.
        let retry_ms = 1000.0 + 4000.0 * random::fraction();
        let mut out = format!("retry: {retry_ms:.0}\n").into_bytes();
        self.show(page, &frame, &mut out);
        self.waiting = Some(out);
    }

    /// Writes a frame that shows a page. Its cursor counts, and is the id, if it is the last.
    fn show(&mut self, page: &MessagePage, frame: &ServerFrame<'_>, out: &mut Vec<u8>) {
        self.membership.is_shown(&page.messages);
        self.seat.meter().charge_rows(page.messages.len());
        let is_more = matches!(
            frame,
            ServerFrame::Subscribed { next: Some(_), .. } | ServerFrame::Page { next: Some(_), .. }
        );
        let last = page.messages.last().filter(|_| is_more);
        self.behind = last.map(|message| (message.created_at, message.id));
        let id = (!is_more).then(|| Cursor::all(self.began).to_string());
        if !is_more {
            self.queue.history_is_told();
        }
        // Texts and numbers, written into memory: nothing here can fail.
        let json = serde_json::to_vec(frame).unwrap_or_default();
        write_event(out, &json, id.as_deref());
    }

    /// Returns what is written next; `None` at the end. An error breaks the answer off, and the
    /// reader comes back.
    async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        if self.is_over {
            return None;
        }
        if let Some(waiting) = self.waiting.take() {
            return Some(self.held(waiting));
        }
        if let Some(place) = self.behind {
            let page = self.page(place).await.map_err(Broken::new);
            return Some(page.and_then(|page| self.held(page)));
        }
        let until = async {
            match self.until {
                Some(until) => sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.registration.socket().ended() => {
                self.is_over = true;
                let frame = ServerFrame::Unsubscribed {
                    reference: None,
                    conversation: Shown(self.id),
                    code: Some(ended(self.id)),
                };
                let json = serde_json::to_vec(&frame).unwrap_or_default();
                let mut out = Vec::new();
                write_event(&mut out, &json, None);
                Some(self.held(out))
            }
            () = until => None,
            () = self.turn.reached() => None,
            () = self.queue.filled() => Some(self.events()),
            () = sleep(self.ping) => Some(Ok(Bytes::from_static(b":\n\n"))),
        }
    }

    /// Reads the page of messages after a place.
    async fn page(&mut self, place: (Timestamp, MessageId)) -> Result<Vec<u8>, ChatError> {
        let chat = &self.app.chat_with_groups;
        let page = chat.beside(self.id, place, Direction::Newer, PAGE_MESSAGES);
        let page = page.await?;
        let frame = ServerFrame::Page {
            reference: None,
            conversation: Shown(self.id),
            messages: page.messages.iter().map(MessageView::of).collect(),
            next: PageEnds::of(&page, Direction::Newer).next,
            before: None,
        };
        let mut out = Vec::new();
        self.show(&page, &frame, &mut out);
        Ok(out)
    }

    /// Takes the events that wait.
    fn events(&self) -> Result<Bytes, Broken> {
        let taken = self.queue.take();
        let taken = taken.map_err(|Overflow| Broken::new("the reader is too slow"))?;
        let mut out = Vec::new();
        for frame in &taken.frames {
            write_event(&mut out, payload(frame), None);
        }
        self.held(out)
    }

    /// Returns bytes that hold their room until they are sent.
    fn held(&self, bytes: Vec<u8>) -> Result<Bytes, Broken> {
        let mut lease = self.share.nothing();
        let fits = lease.fit(bytes.len());
        fits.map_err(|_| Broken::new("no memory for answers"))?;
        Ok(lease.held_by(bytes))
    }
}

/// The fields of an event that its lines in the stream repeat.
#[derive(Deserialize)]
struct EventHead<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    cursor: Option<Cow<'a, str>>,
}

/// Writes an event with its JSON, which has no line breaks. Its id is the given one, or the cursor of
/// a message.
fn write_event(out: &mut Vec<u8>, json: &[u8], id: Option<&str>) {
    let Ok(head) = serde_json::from_slice::<EventHead<'_>>(json) else {
        return;
    };
    let cursor = head.cursor.as_deref().filter(|_| head.kind == "message");
    if let Some(id) = id.or(cursor) {
        line(out, "id", id.as_bytes());
    }
    line(out, "event", head.kind.as_bytes());
    line(out, "data", json);
    out.push(b'\n');
}

fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend(name.as_bytes());
    out.extend(b": ");
    out.extend(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_of_a_message_is_the_id_of_its_event() {
        let written = |json: &str, id| {
            let mut out = Vec::new();
            write_event(&mut out, json.as_bytes(), id);
            String::from_utf8(out).unwrap()
        };
        let message = r#"{"type":"message","cursor":"1.2"}"#;
        assert_eq!(
            written(message, None),
            format!("id: 1.2\nevent: message\ndata: {message}\n\n")
        );
        let typing = r#"{"type":"typing"}"#;
        assert_eq!(
            written(typing, None),
            format!("event: typing\ndata: {typing}\n\n")
        );
        let page = r#"{"type":"subscribed","cursor":"1.2"}"#;
        assert!(!written(page, None).contains("id: "));
        assert!(written(page, Some("7.8")).starts_with("id: 7.8\n"));
    }
}
