//! What is done for each frame of a socket that speaks `chatferry.v1`.
//!
//! A request is answered by a frame in the socket's queue, among the events of its conversations.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::{
    SUBPROTOCOL,
    cursor::Cursor,
    frames::{
        self, Code, HelloLimits, HistoryPlace, MessageView, NativeAction, NativeReading,
        NativeRequest, READ_MAX, Reference, ServerFrame, Shown, time,
    },
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
    limits::Throttled,
    python::{datetime::Timestamp, uuid::from_path},
    service::{ChatError, MessagePage},
    store::history::{Direction, PAGE_MESSAGES},
    ws::{
        history::FirstFrames,
        protocol::{Guest, Protocol, Reading},
        refusal::Refusal,
    },
};

/// Most messages that a client which comes back is told of; past them it is to begin anew.
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
        Ok(match frames::read(text)? {
            NativeReading::Token(token) => Reading::Token(token.into()),
            NativeReading::Request(request) => Reading::Request(request),
        })
    }

    async fn perform(
        app: &App,
        place: &Subscriptions,
        caller: &Caller,
        request: NativeRequest,
    ) -> Result<(), ChatError> {
        let asking = Asking { app, place, caller };
        if let Err(error) = asking.answer(&request).await {
            if let ChatError::Store(error) = &error {
                tracing::warn!(%error, "a request failed");
            }
            place.send(ServerFrame::failure(&request, &error).frame());
        }
        Ok(())
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

/// A client that has asked for something.
struct Asking<'a> {
    app: &'a App,
    place: &'a Subscriptions,
    caller: &'a Caller,
}

