//! An observer of a socket that is passed to Django: whole messages and the close code,
//! taken from the bytes after they were passed on, and handed to [`super::socket`] to compare.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hyper::{Request, StatusCode, header::ORIGIN};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{is_drawn, socket::SocketComparison};
use crate::{
    app::App,
    gateway::{
        Gateway,
        frames::{CLOSE, Cutter, FrameHead, Piece},
    },
    id::ConversationId,
    ws::handshake,
};

/// Messages that wait to be compared; more are skipped.
const WAITING: usize = 64;

/// Most bytes of a message that is compared.
const MESSAGE_MAX: usize = 4 * 1024 * 1024;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;

/// Most bytes of a control frame.
const CONTROL_MAX: usize = 125;

/// Something that Django wrote.
#[derive(Debug, PartialEq, Eq)]
pub enum SeenOutput {
    Text(Vec<u8>),
    Binary,
    /// A close frame; `asked` if the client had sent one before.
    Close {
        code: Option<u16>,
        asked: bool,
    },
}

/// Bytes that wait to be compared, and the memory they hold.
pub struct Waiting {
    pub seen: SeenOutput,
    _room: OwnedSemaphorePermit,
}

impl Waiting {
    /// Finds room; `None` if there is none.
    fn new(seen: SeenOutput, room: &Arc<Semaphore>) -> Option<Self> {
        let bytes = match &seen {
            SeenOutput::Text(text) => u32::try_from(text.len()).ok()?,
            SeenOutput::Binary | SeenOutput::Close { .. } => 0,
        };
        let room = Arc::clone(room).try_acquire_many_owned(bytes).ok()?;
        Some(Waiting { seen, _room: room })
    }
}

/// A socket that is to be watched.
pub struct Watcher {
    app: Arc<App>,
    gateway: Arc<Gateway>,
    comparison: SocketComparison,
    /// Our own answer to the handshake, as far as its headers decide.
    refused: Option<u16>,
}

impl Gateway {
    /// The watcher of a chat socket that goes to Django, if it is drawn for comparison.
    pub(in crate::gateway) fn watcher<B>(
        self: &Arc<Self>,
        app: &Arc<App>,
        conversation: ConversationId,
        request: &Request<B>,
    ) -> Option<Watcher> {
        let percent = self.shadow.percent();
        // Which origins Django lets in is not known here.
        let foreign =
            !app.config.ws.allowed_origins.is_empty() && request.headers().contains_key(ORIGIN);
        if foreign || !is_drawn(percent) {
            return None;
        }
        let checked = handshake::check(request.method(), request.headers());
        Some(Watcher {
            comparison: SocketComparison::new(app, self, conversation),
            app: Arc::clone(app),
            gateway: Arc::clone(self),
            refused: checked.err().map(|refused| refused.status),
        })
    }
}

impl Watcher {
    /// Compares Django's answer to the handshake with what ours would be.
    pub fn answered(&self, status: StatusCode) {
        let Ok(slot) = Arc::clone(&self.gateway.shadow.slots).try_acquire_owned() else {
            self.app.metrics.shadow_skipped();
            return;
        };
        let (comparison, refused) = (self.comparison.clone(), self.refused);
        tokio::spawn(async move {
            comparison.handshake(status, refused).await;
            drop(slot);
        });
    }

    /// Returns the observers of the client's bytes and of Django's, as they are passed on.
    pub fn split(watcher: Option<Self>) -> (impl FnMut(&[u8]), impl FnMut(&[u8])) {
        let closed = Arc::new(AtomicBool::new(false));
        let is_seen = watcher.is_some();
        let mut eye = watcher.map(|watcher| watcher.eye(Arc::clone(&closed)));
        let mut cutter = Cutter::default();
        let see_client = move |bytes: &[u8]| {
            if is_seen {
                cutter.cut(bytes, |piece| {
                    if matches!(piece, Piece::Head(head) if head.opcode == CLOSE) {
                        closed.store(true, Ordering::Relaxed);
                    }
                });
            }
        };
        let see_server = move |bytes: &[u8]| {
            if let Some(eye) = &mut eye {
                eye.see(bytes);
            }
        };
        (see_client, see_server)
    }

    fn eye(self, client_closed: Arc<AtomicBool>) -> Eye {
        let (queue, seen) = mpsc::channel(WAITING);
        tokio::spawn(self.comparison.run(seen));
        Eye {
            app: self.app,
            room: Arc::clone(&self.gateway.shadow.room),
            queue,
            client_closed,
            cutter: Cutter::default(),
            assembly: Assembly::default(),
        }
    }
}

/// Puts messages together.
struct Eye {
    app: Arc<App>,
    room: Arc<Semaphore>,
    queue: mpsc::Sender<Waiting>,
    client_closed: Arc<AtomicBool>,
    cutter: Cutter,
    assembly: Assembly,
}

