//! One socket: what its client says, and what it is sent.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{sleep, sleep_until};

use super::{
    core::{Core, live},
    database::{Changed, NewMessage, PAGE},
    frames::{ClientFrame, NOT_OBJECT, error, greeting, ping},
    peers::{AFTER_PEERS, Entry, whole},
    records::json_frame,
    rest::{NO_MESSAGE, NOT_YOURS},
    sockets::{Inbox, Live, Ousted, Recent},
};
use crate::{
    layer::LayerError,
    limits::LimitedAction,
    store::StoreError,
    ws::{
        plain::{PlainSocket, Said, Talk},
        session::Reason,
    },
};

/// Time without a word of the client after which it is asked for one, and how often.
const SILENCE: Duration = Duration::from_secs(25);
const PINGS: u32 = 3;

/// Messages of this socket that are remembered: what comes by two ways is sent once.
const SENT: usize = 1024;

/// Frames that are written before their deliveries are noted.
const TOGETHER: usize = 64;

/// The time in which messages are counted for the limit.
const PERIOD: Duration = Duration::from_secs(10);

const BLANK: &str = "Требуется указать chat_id и непустое содержимое текста";
const NO_MEMBER: &str = "Вы не являетесь участников чата";
const TOO_MANY: &str = "Слишком много сообщений. Подождите 10 секунд";
const NOT_STORED: &str = "Ошибка при сохранении сообщения";

/// Longest content, in characters.
const CONTENT_MAX: usize = 2000;

/// The talk on the socket of a user who is known.
pub struct UserTalk {
    pub core: Arc<Core>,
    pub user: i64,
    /// Frames that may wait for the client.
    pub queue: usize,
    /// Messages count as delivered only when the client says so.
    pub acknowledges: bool,
    /// Messages that the user may send in ten seconds; 0 for any number.
    pub messages_in_10_s: u32,
}

/// The talk on a socket that is closed at once: its client may learn why only that way.
pub struct Refused;

impl Talk for Refused {
    async fn talk(self, socket: &mut PlainSocket) {
        socket.close(1008, "");
    }
}

/// What is remembered of a socket.
struct State {
    sent: Recent,
    /// Pings since the last pong.
    pings: u32,
    /// When the client is asked for a word.
    silent_at: Instant,
    /// Times of the messages of the last [`PERIOD`].
    messages: VecDeque<Instant>,
}

impl Talk for UserTalk {
    async fn talk(self, socket: &mut PlainSocket) {
        let mut inbox = self.core.fan_out.sockets.open(self.user, self.queue);
        socket.send(greeting(self.user));
        let mut state = State {
            sent: Recent::new(SENT),
            pings: 0,
            silent_at: Instant::now() + SILENCE,
            messages: VecDeque::new(),
        };
        self.arrive(socket).await;
        match self.send_kept(socket, &mut state).await {
            Ok(()) => self.serve(socket, &mut inbox, &mut state).await,
            Err(error) => {
                tracing::error!(%error, "messages that wait for a user are not read");
                socket.leave(Reason::Broken);
            }
        }
        let is_replaced = inbox.is_replaced();
        drop(inbox);
        if !is_replaced {
            // The socket's own end waits for nothing.
            tokio::spawn(leave(self.core, self.user, state.sent));
        }
    }
}

impl UserTalk {
    /// Notes in Redis, where Python processes look, that the user is here.
    async fn arrive(&self, socket: &mut PlainSocket) {
        let noted = socket.during(async {
            let chats = self.core.database.chats(self.user).await;
            let chats = chats.map_err(|error| error.to_string())?;
            let peers = &self.core.fan_out.peers;
            let noted = peers.arrives(self.user, &chats).await;
            noted.map_err(|error| error.to_string())
        });
        if let Err(error) = noted.await {
            tracing::warn!(error, "that a user has come is not noted in Redis");
        }
    }

