//! The socket under a connection, of whichever kind, and its place among those that may be open.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    sync::OwnedSemaphorePermit,
};
use tokio_rustls::TlsStream;

use crate::metrics::Held;

/// A connection, plain HTTP or upgraded.
pub struct Stream {
    io: Io,
    /// Given back when the connection ends; without one the client is only told to go away.
    _place: Option<Place>,
}

/// What an open connection holds.
pub struct Place {
    pub permit: OwnedSemaphorePermit,
    pub open: Held,
}

/// The kinds of sockets there are.
pub enum Io {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Io {
    /// Who is at the other end; nobody has an address over a Unix socket.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        let socket = match self {
            Io::Tcp(socket) => socket,
            Io::Tls(socket) => socket.get_ref().0,
            Io::Unix(_) => return None,
        };
        socket.peer_addr().ok().map(|it| it.ip().to_canonical())
    }
}

impl Stream {
    #[must_use]
    pub fn new(io: Io, place: Option<Place>) -> Self {
        Stream { io, _place: place }
    }
}

/// Calls the method on whichever socket it is.
macro_rules! either {
    ($stream:expr, $method:ident($($argument:expr),*)) => {
        match &mut $stream.get_mut().io {
            Io::Tcp(socket) => Pin::new(socket).$method($($argument),*),
            Io::Tls(socket) => Pin::new(socket).$method($($argument),*),
            Io::Unix(socket) => Pin::new(socket).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_shutdown(cx))
    }
}
