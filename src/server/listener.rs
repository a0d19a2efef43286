//! The socket that is listened on: bound by us, or handed over by who started us.

use std::{io, net::SocketAddr, os::unix::net::UnixListener as StdUnixListener};

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixStream};

use crate::{config::Bind, net::Socket};

/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG: u32 = 4096;

/// A listening socket, of either kind.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Listens at an address, which other processes may share if all of them say so; a socket file
    /// left behind by a dead process is replaced.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn bind(at: &Bind, reuse_port: bool) -> io::Result<Self> {
        match at {
            Bind::Tcp(address) => {
                let socket = bound(*address, reuse_port)?;
                Ok(Listener::Tcp(socket.listen(BACKLOG)?))
            }
            Bind::Unix(path) => {
                if UnixStream::connect(path).await.is_err() && path.exists() {
                    std::fs::remove_file(path)?;
                }
                Ok(Listener::Unix(UnixListener::bind(path)?))
            }
        }
    }

    /// Fails as [`Listener::bind`] would, and listens at no time: no client is taken from another
    /// process.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn probe(at: &Bind, reuse_port: bool) -> io::Result<()> {
        let path = match at {
            Bind::Tcp(address) => return bound(*address, reuse_port).map(drop),
            Bind::Unix(path) => path,
        };
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let mut beside = path.clone().into_os_string();
        beside.push(format!(".{}", std::process::id()));
        drop(UnixListener::bind(&beside)?);
        std::fs::remove_file(beside)
    }

    /// Returns the socket that systemd, or a supervisor that speaks as it does (`LISTEN_PID`,
    /// `LISTEN_FDS`), opened for this process. It stays open over a restart, so that no client is
    /// turned away.
    ///
    /// # Errors
    /// When what was handed over is no listening socket, or there are several.
    pub fn inherited() -> io::Result<Option<Self>> {
        // These variables are about this very process, so they are read where they are meant.
        let mut handed_over = ListenFd::from_env();
        match handed_over.len() {
            0 => return Ok(None),
            1 => {}
            several => {
                return Err(io::Error::other(format!(
                    "{several} sockets were handed over, one is wanted"
                )));
            }
        }
        if let Ok(Some(listener)) = handed_over.take_tcp_listener(0) {
            listener.set_nonblocking(true)?;
            return Ok(Some(Listener::Tcp(TcpListener::from_std(listener)?)));
        }
        let listener: Option<StdUnixListener> = handed_over.take_unix_listener(0)?;
        let Some(listener) = listener else {
            return Ok(None);
        };
        listener.set_nonblocking(true)?;
        Ok(Some(Listener::Unix(UnixListener::from_std(listener)?)))
    }

    /// Returns its address, as the settings write it: with the port that a bind to port 0 got.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn place(&self) -> io::Result<Bind> {
        Ok(match self {
            Listener::Tcp(listener) => Bind::Tcp(listener.local_addr()?),
            Listener::Unix(listener) => {
                let address = listener.local_addr()?;
                Bind::Unix(address.as_pathname().unwrap_or("".as_ref()).to_owned())
            }
        })
    }

    /// Accepts the next connection.
    ///
    /// # Errors
    /// Mostly when the process is out of file descriptors.
    pub async fn accept(&self) -> io::Result<Socket> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Chat frames are small and must not wait for each other.
                stream.set_nodelay(true)?;
                Ok(stream.into())
            }
            Listener::Unix(listener) => Ok(listener.accept().await?.0.into()),
        }
    }
}

/// Opens a socket at this address that does not listen yet.
fn bound(address: SocketAddr, reuse_port: bool) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Remains of the last process' connections must not keep us out. Of a free port there are none, and
    // it must not be one that another socket is about to listen on.
    if address.port() != 0 {
        socket.set_reuseaddr(true)?;
    }
    if reuse_port {
        socket.set_reuseport(true)?;
    }
    socket.bind(address)?;
    Ok(socket)
}
