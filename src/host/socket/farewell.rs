//! The last calls of a hosted socket when its connection is gone: the application gets what the
//! client has said before, then hears of the end, and may take its time to finish.

use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Hosted;
use crate::{
    host::{calls::Calls, lock},
    metrics::Call,
    ws::ending::{Ending, GONE},
};

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Hosted<S> {
    /// Hands over what the client has said before it went, then tells the application, and waits
    /// until it has finished.
    pub(super) async fn finish(&mut self) {
        lock(&self.place.host.sockets).remove(&self.place.number);
        // Nothing more is written.
        self.ending = Some(Ending::new(GONE, true, false));
        let left = self.calls.drain();
        self.returned().await;
        self.wake_to_finish().await;
        for ask in left {
            self.returned().await;
            if self.place.ended {
                return;
            }
            let Some(credit) = self.place.link.credit().await else {
                return self.place.ended();
            };
            self.place.mailbox.begin(credit);
            ask.send(&self.place.link, self.place.number);
            self.calls = Calls::connecting();
        }
        self.returned().await;
        if self.place.ended {
            return;
        }
        let began = Instant::now();
        self.place.say_closed();
        while !self.place.ended {
            self.calls = Calls::connecting();
            self.returned().await;
        }
        self.app.metrics.host_ran(Call::Disconnect, began.elapsed());
    }

    /// Waits until the call under way has returned. What it sends has no reader.
    pub(super) async fn returned(&mut self) {
        while self.calls.is_under_way() && !self.place.ended {
            match self.place.mailbox.take_reply(true) {
                Some(reply) => self.take_reply(reply),
                None => self.place.mailbox.changed().await,
            }
        }
    }
}
