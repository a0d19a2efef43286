//! The transport under a connection: a socket of any kind, TLS over it or not, and its place among
//! the connections that may be open.
//!
//! A client that reads nothing of what it is sent must not hold what stands behind its answer: a
//! body, a page of the store, a connection to Django. So a write that makes no progress fails after
//! a while, and with it the connection.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep},
};
use tokio_rustls::TlsStream;

use super::{
    Ends,
    first::First,
    forward::{reads_from, writes_to},
    outlet::{Halves, Outlet},
};
use crate::metrics::HeldGauge;

/// A socket of the system's, of either kind that a server listens on.
pub struct Socket {
    halves: Halves,
    /// `None` if the other end may take as long as it likes.
    patience: Option<Patience>,
}

/// For how long the other end may take nothing of what is written to it.
struct Patience {
    limit: Duration,
    /// Since it last took something; none while it takes everything.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// Returns the outcome of a write: an error once the peer has taken nothing for too long.
    fn bound(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.timer = None;
            return written;
        }
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        let late = || Err(io::ErrorKind::TimedOut.into());
        timer.as_mut().poll(cx).map(|()| late())
    }
}

/// A socket as it is, or with TLS over it.
pub enum Io {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// A connection, plain HTTP or upgraded.
pub struct Stream {
    io: Io,
    /// None once the first head has been passed on.
    first: Option<Box<First>>,
    /// Given back when the connection ends; without one the client is only turned away.
    _place: Option<ConnectionPlace>,
}

/// Resources of an open connection.
pub struct ConnectionPlace {
    pub permit: OwnedSemaphorePermit,
    pub open: HeldGauge,
}

impl From<TcpStream> for Socket {
    fn from(socket: TcpStream) -> Self {
        Socket {
            halves: socket.into(),
            patience: None,
        }
    }
}

impl From<UnixStream> for Socket {
    fn from(socket: UnixStream) -> Self {
        Socket {
            halves: socket.into(),
            patience: None,
        }
    }
}

impl Socket {
    /// Fails writes when the other end has taken nothing for as long as `limit`.
    #[must_use]
    pub fn with_patience(self, limit: Duration) -> Self {
        let patience = Some(Patience { limit, timer: None });
        Socket { patience, ..self }
    }

    fn bound(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match &mut self.patience {
            Some(patience) => patience.bound(written, cx),
            None => written,
        }
    }

    /// Returns the peer's address; there is none over a Unix socket.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        let peer = self.halves.tcp()?.peer_addr().ok()?;
        Some(peer.ip().to_canonical())
    }

    /// Returns both ends.
    #[must_use]
    pub fn ends(&self) -> Ends {
        self.halves.tcp().map_or_else(Ends::default, |socket| Ends {
            client: socket.peer_addr().ok(),
            server: socket.local_addr().ok(),
        })
    }
}

impl Stream {
    #[must_use]
    pub fn new(io: Io, place: Option<ConnectionPlace>) -> Self {
        Stream {
            io,
            first: Some(Box::default()),
            _place: place,
        }
    }

    /// Gives the writing half away, if what is written needs nothing but a write.
    pub fn lend(&mut self) -> Option<Outlet> {
        match &mut self.io {
            Io::Plain(socket) => socket.halves.lend(),
            Io::Tls(_) => None,
        }
    }

    /// Returns whether the writing half is given away.
    #[must_use]
    pub fn is_lent(&self) -> bool {
        matches!(&self.io, Io::Plain(socket) if socket.halves.is_lent())
    }

    /// Takes back what [`lend`](Self::lend) gave.
    pub fn take_back(&mut self, outlet: Outlet) {
        if let Io::Plain(socket) = &mut self.io {
            socket.halves.take_back(outlet);
        }
    }
}

reads_from!(Io: Io::Plain(socket) => socket, Io::Tls(tls) => tls);
writes_to!(Io: Io::Plain(socket) => socket, Io::Tls(tls) => tls);
writes_to!(Stream: Stream { io, .. } => io);

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let io = Pin::new(&mut this.io);
        match &mut this.first {
            None => io.poll_read(cx, buffer),
            Some(first) => {
                if ready!(first.poll_read(io, cx, buffer))? {
                    this.first = None;
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().halves).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.halves).poll_write(cx, bytes);
        self.bound(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.halves).poll_write_vectored(cx, slices);
        self.bound(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.halves).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.halves).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{
        io::AsyncWriteExt,
        time::{Instant, timeout},
    };

    use super::*;

    const LIMIT: Duration = Duration::from_secs(50);

    /// More than the system keeps for anybody who does not read.
    const MUCH: usize = 64 * 1024 * 1024;

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_for_too_long_is_not_waited_for() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut socket = Socket::from(ours).with_patience(LIMIT);
        let began = Instant::now();
        let written = socket.write_all(&vec![0; MUCH]).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), LIMIT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_little_now_and_then_is_waited_for() {
        let mut patience = Patience {
            limit: LIMIT,
            timer: None,
        };
        for _ in 0..3 {
            let waiting = timeout(LIMIT / 2, run_out(&mut patience)).await;
            assert!(waiting.is_err());
            let taken = poll_fn(|cx| patience.bound(Poll::Ready(Ok(1)), cx));
            assert_eq!(taken.await.unwrap(), 1);
        }
        let anew = Instant::now();
        run_out(&mut patience).await;
        assert_eq!(anew.elapsed().as_secs(), LIMIT.as_secs());
    }

    /// Waits while nothing is taken.
    async fn run_out(patience: &mut Patience) {
        let failed = poll_fn(|cx| patience.bound(Poll::Pending, cx)).await;
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
