//! Sockets that speak `chatferry.v1`: performs and answers their requests.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::{
    SUBPROTOCOL,
    cursor::Cursor,
    frames::{Code, HelloLimits, MessageView, ServerFrame, Shown, UnreadView, time},
    requests::{self, HistoryPlace, NativeAction, NativeReading, NativeRequest, READ_MAX},
    subscriptions::{NotEntered, Subscription, Subscriptions},
};
use crate::{
    app::App,
    auth::{
        Auth,
        identity::{Credentials, Denied},
    },
    chat::{Event, NewMessage, policy::Caller},
    config::{Config, Prefix},
    hub::frames::DialectSlot,
    id::{ConversationId, MessageId},
    limits::{LimitedAction, Throttled},
    python::{datetime::Timestamp, uuid::from_path},
    service::{ChatError, MessagePage},
    store::history::{Direction, PAGE_MESSAGES},
    ws::{
        history::FirstFrames,
        protocol::{FrameRequest as _, Guest, Protocol, Reading},
        refusal::Refusal,
    },
};

/// Most messages that a client which comes back is sent; past them it has to begin anew.
pub const RESUME_MAX: usize = 5000;

/// The sockets that speak `chatferry.v1`.
pub struct Native {
    slot: DialectSlot,
    prefix: Prefix,
    limits: HelloLimits,
}

impl Native {
    #[must_use]
    pub fn new(config: &Config, slot: DialectSlot) -> Self {
        Native {
            slot,
            prefix: config.django.ws_prefix.clone(),
            limits: HelloLimits {
                message_bytes: config.ws.max_message_bytes,
                page_messages: PAGE_MESSAGES,
                read_messages: READ_MAX,
                subscriptions: config.native.subscriptions,
            },
        }
    }
}

impl Protocol for Native {
    type Request = NativeRequest;
    type Target = ();
    type Place = Subscriptions;

    fn slot(&self) -> DialectSlot {
        self.slot
    }

    /// Takes the paths of Django's sockets, so that a client can ask for either protocol at one URL,
    /// and their prefix alone.
    fn target(&self, path: &str) -> Option<()> {
        let rest = path.strip_prefix(self.prefix.as_str())?;
        let is_one = rest.is_empty() || from_path(rest.strip_suffix('/')?).is_some();
        is_one.then_some(())
    }

    fn conversation(&self, (): ()) -> Option<ConversationId> {
        None
    }

    fn template(&self) -> String {
        self.prefix.to_string()
    }

    fn agreed(&self, _: &Auth, _: &Credentials<'_>) -> Option<String> {
        Some(SUBPROTOCOL.to_owned())
    }

    async fn enter(
        &self,
        app: &Arc<App>,
        (): (),
        guest: &Guest<'_>,
    ) -> Result<(Subscriptions, FirstFrames), Refusal> {
        let place = Subscriptions::new(app, guest, self.limits.subscriptions);
        let hello = ServerFrame::Hello {
            user: place.user(),
            time: time(Timestamp::now()),
            limits: self.limits,
        };
        let first = FirstFrames::Frame(hello.frame());
        Ok((place, first))
    }

    fn read(&self, text: &str) -> Result<Reading<NativeRequest>, Bytes> {
        Ok(match requests::read(text)? {
            NativeReading::Token(token) => Reading::Token(token.into()),
            NativeReading::Request(request) => Reading::Request(request),
        })
    }

    async fn perform(
        app: &App,
        place: &Subscriptions,
        caller: &Caller,
        request: NativeRequest,
    ) -> Result<Option<Bytes>, ChatError> {
        let asking = Asking {
            app,
            place,
            caller,
            request: &request,
        };
        let refused = match asking.answer().await {
            Ok(answer) => return Ok(answer),
            Err(refused) => refused,
        };
        if let Refused::Failed(ChatError::Store(error)) = &refused {
            tracing::warn!(%error, "a request failed");
        }
        Ok(Some(refused.frame(&request)))
    }

    fn binary(&self) -> Bytes {
        let why = "a frame must be text".to_owned();
        ServerFrame::error(None, Code::BadFrame, why).frame()
    }

    fn not_you(&self, request: &NativeRequest) -> Bytes {
        ServerFrame::failure(request, &ChatError::NotYou).frame()
    }

    fn throttled(&self, request: Option<&NativeRequest>, throttled: &Throttled) -> Bytes {
        ServerFrame::throttled(request, throttled).frame()
    }

    fn denied(&self, denied: &Denied) -> Bytes {
        ServerFrame::error(None, Code::Denied, denied.label().to_owned()).frame()
    }

