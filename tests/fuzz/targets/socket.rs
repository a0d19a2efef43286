//! WebSocket bytes to session, and the text of a frame to what it asks for.

use std::sync::{Arc, LazyLock};

use bytes::BytesMut;
use chatferry::{
    chat::policy::Caller,
    config::Config,
    dialect::{
        chatferry::requests as native,
        django::{consumer::Consumer, frames as protocol},
    },
    ws::{
        reader::{Incoming, Reader, Violation},
        session::{Action, Session},
    },
};

/// With the settings of an empty file.
static CONSUMER: LazyLock<Arc<Consumer>> = LazyLock::new(|| {
    let loaded = Config::load(None, std::iter::empty(), &[]).unwrap();
    Arc::new(Consumer::new(&loaded.config))
});

/// As small as a limit can sensibly be, so that mutations reach it.
const MAX_MESSAGE: usize = 4096;

/// What a socket receives after its handshake. However the bytes are cut, the same is read, and
/// nothing larger than the limit.
pub fn socket_bytes(input: &[u8]) {
    let whole = read(input, input.len().max(1));
    for piece in [1, 2, 7] {
        assert_eq!(read(input, piece), whole, "cut into pieces of {piece}");
    }
    let (messages, violation) = whole;
    let consumer = Arc::clone(&CONSUMER);
    let mut session = Session::new(consumer, Caller::Anybody, false);
    for incoming in messages {
        if let Incoming::Text(text) = &incoming {
            assert!(text.len() <= MAX_MESSAGE);
        }
        match session.incoming(incoming) {
            Action::Perform(_) => drop(session.done(Ok(None))),
            Action::CloseNow { .. } | Action::Drop | Action::End => return,
            _ => {}
        }
    }
    if let Some(violation) = violation {
        assert!(matches!(
            session.violation(violation),
            Action::CloseNow { .. } | Action::Drop
        ));
    }
}

fn read(input: &[u8], piece: usize) -> (Vec<Incoming>, Option<Violation>) {
    let mut reader = Reader::new(BytesMut::new(), MAX_MESSAGE);
    let mut messages = Vec::new();
    for bytes in input.chunks(piece) {
        reader.buffer.extend_from_slice(bytes);
        loop {
            match reader.take_message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(violation) => return (messages, Some(violation)),
            }
        }
    }
    (messages, None)
}

/// The text of one frame, in either protocol: a request, nothing, or an answer that can be sent.
pub fn socket_text(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Err(rejection) = protocol::read(text) {
        assert!(protocol::error_frame(&rejection.to_string()).len() > 2);
    }
    if let Err(answer) = native::read(text) {
        assert!(answer.ends_with(b"}"));
    }
}