    /// Sends what has waited for the user, the oldest first: the messages in the table, and of those
    /// in Redis his own, and edits.
    async fn send_kept(
        &self,
        socket: &mut PlainSocket,
        state: &mut State,
    ) -> Result<(), StoreError> {
        let kept = socket
            .during(self.core.fan_out.peers.take_kept(self.user))
            .await;
        let kept = kept.unwrap_or_else(|error| {
            tracing::warn!(%error, "what Redis keeps for a user is not read");
            Vec::new()
        });
        let (mut messages, edits) = self.sorted(kept, socket).await?;
        // Another socket of the user, here until now, may have been sent the last ones.
        socket.during(self.core.deliveries_are_noted()).await?;
        let mut after = 0;
        loop {
            let due = socket
                .during(self.core.database.due(self.user, after))
                .await?;
            let is_last = i64::try_from(due.len()).is_ok_and(|found| found < PAGE);
            for due in due {
                after = due.message.id;
                while messages.front().is_some_and(|(id, _)| *id < after) {
                    self.send_some(socket, state, messages.pop_front()).await;
                }
                if due.is_deleted {
                    self.core.delivered(after, self.user).await;
                } else {
                    self.write(socket, state, vec![live(&due.message)]).await;
                }
            }
            if is_last || !socket.flush().await {
                break;
            }
        }
        while let Some(message) = messages.pop_front() {
            self.send_some(socket, state, Some(message)).await;
        }
        for frame in edits {
            socket.send(frame);
        }
        Ok(())
    }

    /// Sorts entries of Redis: messages that are nowhere else by their ids, and frames of edits.
    #[allow(clippy::type_complexity, reason = "it is used once")]
    async fn sorted(
        &self,
        kept: Vec<Entry>,
        socket: &mut PlainSocket,
    ) -> Result<(VecDeque<(i64, Live)>, Vec<bytes::Bytes>), StoreError> {
        let ids = kept.iter().filter_map(|entry| entry.message);
        let ids: Vec<i64> = ids.map(|(id, _)| id).collect();
        let known = if ids.is_empty() {
            Vec::new()
        } else {
            socket
                .during(self.core.database.known(self.user, ids))
                .await?
        };
        let (mut messages, mut edits) = (Vec::new(), Vec::new());
        for entry in kept {
            let frame = json_frame(&entry.value);
            match entry.message {
                None => edits.push(frame),
                // The table says whether it was delivered.
                Some((id, _)) if known.contains(&id) => {}
                message @ Some((id, _)) => messages.push((id, Live { frame, message })),
            }
        }
        messages.sort_by_key(|(id, _)| *id);
        Ok((messages.into(), edits))
    }

    async fn send_some(
        &self,
        socket: &mut PlainSocket,
        state: &mut State,
        message: Option<(i64, Live)>,
    ) {
        if let Some((_, live)) = message {
            self.write(socket, state, vec![live]).await;
        }
    }

    async fn serve(&self, socket: &mut PlainSocket, inbox: &mut Inbox, state: &mut State) {
        let mut silence = pin!(sleep_until(state.silent_at.into()));
        loop {
            if silence.deadline() != state.silent_at.into() {
                silence.as_mut().reset(state.silent_at.into());
            }
            tokio::select! {
                biased;
                live = inbox.next() => match live {
                    Ok(live) => {
                        let mut some = vec![live];
                        while some.len() < TOGETHER && let Some(live) = inbox.ready() {
                            some.push(live);
                        }
                        self.write(socket, state, some).await;
                    }
                    Err(why) => return oust(socket, why),
                },
                said = socket.next() => match said {
                    Some(said) => {
                        state.silent_at = Instant::now() + SILENCE;
                        if self.answer(socket, state, said).await.is_none() {
                            return;
                        }
                    }
                    None => return,
                },
                () = &mut silence => {
                    state.pings += 1;
                    state.silent_at = Instant::now() + SILENCE;
                    socket.send(ping());
                    if state.pings >= PINGS {
                        return socket.close(1000, "");
                    }
                }
            }
        }
    }

    /// Sends frames, and notes what was delivered with them.
    async fn write(&self, socket: &mut PlainSocket, state: &mut State, some: Vec<Live>) {
        let mut sent = Vec::new();
        for Live { frame, message } in some {
            if let Some((id, sender)) = message {
                if !state.sent.note(id) {
                    continue;
                }
                sent.push((id, sender));
            }
            socket.send(frame);
        }
        let is_written = socket.flush().await;
        for (id, sender) in sent {
            if !is_written {
                // It waits in the table, and in Redis where it is.
                state.sent.forget(id);
            } else if sender != self.user && !self.acknowledges {
                socket.during(self.core.delivered(id, self.user)).await;
            }
        }
    }