    // Failures are answered where they come.
    fn failed(&self, _: &ChatError) -> Option<Bytes> {
        None
    }
}

/// Why a request was not done.
enum Refused {
    /// The client has to do something else first, which the text says.
    Unready(Code, &'static str),
    Throttled(Throttled),
    Failed(ChatError),
}

impl<E: Into<ChatError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Refused::Failed(error.into())
    }
}

impl From<NotEntered> for Refused {
    fn from(error: NotEntered) -> Self {
        match error {
            NotEntered::Full => Refused::Unready(Code::TooManySubscriptions, "unsubscribe first"),
            NotEntered::Failed(error) => Refused::Failed(error),
        }
    }
}

impl Refused {
    fn frame(&self, request: &NativeRequest) -> Bytes {
        match self {
            Refused::Unready(code, why) => {
                ServerFrame::refusal(request, *code, (*why).to_owned()).frame()
            }
            Refused::Throttled(throttled) => {
                ServerFrame::throttled(Some(request), throttled).frame()
            }
            Refused::Failed(error) => ServerFrame::failure(request, error).frame(),
        }
    }
}

/// A client that has asked for something.
struct Asking<'a> {
    app: &'a App,
    place: &'a Subscriptions,
    caller: &'a Caller,
    request: &'a NativeRequest,
}