impl Asking<'_> {
    async fn answer(&self, request: &NativeRequest) -> Result<(), ChatError> {
        let reference = request.reference.clone();
        let Some(conversation_id) = request.conversation else {
            self.say(&ServerFrame::Pong {
                reference,
                time: time(self.now()),
            });
            return Ok(());
        };
        match &request.action {
            NativeAction::Subscribe { after, limit } => {
                return self
                    .subscribe(request, conversation_id, *after, *limit)
                    .await;
            }
            NativeAction::Unsubscribe => {
                self.place.leave(conversation_id);
                self.say(&ServerFrame::Unsubscribed {
                    reference,
                    conversation: Shown(conversation_id),
                    code: None,
                });
                return Ok(());
            }
            _ => {}
        }
        let Some(subscription) = self.place.get(conversation_id) else {
            self.refuse(request, Code::NotSubscribed, "subscribe first");
            return Ok(());
        };
        match &request.action {
            NativeAction::Send { .. } => self.send(request, &subscription).await,
            NativeAction::History { place, limit } => {
                self.history(reference, &subscription, *place, *limit).await
            }
            NativeAction::Read { user, messages } => {
                self.read(request, conversation_id, user.as_deref(), messages)
                    .await
            }
            NativeAction::Typing { user, is_typing } => {
                let Some(user) = self.speaker(user.as_deref()) else {
                    self.refuse(request, Code::NoSender, "user is needed");
                    return Ok(());
                };
                let event = Event::Typing {
                    user_id: user.into(),
                    is_typing: (*is_typing).into(),
                };
                self.app.chat.broadcast(conversation_id, event).await
            }
            NativeAction::Subscribe { .. } | NativeAction::Unsubscribe | NativeAction::Ping => {
                Ok(())
            }
        }
    }

    fn say(&self, frame: &ServerFrame<'_>) {
        self.place.send(frame.frame());
    }

    fn refuse(&self, request: &NativeRequest, code: Code, why: &str) {
        self.say(&ServerFrame::refusal(request, code, why.to_owned()));
    }

    fn now(&self) -> Timestamp {
        Timestamp::by(self.app.store.committer().clock())
    }

    /// Returns whom a request speaks for: whom it names, or who has opened the socket.
    fn speaker<'a>(&'a self, named: Option<&'a str>) -> Option<&'a str> {
        named.or(self.place.user()).filter(|user| !user.is_empty())
    }

    async fn subscribe(
        &self,
        request: &NativeRequest,
        id: ConversationId,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<(), ChatError> {
        if let Err(throttled) = self.place.meter.allow_rows() {
            self.say(&ServerFrame::throttled(Some(request), &throttled));
            return Ok(());
        }
        // First a member, then the messages: one in between is in both, and its id is the same.
        let subscription = match self.place.enter(self.app, self.caller, id).await {
            Ok(subscription) => subscription,
            Err(NotEntered::Full) => {
                self.refuse(request, Code::TooManySubscriptions, "unsubscribe first");
                return Ok(());
            }
            Err(NotEntered::Failed(error)) => return Err(error),
        };
        let now = self.now();
        let (page, resumed) = self.first_page(id, after, limit, now).await?;
        self.shows(&subscription, &page);
        let last = page.messages.last();
        let next = last.filter(|_| resumed && page.is_full).map(Cursor::of);
        let is_newest = !resumed;
        let before = page.messages.first();
        self.say(&ServerFrame::Subscribed {
            reference: request.reference.clone(),
            conversation: Shown(id),
            reload: is_newest && after.is_some(),
            cursor: match last {
                Some(last) if next.is_some() => Cursor::shown(last, now),
                _ => Cursor::all(now),
            },
            next,
            before: before.filter(|_| is_newest && page.is_full).map(Cursor::of),
            messages: page.messages.iter().map(MessageView::of).collect(),
        });
        Ok(())
    }

    /// Returns the messages that a client is told first, and whether they are those behind its
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
        reference: Option<Reference>,
        subscription: &Subscription,
        place: Option<HistoryPlace>,
        limit: usize,
    ) -> Result<(), ChatError> {
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
        self.say(&ServerFrame::Page {
            reference,
            conversation: Shown(id),
            next: edge.filter(|_| is_newer),
            before: edge.filter(|_| !is_newer),
            messages: page.messages.iter().map(MessageView::of).collect(),
        });
        Ok(())
    }

    async fn send(
        &self,
        request: &NativeRequest,
        subscription: &Subscription,
    ) -> Result<(), ChatError> {
        let NativeAction::Send {
            id,
            sender,
            content,
            kind,
        } = &request.action
        else {
            return Ok(());
        };
        let Some(sender) = self.speaker(sender.as_deref()) else {
            self.refuse(request, Code::NoSender, "sender is needed");
            return Ok(());
        };
        let membership = &subscription.membership;
        if membership.may_precede() {
            membership.speaks(sender);
        }
        let new = NewMessage {
            id: Some(*id),
            conversation_id: membership.conversation_id(),
            sender_id: sender.to_owned(),
            content: content.clone(),
            message_type: kind.clone(),
            is_deleted: false,
        };
        let stored = self.app.chat.post(new).await?;
        self.say(&ServerFrame::Ack {
            id: Shown(*id),
            conversation: Shown(stored.conversation_id),
            message: MessageView::of(&stored),
        });
        Ok(())
    }

    async fn read(
        &self,
        request: &NativeRequest,
        conversation_id: ConversationId,
        user: Option<&str>,
        messages: &[MessageId],
    ) -> Result<(), ChatError> {
        let Some(user) = self.speaker(user) else {
            self.refuse(request, Code::NoSender, "user is needed");
            return Ok(());
        };
        let marks = messages.iter().map(async |id| {
            let chat = &self.app.chat;
            chat.message_in(conversation_id, *id).await?;
            chat.mark_read(*id, user.to_owned()).await?;
            let event = Event::MessageRead {
                message_id: id.to_string().into(),
                user_id: user.into(),
            };
            chat.broadcast(conversation_id, event).await
        });
        try_join_all(marks).await?;
        self.say(&ServerFrame::Ok {
            reference: request.reference.clone(),
        });
        Ok(())
    }
}
