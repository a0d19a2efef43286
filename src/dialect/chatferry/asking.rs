//! Requests of clients that speak `chatferry.v1`, performed and answered.
//!
//! | | |
//! |---|---|
//! | [`list`] | the conversations of a user |
//! | [`groups`] | groups: made and changed |
//! | [`pages`] | subscribing, coming back, history |
//! | [`talk`] | sending, changing, typing |
//! | [`marks`] | what is read and delivered |

mod groups;
mod list;
mod marks;
mod pages;
mod talk;

use std::sync::Arc;

use bytes::Bytes;

use super::{
    frames::{Code, ServerFrame, time},
    requests::{NativeAction, NativeRequest, Reference, TalkAction},
    subscriptions::{NotEntered, Subscription, Subscriptions},
};
use crate::{
    app::App, chat::policy::Caller, id::ConversationId, limits::Throttled,
    python::datetime::Timestamp, service::ChatError,
};

/// Why a request was not done.
pub enum Refused {
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
    /// Returns the frame that answers a request so.
    #[must_use]
    pub fn frame(&self, request: &NativeRequest) -> Bytes {
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
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    pub app: &'a App,
    pub place: &'a Subscriptions,
    pub caller: &'a Caller,
    pub reference: &'a Option<Reference>,
}

impl Asking<'_> {
    /// Does as the client asks; returns its answer, if it has one.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn answer(&self, action: &NativeAction) -> Result<Option<Bytes>, Refused> {
        match action {
            NativeAction::In(id, action) => self.answer_in(*id, action).await,
            NativeAction::Conversations { user, after, limit } => {
                let user = self.speaker(user.as_deref())?;
                self.list(user, *after, *limit).await.map(Some)
            }
            NativeAction::Open { user, with } => {
                let user = self.speaker(user.as_deref())?;
                self.open(user, with).await.map(Some)
            }
            NativeAction::Create {
                user,
                name,
                members,
                key,
            } => {
                let user = self.speaker(user.as_deref())?;
                let made = self.create(user, (name, members, key.as_deref()));
                made.await.map(Some)
            }
            NativeAction::Unread {
                user,
                conversations,
            } => {
                let user = self.speaker(user.as_deref())?;
                self.unread(user, conversations).await.map(Some)
            }
            NativeAction::Ping => {
                let pong = ServerFrame::Pong {
                    reference: self.reference.clone(),
                    time: time(self.now()),
                };
                Ok(Some(pong.frame()))
            }
        }
    }

    async fn answer_in(
        &self,
        id: ConversationId,
        action: &TalkAction,
    ) -> Result<Option<Bytes>, Refused> {
        let answer = match action {
            TalkAction::Subscribe { user, after, limit } => {
                let answer = self.subscribe(id, *after, *limit).await?;
                if let Some(user) = user {
                    self.place.arrive(self.app, user);
                }
                answer
            }
            TalkAction::Unsubscribe => self.unsubscribe(id),
            TalkAction::History { place, limit } => {
                self.history(&*self.subscribed(id)?, *place, *limit).await?
            }
            TalkAction::Send {
                id: own,
                sender,
                content,
                kind,
                attachments,
            } => {
                let sender = self.speaker(sender.as_deref())?;
                let of = self.subscribed(id)?;
                let text = (sender, content.as_str(), kind.as_str());
                self.send(&of, *own, text, attachments).await?
            }
            TalkAction::Change {
                message,
                user,
                content,
            } => {
                self.subscribed(id)?;
                let user = self.speaker(user.as_deref())?;
                self.change((id, *message), user, content.clone()).await?
            }
            TalkAction::Mark {
                user,
                messages,
                mark,
            } => {
                self.subscribed(id)?;
                let user = self.speaker(user.as_deref())?;
                self.mark(id, (user, *mark), messages).await?
            }
            TalkAction::Receipts { messages } => {
                self.subscribed(id)?;
                self.receipts(id, messages).await?
            }
            TalkAction::Regroup { user, action } => {
                let user = self.speaker(user.as_deref())?;
                self.regroup(id, user, action).await?
            }
            TalkAction::Typing { user, is_typing } => {
                self.subscribed(id)?;
                let user = self.speaker(user.as_deref())?;
                self.types(id, user, *is_typing).await?;
                return Ok(None);
            }
        };
        Ok(Some(answer))
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
}