impl Asking<'_> {
    async fn answer(&self) -> Result<Option<Bytes>, Refused> {
        let reference = self.request.reference.clone();
        let Some(id) = self.request.conversation else {
            return self.answer_at_large().await.map(Some);
        };
        if self.request.wants_page() {
            self.place.meter.allow_rows().map_err(Refused::Throttled)?;
        }
        let answer = match &self.request.action {
            NativeAction::Subscribe { after, limit } => self.subscribe(id, *after, *limit).await?,
            NativeAction::Unsubscribe => {
                self.place.leave(id);
                ServerFrame::Unsubscribed {
                    reference,
                    conversation: Shown(id),
                    code: None,
                }
                .frame()
            }
            NativeAction::Send {
                id: own,
                sender,
                content,
                kind,
            } => {
                let new = NewMessage {
                    id: Some(*own),
                    conversation_id: id,
                    sender_id: self.speaker(sender.as_deref())?.to_owned(),
                    content: content.clone(),
                    message_type: kind.clone(),
                    is_deleted: false,
                };
                self.send(&*self.subscribed(id)?, new).await?
            }
            NativeAction::History { place, limit } => {
                self.history(&*self.subscribed(id)?, *place, *limit).await?
            }
            NativeAction::Read { user, messages } => {
                self.subscribed(id)?;
                self.read(id, self.speaker(user.as_deref())?, messages)
                    .await?;
                ServerFrame::Ok { reference }.frame()
            }
            NativeAction::Typing { user, is_typing } => {
                self.subscribed(id)?;
                let event = Event::Typing {
                    user_id: self.speaker(user.as_deref())?.into(),
                    is_typing: (*is_typing).into(),
                };
                self.app.chat.broadcast(id, event).await?;
                return Ok(None);
            }
            NativeAction::Unread { .. } | NativeAction::Ping => self.answer_at_large().await?,
        };
        Ok(Some(answer))
    }

    /// Answers what is not about one conversation.
    async fn answer_at_large(&self) -> Result<Bytes, Refused> {
        let reference = self.request.reference.clone();
        let NativeAction::Unread {
            user,
            conversations,
        } = &self.request.action
        else {
            let time = time(self.now());
            return Ok(ServerFrame::Pong { reference, time }.frame());
        };
        let user = self.speaker(user.as_deref())?;
        self.place.meter.allow_rows().map_err(Refused::Throttled)?;
        let counts = self.app.chat.unread(self.caller, conversations, user);
        let counts = counts.await?;
        self.place.meter.charge_rows(counts.len());
        let counts = counts.into_iter().map(|(id, unread)| UnreadView {
            conversation: Shown(id),
            unread,
        });
        let counts = counts.collect();
        Ok(ServerFrame::Unread { reference, counts }.frame())
    }

    fn now(&self) -> Timestamp {
        Timestamp::by(self.app.store.committer().clock())
    }

    fn subscribed(&self, id: ConversationId) -> Result<Arc<Subscription>, Refused> {
        let found = self.place.get(id);
        found.ok_or(Refused::Unready(Code::NotSubscribed, "subscribe first"))
    }

    /// Returns the user that a request speaks for: the one that it names, or the one that has opened
    /// the socket.
    fn speaker<'a>(&'a self, named: Option<&'a str>) -> Result<&'a str, Refused> {
        let user = named.or(self.place.user()).filter(|user| !user.is_empty());
        user.ok_or(Refused::Unready(Code::NoSender, "it needs a user"))
    }

    async fn subscribe(
        &self,
        id: ConversationId,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Bytes, Refused> {
        // First a member, then the messages: one in between is in both, and its id is the same.
        let subscription = self.place.enter(self.app, self.caller, id).await?;
        let now = self.now();
        let (page, is_resumed) = self.first_page(id, after, limit, now).await?;
        self.shows(&subscription, &page);
        let (first, last) = (page.messages.first(), page.messages.last());
        let more = |edge: Option<_>| edge.filter(|_| page.is_full).map(Cursor::of);
        let next = if is_resumed { more(last) } else { None };
        let frame = ServerFrame::Subscribed {
            reference: self.request.reference.clone(),
            conversation: Shown(id),
            reload: !is_resumed && after.is_some(),
            cursor: match last {
                Some(last) if next.is_some() => Cursor::shown(last, now),
                _ => Cursor::all(now),
            },
            next,
            before: if is_resumed { None } else { more(first) },
            messages: page.messages.iter().map(MessageView::of).collect(),
        };
        Ok(frame.frame())
    }

    /// Returns the messages that a client is sent first, and whether they are those behind its
    /// cursor.
    async fn first_page(
        &self,
        id: ConversationId,
        after: Option<Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<(MessagePage, bool), ChatError> {
        let chat = &self.app.chat;
        let Some(after) = after else {
            return Ok((chat.newest(id, limit).await?, false));
        };
        let start = after.start(now);
        let page = chat
            .beside(id, start, Direction::Newer, PAGE_MESSAGES)
            .await?;
        if page.is_full
            && let Some(oldest) = chat.time_before(id, RESUME_MAX).await?
            && oldest > start.0
        {
            return Ok((chat.newest(id, limit).await?, false));
        }
        Ok((page, true))
    }

    /// Notes what a page shows.
    fn shows(&self, subscription: &Subscription, page: &MessagePage) {
        subscription.membership.is_shown(&page.messages);
        self.place.meter.charge_rows(page.messages.len());
    }

    async fn history(
        &self,
        subscription: &Subscription,
        place: Option<HistoryPlace>,
        limit: usize,
    ) -> Result<Bytes, ChatError> {
        let (chat, id) = (&self.app.chat, subscription.membership.conversation_id());
        let page = match place {
            None => chat.newest(id, limit).await?,
            Some(HistoryPlace::Before(cursor)) => {
                chat.beside(id, cursor.place(), Direction::Older, limit)
                    .await?
            }
            Some(HistoryPlace::After(cursor)) => {
                let start = cursor.start(self.now());
                chat.beside(id, start, Direction::Newer, limit).await?
            }
        };
        self.shows(subscription, &page);
        let is_newer = matches!(place, Some(HistoryPlace::After(_)));
        let edge = if is_newer {
            page.messages.last()
        } else {
            page.messages.first()
        };
        let edge = edge.filter(|_| page.is_full).map(Cursor::of);
        let frame = ServerFrame::Page {
            reference: self.request.reference.clone(),
            conversation: Shown(id),
            next: edge.filter(|_| is_newer),
            before: edge.filter(|_| !is_newer),
            messages: page.messages.iter().map(MessageView::of).collect(),
        };
        Ok(frame.frame())
    }

    async fn send(&self, subscription: &Subscription, new: NewMessage) -> Result<Bytes, ChatError> {
        let membership = &subscription.membership;
        if membership.may_precede() {
            membership.speaks(&new.sender_id);
        }
        let stored = self.app.chat.post(new).await?;
        let frame = ServerFrame::Ack {
            id: Shown(stored.id),
            conversation: Shown(stored.conversation_id),
            message: MessageView::of(&stored),
        };
        Ok(frame.frame())
    }

    /// Marks messages as read. The first has been counted against the limits with its frame.
    async fn read(
        &self,
        conversation_id: ConversationId,
        user: &str,
        messages: &[MessageId],
    ) -> Result<(), Refused> {
        for _ in 1..messages.len() {
            let allowed = self.place.meter.allow(LimitedAction::Message);
            allowed.map_err(Refused::Throttled)?;
        }
        let marks = messages.iter().map(async |id| {
            let chat = &self.app.chat;
            chat.message_in(conversation_id, *id).await?;
            let event = Event::MessageRead {
                message_id: id.to_string().into(),
                user_id: user.into(),
            };
            chat.mark_read(conversation_id, *id, user.to_owned(), event)
                .await
        });
        try_join_all(marks).await?;
        Ok(())
    }
}
