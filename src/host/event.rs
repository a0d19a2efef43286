//! An event on its way to the members of a group, and what a handler made of it once for all.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::wire::handler_of;

/// Most frames that are kept to be sent to others, and their bytes.
const RENDERED: usize = 64;
const RENDERED_BYTES: usize = 1 << 20;

/// An event that all members of a group share.
#[derive(Debug)]
pub struct Shared {
    body: Bytes,
    handler: OnceLock<Option<String>>,
    /// By the source of the class: there are as many as there are classes in a group.
    rendered: Mutex<Vec<(String, watch::Sender<RenderedFrames>)>>,
}

/// Frames that a handler which depends on the event alone has sent for it.
#[derive(Clone, Debug)]
pub enum RenderedFrames {
    /// No member is being called.
    Free,
    /// One member is being called.
    Busy,
    Frames(Arc<[Bytes]>),
    /// It did something else than to send: each member is called.
    Unfit,
}

/// The duty to call one member for all. Dropped before it is done, another takes it.
#[derive(Debug)]
pub struct Duty {
    rendered: watch::Sender<RenderedFrames>,
    frames: Vec<Bytes>,
    bytes: usize,
    is_fit: bool,
}

/// A member's part in an event.
#[derive(Debug)]
pub enum MemberTurn {
    /// To be called, and tell the others.
    Call(Duty),
    /// To send these frames.
    Send(Arc<[Bytes]>),
    /// To wait for the member that is being called.
    Wait(watch::Receiver<RenderedFrames>),
    /// To be called, for itself.
    Alone,
}

impl Shared {
    #[must_use]
    pub fn new(body: Bytes) -> Self {
        Shared {
            body,
            handler: OnceLock::new(),
            rendered: Mutex::default(),
        }
    }

    /// Returns the map in msgpack.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the handler that it is for; read once for all members.
    pub fn handler(&self) -> Option<&str> {
        self.handler
            .get_or_init(|| handler_of(&self.body))
            .as_deref()
    }

    /// The turn of a member whose class has this source.
    pub fn turn(&self, source: &str) -> MemberTurn {
        let rendered = {
            let mut all = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, known)) = all.iter().find(|(class, _)| class == source) {
                known.clone()
            } else {
                let new = watch::Sender::new(RenderedFrames::Free);
                all.push((source.to_owned(), new.clone()));
                new
            }
        };
        let is_mine = rendered.send_if_modified(|it| {
            let is_free = matches!(it, RenderedFrames::Free);
            if is_free {
                *it = RenderedFrames::Busy;
            }
            is_free
        });
        if is_mine {
            return MemberTurn::Call(Duty {
                rendered,
                frames: Vec::new(),
                bytes: 0,
                is_fit: true,
            });
        }
        // First subscribed, then looked at: no change in between is missed.
        let waiting = rendered.subscribe();
        let now = waiting.borrow().clone();
        match now {
            RenderedFrames::Frames(frames) => MemberTurn::Send(frames),
            RenderedFrames::Unfit => MemberTurn::Alone,
            RenderedFrames::Busy | RenderedFrames::Free => MemberTurn::Wait(waiting),
        }
    }
}

impl Duty {
    /// The handler has sent a frame.
    pub fn sent(&mut self, frame: &Bytes) {
        self.bytes += frame.len();
        if self.bytes > RENDERED_BYTES || self.frames.len() == RENDERED {
            self.unfit();
        } else if self.is_fit {
            self.frames.push(frame.clone());
        }
    }

    /// The handler has done something else.
    pub fn unfit(&mut self) {
        self.is_fit = false;
        self.frames = Vec::new();
    }

    /// The handler has returned. Returns whether the others need not be called.
    pub fn done(mut self) -> bool {
        let frames = std::mem::take(&mut self.frames);
        self.rendered.send_replace(if self.is_fit {
            RenderedFrames::Frames(frames.into())
        } else {
            RenderedFrames::Unfit
        });
        self.is_fit
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        self.rendered.send_if_modified(|it| {
            let is_open = matches!(it, RenderedFrames::Busy);
            if is_open {
                *it = RenderedFrames::Free;
            }
            is_open
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Shared {
        Shared::new(Bytes::from_static(b"\x81\xa4type\xa9chat.text"))
    }

    #[test]
    fn the_handler_is_named_by_the_type_with_underscores() {
        assert_eq!(event().handler(), Some("chat_text"));
        for odd in [&b"\x80"[..], b"\x81\xa4type\x01", b"junk", b""] {
            assert_eq!(Shared::new(Bytes::from_static(odd)).handler(), None);
        }
    }

    #[tokio::test]
    async fn one_member_is_called_and_the_others_send_what_it_sent() {
        let event = event();
        let MemberTurn::Call(mut duty) = event.turn("class") else {
            panic!("the first is called")
        };
        let MemberTurn::Wait(mut waiting) = event.turn("class") else {
            panic!("the second waits")
        };
        assert!(matches!(event.turn("another class"), MemberTurn::Call(_)));
        duty.sent(&Bytes::from_static(b"frame"));
        assert!(duty.done());
        waiting.changed().await.unwrap();
        let MemberTurn::Send(frames) = event.turn("class") else {
            panic!("the others send")
        };
        assert_eq!(frames[..], [Bytes::from_static(b"frame")]);
    }

    #[test]
    fn a_member_that_goes_away_leaves_its_duty_to_another() {
        let event = event();
        drop(event.turn("class"));
        assert!(matches!(event.turn("class"), MemberTurn::Call(_)));
    }

    #[test]
    fn what_sends_too_much_to_be_kept_is_called_for_each() {
        for (frames, bytes) in [(RENDERED + 1, 0), (2, RENDERED_BYTES)] {
            let event = event();
            let MemberTurn::Call(mut duty) = event.turn("class") else {
                panic!("the first is called")
            };
            for _ in 0..frames {
                duty.sent(&Bytes::from(vec![0; bytes]));
            }
            assert!(!duty.done());
            assert!(matches!(event.turn("class"), MemberTurn::Alone));
        }
    }

    #[test]
    fn what_did_something_else_is_called_for_each() {
        let event = event();
        let MemberTurn::Call(mut duty) = event.turn("class") else {
            panic!("the first is called")
        };
        duty.sent(&Bytes::from_static(b"frame"));
        duty.unfit();
        assert!(!duty.done());
        assert!(matches!(event.turn("class"), MemberTurn::Alone));
    }
}
