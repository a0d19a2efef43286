//! A WebSocket of a session: its own from the start, or one that takes over from polling.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    engine::{Engine, Received},
    packet::{NOOP, PROBE, PROBED, UPGRADE},
    session::{Session, SessionEnd, Transport},
};
use crate::ws::{
    plain::{PlainSocket, Said, Talk},
    session::Reason,
    writer::text_frame,
};

/// The talk on a WebSocket.
pub struct SessionTalk {
    pub engine: Arc<Engine>,
    pub session: Arc<Session>,
}

impl Talk for SessionTalk {
    async fn talk(self, socket: &mut PlainSocket) {
        if self.session.transport() != Transport::WebSocket && !self.upgrade(socket).await {
            return socket.abort();
        }
        self.serve(socket).await;
        self.engine.close(&self.session, SessionEnd::Closed);
    }
}

impl SessionTalk {
    /// Takes over from polling. Returns `false` if the client does not do it by the rules; polling then
    /// goes on.
    async fn upgrade(&self, socket: &mut PlainSocket) -> bool {
        let session = &self.session;
        if socket.next().await != Some(Said::Text(PROBE.to_owned()))
            || !session.change(Transport::Polling, Transport::Upgrading)
        {
            return false;
        }
        socket.send(text_frame(|out| out.extend_from_slice(PROBED.as_bytes())));
        // Ends a request of polling that waits; the client sends no other.
        session.push(Bytes::from_static(NOOP.as_bytes()));
        if socket.next().await == Some(Said::Text(UPGRADE.to_owned())) {
            return session.change(Transport::Upgrading, Transport::WebSocket);
        }
        session.change(Transport::Upgrading, Transport::Polling);
        false
    }

    async fn serve(&self, socket: &mut PlainSocket) {
        loop {
            match self.session.take() {
                Ok(packets) => {
                    for packet in packets {
                        socket.send(text_frame(|out| out.extend_from_slice(&packet)));
                    }
                    if !socket.flush().await {
                        return;
                    }
                }
                Err(SessionEnd::Slow) => return socket.leave(Reason::Slow),
                Err(SessionEnd::Closed) => return socket.close_without_code(),
            }
            tokio::select! {
                () = self.session.filled() => {}
                said = socket.next() => match said {
                    None => return,
                    Some(Said::Text(text)) => {
                        let received = self.engine.receive(&self.session, &text);
                        if socket.during(received).await == Received::Garbage {
                            return socket.abort();
                        }
                    }
                    Some(Said::Binary(_)) => self.engine.attachment(&self.session),
                },
            }
        }
    }
}
