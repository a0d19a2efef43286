//! What is under a connection: a socket of whichever kind, TLS over it or not, and its place among
//! the connections that may be open.

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

/// The kinds of sockets a server listens on.
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A socket as it is, or with TLS over it.
pub enum Io {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

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

impl Socket {
    /// Who is at the other end; nobody has an address over a Unix socket.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        match self {
            Socket::Tcp(socket) => socket.peer_addr().ok().map(|it| it.ip().to_canonical()),
            Socket::Unix(_) => None,
        }
    }
}

impl Stream {
    #[must_use]
    pub fn new(io: Io, place: Option<Place>) -> Self {
        Stream { io, _place: place }
    }
}

/// Reads from and writes to what a stream holds.
macro_rules! passes_on {
    ($stream:ident: $($held:pat => $inner:expr),+) => {
        impl AsyncRead for $stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() { $($held => Pin::new($inner).poll_read(cx, buffer)),+ }
            }
        }

        impl AsyncWrite for $stream {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() { $($held => Pin::new($inner).poll_write(cx, bytes)),+ }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() { $($held => Pin::new($inner).poll_write_vectored(cx, slices)),+ }
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $($held => Pin::new($inner).poll_flush(cx)),+ }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $($held => Pin::new($inner).poll_shutdown(cx)),+ }
            }
        }
    };
}

passes_on!(Socket: Socket::Tcp(socket) => socket, Socket::Unix(socket) => socket);
passes_on!(Io: Io::Plain(socket) => socket, Io::Tls(tls) => tls);
passes_on!(Stream: Stream { io, .. } => io);