impl Eye {
    fn see(&mut self, bytes: &[u8]) {
        let asked = self.client_closed.load(Ordering::Relaxed);
        let Eye {
            app, room, queue, ..
        } = self;
        let assembly = &mut self.assembly;
        self.cutter.cut(bytes, |piece| {
            let whole = assembly.add(&piece, asked);
            let is_lost = whole.is_some_and(|whole| match whole {
                Ok(seen) => Waiting::new(seen, room).is_none_or(|it| queue.try_send(it).is_err()),
                Err(UnreadableMessage) => true,
            });
            if is_lost {
                app.metrics.shadow_skipped();
            }
        });
    }
}

/// A message whose fragments are coming, and a control frame that may stand between them.
#[derive(Default)]
struct Assembly {
    head: Option<FrameHead>,
    text: bool,
    bytes: Vec<u8>,
    control: Vec<u8>,
    unreadable: bool,
}

/// A message that is too large, or changed by an extension.
#[derive(Debug, PartialEq, Eq)]
struct UnreadableMessage;

impl Assembly {
    /// Adds a piece of a frame; returns what has become whole with it.
    fn add(
        &mut self,
        piece: &Piece<'_>,
        asked: bool,
    ) -> Option<Result<SeenOutput, UnreadableMessage>> {
        match piece {
            Piece::Head(head) => {
                self.head = Some(*head);
                if is_control(head) {
                    self.control.clear();
                } else {
                    if head.opcode != CONTINUATION {
                        self.text = head.opcode == TEXT;
                        self.bytes.clear();
                        self.unreadable = false;
                    }
                    self.unreadable |= head.reserved || head.masked;
                }
                None
            }
            Piece::Payload(bytes) => {
                let (to, most) = if self.head.as_ref().is_some_and(is_control) {
                    (&mut self.control, CONTROL_MAX)
                } else {
                    (&mut self.bytes, MESSAGE_MAX)
                };
                if to.len() + bytes.len() > most {
                    *to = Vec::new();
                    self.unreadable = true;
                } else if !self.unreadable {
                    to.extend_from_slice(bytes);
                }
                None
            }
            Piece::End => self.head.take().and_then(|head| self.end(&head, asked)),
        }
    }

    fn end(
        &mut self,
        head: &FrameHead,
        asked: bool,
    ) -> Option<Result<SeenOutput, UnreadableMessage>> {
        if is_control(head) {
            let code = self
                .control
                .first_chunk()
                .map(|code| u16::from_be_bytes(*code));
            return (head.opcode == CLOSE).then_some(Ok(SeenOutput::Close { code, asked }));
        }
        if !head.fin {
            return None;
        }
        Some(match (self.unreadable, self.text) {
            (true, _) => Err(UnreadableMessage),
            (false, true) => Ok(SeenOutput::Text(std::mem::take(&mut self.bytes))),
            (false, false) => Ok(SeenOutput::Binary),
        })
    }
}

fn is_control(head: &FrameHead) -> bool {
    head.opcode >= CLOSE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the frames seen in bytes that come in pieces of `size`.
    fn seen(bytes: &[u8], size: usize) -> Vec<Result<SeenOutput, UnreadableMessage>> {
        let (mut cutter, mut assembly, mut all) =
            (Cutter::default(), Assembly::default(), Vec::new());
        for bytes in bytes.chunks(size) {
            cutter.cut(bytes, |piece| all.extend(assembly.add(&piece, false)));
        }
        all
    }

    #[test]
    fn fragments_are_put_together_with_a_close_between_them() {
        let mut bytes = b"\x81\x02hi\x01\x02on\x00\x01e".to_vec();
        bytes.extend(b"\x89\x01p\x88\x02\x03\xe8\x80\x03two\x82\x01x\x81\x00");
        let expected = [
            Ok(SeenOutput::Text(b"hi".to_vec())),
            Ok(SeenOutput::Close {
                code: Some(1000),
                asked: false,
            }),
            Ok(SeenOutput::Text(b"onetwo".to_vec())),
            Ok(SeenOutput::Binary),
            Ok(SeenOutput::Text(Vec::new())),
        ];
        for size in [1, 2, 5, 100] {
            assert_eq!(seen(&bytes, size), expected);
        }
    }

    #[test]
    fn a_compressed_message_is_not_read_and_the_next_one_is() {
        let bytes = b"\xc1\x02hi\x81\x02hi";
        assert_eq!(
            seen(bytes, 3),
            [Err(UnreadableMessage), Ok(SeenOutput::Text(b"hi".to_vec()))]
        );
    }

    #[test]
    fn what_waits_takes_room_of_all() {
        let room = Arc::new(Semaphore::new(10));
        let text = |bytes| Waiting::new(SeenOutput::Text(vec![0; bytes]), &room);
        let one = text(6);
        assert!(one.is_some() && text(5).is_none());
        assert!(Waiting::new(SeenOutput::Binary, &room).is_some());
        drop(one);
        assert!(text(10).is_some());
    }
}
