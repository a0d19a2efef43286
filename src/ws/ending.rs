//! The end of a connection, and the time that it may take.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The close code for the metrics when the connection just went away.
pub const GONE: u16 = 1006;

/// Longest time for a peer's answer to our close frame.
const CLOSING: Duration = Duration::from_secs(5);

/// The same for one that reads slowly: the frame stands behind all that the system keeps for it.
/// Once the socket is closed, anything that the peer still says, if only a pong, makes the system
/// throw that away, and the peer never hears why.
const CLOSING_SLOW: Duration = Duration::from_secs(30);

/// Set by the close frame of either side.
pub struct Ending {
    pub code: u16,
    /// Past it nothing is waited for any more.
    pub by: Instant,
    /// The other side has sent its close frame: once ours is written we are through.
    pub answered: bool,
}

impl Ending {
    /// Begins with our close frame.
    #[must_use]
    pub fn new(code: u16, answered: bool, is_slow: bool) -> Self {
        let patience = if is_slow { CLOSING_SLOW } else { CLOSING };
        Ending {
            code,
            by: Instant::now() + patience,
            answered,
        }
    }
}

/// Ends our half, then waits for the peer to end its own: closing a socket with unread bytes in it
/// would make the system throw away the close frame on its way.
pub async fn shut_down(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let quiet = async {
        let _ = stream.shutdown().await;
        let mut rest = BytesMut::new();
        while let Ok(1..) = stream.read_buf(&mut rest).await {
            rest.clear();
        }
    };
    let _ = tokio::time::timeout(CLOSING, quiet).await;
}
