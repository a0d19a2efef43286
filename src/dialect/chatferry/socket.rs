//! Sockets that speak `chatferry.v1`, as the engine of WebSockets sees them.

use std::sync::Arc;

use super::{
    SUBPROTOCOL,
    asking::{Asking, Refused},
    frames::{Code, Feature, HelloLimits, ServerFrame, time},
    requests::{self, NativeReading, NativeRequest, READ_MAX},
    subscriptions::Subscriptions,
};
use crate::{
    app::App,
    auth::{
        Auth,
        identity::{Credentials, Denied},
    },
    chat::policy::Caller,
    config::{Config, Prefix},
    hub::frames::DialectSlot,
    id::ConversationId,
    limits::Throttled,
    python::{datetime::Timestamp, uuid::from_path},
    service::{Chat, ChatError},
    store::history::PAGE_MESSAGES,
    ws::{
        history::FirstFrames,
        protocol::{Guest, Protocol, Reading},
        refusal::Refusal,
    },
};
use bytes::Bytes;

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
                members: config.native.members_max,
                attachments: None,
                attachment_bytes: None,
            },
        }
    }
}

/// Returns what this server can do, which depends on the tables that are there.
fn features(chat: &Chat) -> Vec<Feature> {
    let mut features = vec![Feature::Receipts, Feature::Presence];
    if chat.keeps_changes() {
        features.push(Feature::Edit);
    }
    if chat.has_groups() {
        features.push(Feature::Groups);
    }
    if chat.files().is_some() {
        features.push(Feature::Attachments);
    }
    features
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
        let files = app.chat.files();
        let hello = ServerFrame::Hello {
            user: place.user(),
            time: time(Timestamp::now()),
            limits: HelloLimits {
                attachments: files.map(|files| files.per_message),
                attachment_bytes: files.map(|files| files.file_bytes),
                ..self.limits
            },
            features: features(&app.chat_with_groups),
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
            reference: &request.reference,
        };
        let refused = match asking.answer(&request.action).await {
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
