//! The calls of a hosted socket: which one is next, and whether it needs a worker at all.

use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Hosted;
use crate::host::{
    calls::{Ask, Ready},
    event::MemberTurn,
};

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Hosted<S> {
    /// Goes on to the next call, as far as that takes no waiting.
    pub(super) fn advance(&mut self) {
        if self.ending.is_some() || self.place.ended || self.calls.is_busy() || self.rests() {
            return;
        }
        while !self.is_full() {
            let Some(ask) = self.calls.next(&self.place.mailbox) else {
                return;
            };
            let turn = match (ask, &self.class) {
                (Ask::Event(event), Some(class)) if self.place.host.settings.encode_once => {
                    let handler = event.handler();
                    let is_pure = handler.is_some_and(|it| class.once.iter().any(|one| one == it));
                    is_pure.then(|| event.turn(&class.source))
                }
                _ => None,
            };
            match turn {
                Some(MemberTurn::Send(frames)) => {
                    self.app.metrics.host_rendered();
                    self.calls.skip();
                    for frame in &*frames {
                        self.send(frame.clone());
                    }
                }
                Some(MemberTurn::Wait(rendered)) => return self.calls.wait_for(rendered),
                Some(MemberTurn::Call(duty)) => {
                    return self.calls.wait(&self.place.link, Some(duty));
                }
                Some(MemberTurn::Alone) | None => return self.calls.wait(&self.place.link, None),
            }
        }
    }

    pub(super) fn go_on(&mut self, ready: Ready) {
        match ready {
            Ready::Credit(credit) => {
                let Some((ask, since)) = self.calls.begin() else {
                    return;
                };
                let kind = ask.call();
                self.app.metrics.host_call(kind, since.elapsed());
                self.began = Some((kind, Instant::now()));
                self.place.mailbox.begin(credit);
                ask.send(&self.place.link, self.place.number);
            }
            Ready::Rendered => {}
            // The mailbox reports the worker's end.
            Ready::Lost => self.hold_if_awaking(),
        }
    }
}