    /// Does what a message of the client's asks for. Returns `None` if the socket is to be closed.
    async fn answer(&self, socket: &mut PlainSocket, state: &mut State, said: Said) -> Option<()> {
        let Said::Text(text) = said else {
            socket.send(error(NOT_OBJECT));
            return None;
        };
        let answer = match ClientFrame::read(&text) {
            None => {
                socket.send(error(NOT_OBJECT));
                return None;
            }
            Some(ClientFrame::Pong) => {
                state.pings = 0;
                None
            }
            Some(ClientFrame::Other) => None,
            Some(ClientFrame::Acknowledged(id)) => {
                if self.acknowledges {
                    socket.during(self.core.delivered(id, self.user)).await;
                }
                None
            }
            Some(ClientFrame::Read(ids)) => {
                let read = self.core.database.read(ids, self.user);
                if let Err(error) = socket.during(read).await {
                    tracing::warn!(%error, "messages are not marked as read");
                }
                None
            }
            Some(ClientFrame::Message { chat, content }) => {
                if self.is_too_fast(state) || socket.meter().allow(LimitedAction::Message).is_err()
                {
                    Some(TOO_MANY)
                } else {
                    socket
                        .during(self.send(chat.as_ref().and_then(whole), content))
                        .await
                }
            }
            Some(ClientFrame::Edit { message, content }) => {
                socket.during(self.edit(message, content)).await
            }
        };
        if let Some(text) = answer {
            socket.send(error(text));
        }
        Some(())
    }

    fn is_too_fast(&self, state: &mut State) -> bool {
        let most = usize::try_from(self.messages_in_10_s).unwrap_or(usize::MAX);
        if most == 0 {
            return false;
        }
        let now = Instant::now();
        while state
            .messages
            .front()
            .is_some_and(|at| now.duration_since(*at) >= PERIOD)
        {
            state.messages.pop_front();
        }
        if state.messages.len() >= most {
            return true;
        }
        state.messages.push_back(now);
        false
    }

    /// Stores a message. Returns the text of the error, if it is not stored.
    async fn send(&self, chat: Option<i64>, content: Option<String>) -> Option<&'static str> {
        let (Some(chat_id), Some(content)) = (chat.filter(|chat| *chat != 0), content) else {
            return Some(BLANK);
        };
        if content.chars().count() > CONTENT_MAX || content.contains('\0') {
            return Some(NOT_STORED);
        }
        let new = NewMessage {
            chat_id,
            sender_id: self.user,
            content,
        };
        match self.core.send(new).await {
            Ok(Some(_)) => None,
            Ok(None) => Some(NO_MEMBER),
            Err(error) => {
                tracing::error!(%error, "a message is not stored");
                Some(NOT_STORED)
            }
        }
    }

    async fn edit(&self, message: Option<i64>, content: Option<String>) -> Option<&'static str> {
        let (Some(message), Some(content)) = (message, content) else {
            return Some(BLANK);
        };
        if content.chars().count() > CONTENT_MAX || content.contains('\0') {
            return Some(NOT_STORED);
        }
        match self.core.edit((message, self.user), &content).await {
            Ok(Changed::Done(edit)) => {
                self.core.tell_edit(&edit).await;
                None
            }
            Ok(Changed::Nothing) => Some(NO_MESSAGE),
            Ok(Changed::OfAnother) => Some(NOT_YOURS),
            Err(error) => {
                tracing::error!(%error, "an edit is not stored");
                Some(NOT_STORED)
            }
        }
    }
}

/// Notes in Redis that a user has left, and drops what is kept there of what he was sent: at once, and
/// once more when slower processes have kept theirs.
async fn leave(core: Arc<Core>, user: i64, sent: Recent) {
    let peers = &core.fan_out.peers;
    let left = async {
        peers.leaves(user).await?;
        peers.forget(user, |id| sent.has(id)).await?;
        sleep(AFTER_PEERS).await;
        if core.fan_out.sockets.has(user) {
            return Ok(());
        }
        peers.forget(user, |id| sent.has(id)).await
    };
    let left: Result<(), LayerError> = left.await;
    if let Err(error) = left {
        tracing::debug!(%error, "that a user has left is not noted in Redis");
    }
}

fn oust(socket: &mut PlainSocket, why: Ousted) {
    match why {
        Ousted::Replaced => socket.close(1000, ""),
        Ousted::Slow => socket.leave(Reason::Slow),
        Ousted::Inactive => socket.leave(Reason::Refused),
    }
}
