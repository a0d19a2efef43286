//! The two halves of a socket. The one that writes may be lent to somebody else.

use std::{fmt, io};

use tokio::{
    io::AsyncWrite,
    net::{TcpStream, UnixStream, tcp, unix},
};

use super::forward::{reads_from, writes_to};

/// The writing half of a socket while it is lent. The connection cannot write without it, so that
/// frames of the two never mix.
pub struct Outlet(WriteHalf);

enum ReadHalf {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
}

enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
}

/// A socket of the system's, in halves.
pub struct Halves {
    read: ReadHalf,
    /// `None` while it is lent.
    write: Option<WriteHalf>,
}

impl Outlet {
    /// Writes as much as the system takes now, without waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if that is nothing; other kinds when the socket is gone.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            WriteHalf::Tcp(half) => half.try_write(bytes),
            WriteHalf::Unix(half) => half.try_write(bytes),
        }
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outlet")
    }
}

impl From<TcpStream> for Halves {
    fn from(socket: TcpStream) -> Self {
        let (read, write) = socket.into_split();
        Halves {
            read: ReadHalf::Tcp(read),
            write: Some(WriteHalf::Tcp(write)),
        }
    }
}

impl From<UnixStream> for Halves {
    fn from(socket: UnixStream) -> Self {
        let (read, write) = socket.into_split();
        Halves {
            read: ReadHalf::Unix(read),
            write: Some(WriteHalf::Unix(write)),
        }
    }
}

impl Halves {
    /// Returns the TCP socket, if it is one.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match &self.read {
            ReadHalf::Tcp(half) => Some(half.as_ref()),
            ReadHalf::Unix(_) => None,
        }
    }

    /// Gives the writing half away, if it is here.
    pub fn lend(&mut self) -> Option<Outlet> {
        self.write.take().map(Outlet)
    }

    /// Returns whether the writing half is given away.
    pub fn is_lent(&self) -> bool {
        self.write.is_none()
    }

    /// Takes the writing half back.
    pub fn take_back(&mut self, outlet: Outlet) {
        self.write = Some(outlet.0);
    }

    fn write_half(&mut self) -> io::Result<&mut (dyn AsyncWrite + Send + Unpin)> {
        match &mut self.write {
            Some(WriteHalf::Tcp(half)) => Ok(half),
            Some(WriteHalf::Unix(half)) => Ok(half),
            None => Err(io::Error::other("the writing half is lent")),
        }
    }
}

reads_from!(Halves:
    Halves { read: ReadHalf::Tcp(half), .. } => half,
    Halves { read: ReadHalf::Unix(half), .. } => half);
writes_to!(Halves: halves => halves.write_half()?);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn nothing_is_written_past_a_half_that_is_lent() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut socket = Halves::from(ours);
        let outlet = socket.lend().unwrap();
        assert!(socket.lend().is_none());
        assert!(socket.write_all(b"no").await.is_err());
        assert_eq!(outlet.try_write(b"one").unwrap(), 3);
        socket.take_back(outlet);
        socket.write_all(b"two").await.unwrap();
        drop(socket);
        let mut all = String::new();
        theirs.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "onetwo");
    }

    #[tokio::test]
    async fn an_outlet_says_how_much_it_took() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut socket = Halves::from(ours);
        let outlet = socket.lend().unwrap();
        let much = vec![7; 16 * 1024 * 1024];
        let taken = outlet.try_write(&much).unwrap();
        assert!(taken < much.len());
        let full = outlet.try_write(&much).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.unwrap();
            all
        });
        socket.take_back(outlet);
        socket.write_all(&much[taken..]).await.unwrap();
        drop(socket);
        assert!(reading.await.unwrap() == much);
    }
}
