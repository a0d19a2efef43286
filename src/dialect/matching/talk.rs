//! One socket of a user in a room: what its client says, and what it is sent.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep_until;
use uuid::Uuid;

use super::{
    core::Core,
    rest::{Rules, mark, place, send},
    routes::NEW_MESSAGE,
    shown::{bare, error},
    sockets::{Inbox, Ousted},
};
use crate::{
    fastapi::{arguments::Arguments, error::HttpError},
    limits::LimitedAction,
    python::json::{Constants, loads},
    value::Value,
    ws::{
        plain::{PlainSocket, Said, Talk},
        session::Reason,
    },
};

/// Time without a word of the client after which it is asked for one: `WS_HEARTBEAT_INTERVAL`.
const SILENCE: Duration = Duration::from_secs(30);

const NO_JSON: &str = "Invalid JSON format";
const UNKNOWN: &str = "Unknown message type";
const TOO_MANY: &str = "Too many requests";

/// The talk on the socket of a member.
pub struct MemberTalk {
    pub core: Arc<Core>,
    pub rules: Arc<Rules>,
    pub room: Uuid,
    pub user: Arc<str>,
    /// Frames for it; `None` if the room is full.
    pub inbox: Option<Inbox>,
}

impl Talk for MemberTalk {
    async fn talk(mut self, socket: &mut PlainSocket) {
        match self.inbox.take() {
            Some(inbox) => self.serve(socket, inbox).await,
            None => socket.close(1008, "Room is full"),
        }
    }
}

impl MemberTalk {
    async fn serve(&self, socket: &mut PlainSocket, mut inbox: Inbox) {
        let mut silent_at = Instant::now() + SILENCE;
        let mut silence = pin!(sleep_until(silent_at.into()));
        loop {
            if silence.deadline() != silent_at.into() {
                silence.as_mut().reset(silent_at.into());
            }
            tokio::select! {
                biased;
                frame = inbox.next() => match frame {
                    Ok(frame) => {
                        socket.send(frame);
                        if !socket.flush().await {
                            return;
                        }
                    }
                    Err(Ousted::Left) => return socket.close(1000, ""),
                    Err(Ousted::Slow) => return socket.leave(Reason::Slow),
                    Err(Ousted::Refused) => return socket.leave(Reason::Refused),
                },
                said = socket.next() => match said {
                    Some(said) => {
                        silent_at = Instant::now() + SILENCE;
                        self.answer(socket, said).await;
                    }
                    None => return,
                },
                () = &mut silence => {
                    silent_at = Instant::now() + SILENCE;
                    socket.send(bare("ping"));
                }
            }
        }
    }

    async fn answer(&self, socket: &mut PlainSocket, said: Said) {
        let Said::Text(text) = said else {
            return socket.send(error(NO_JSON));
        };
        let Ok(frame) = loads(&text, Constants::Allow) else {
            return socket.send(error(NO_JSON));
        };
        let kind = frame.get("type").and_then(Value::as_str);
        let action = match kind {
            Some("typing") => LimitedAction::Typing,
            Some("message" | "read") => LimitedAction::Message,
            Some("ping") => return socket.send(bare("pong")),
            Some("pong") => return,
            _ => return socket.send(error(UNKNOWN)),
        };
        if socket.meter().allow(action).is_err() {
            return socket.send(error(TOO_MANY));
        }
        let done = match kind {
            Some("typing") => socket.during(self.typing(&frame)).await,
            Some("read") => socket.during(self.read(&frame)).await,
            _ => socket.during(self.message(&frame)).await,
        };
        if let Err(refused) = done {
            socket.send(error(&refused.text()));
        }
    }

    async fn typing(&self, frame: &Value) -> Result<(), HttpError> {
        let place = place(&self.core, &self.rules, self.room, &self.user).await?;
        let is_typing = frame.get("is_typing") != Some(&Value::Bool(false));
        self.core.typing((&place, &self.user), is_typing);
        Ok(())
    }

    async fn message(&self, frame: &Value) -> Result<(), HttpError> {
        let arguments = Arguments::of(&NEW_MESSAGE, frame, self.rules.generation)?;
        let place = place(&self.core, &self.rules, self.room, &self.user).await?;
        send(&self.core, (&place, &self.user), &arguments)
            .await
            .map(drop)
    }

    async fn read(&self, frame: &Value) -> Result<(), HttpError> {
        let id = frame.get("last_read_message_id").and_then(Value::as_str);
        let id = id
            .and_then(|id| Uuid::try_parse(id).ok())
            .unwrap_or_default();
        let place = place(&self.core, &self.rules, self.room, &self.user).await?;
        mark(&self.core, (&place, &self.user), &[id])
            .await
            .map(drop)
    }
}
