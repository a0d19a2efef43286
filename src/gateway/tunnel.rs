//! An open WebSocket between a client and Django: bytes both ways, as they come. Only where frames
//! end is followed, for a close frame of ours may stand between two frames and nowhere else. Where
//! the policy lets the client speak for itself only, what it says is looked at
//! ([`super::inspect`]).

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{Request, StatusCode, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split},
    sync::{mpsc, oneshot},
    time::{sleep_until, timeout},
};

use super::{
    Gateway,
    body::Outgoing,
    frames::{CLOSE, Cutter, Piece},
    inspect::{ErrorAnswers, Inspector, Over},
    shadow::Watcher,
};
use crate::{
    app::App,
    auth::{
        Admission,
        sockets::{OpenSocket, Registration},
    },
    id::ConversationId,
    limits::SocketSeat,
    metrics::SecurityEvent,
    net::Stream,
    python::urls::decode_path,
    rollout::Side,
    shutdown::CloseTurn,
    telemetry::security::{AuditPlace, SecurityFinding},
    ws::{protocol::Protocol, session::Reason},
};

/// Bytes that are on their way in each direction, at most.
const BUFFER: usize = 4096;

/// Longest time for one side to end its half after the other has.
const CLOSING: Duration = Duration::from_secs(2);

/// Returns whether sockets are still opened.
pub fn may_open(app: &App) -> bool {
    !app.drain.has_begun()
}

/// A socket that Django serves.
pub struct Tunnel {
    app: Arc<App>,
    gateway: Arc<Gateway>,
    /// Of a chat socket; the others are Django's alone.
    conversation: Option<ConversationId>,
    watcher: Option<Watcher>,
    inspector: Option<(Inspector, ErrorAnswers)>,
    drain: CloseTurn,
    /// When the token or session that it was opened with runs out.
    until: Option<Instant>,
    /// Says when the rights of a chat socket end before that.
    registration: Option<Registration>,
    /// The address of the client, for the security log.
    peer: Option<IpAddr>,
    /// Held to the end.
    seat: SocketSeat,
}

/// The reading half of a side, and what it has sent already.
struct TunnelSource {
    half: ReadHalf<Stream>,
    early: Bytes,
}

impl TunnelSource {
    /// Returns the next bytes; none at the end. May be cancelled.
    async fn next<'a>(&'a mut self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        if !self.early.is_empty() {
            let here = self.early.len().min(buffer.len());
            buffer[..here].copy_from_slice(&self.early.split_to(here));
            return Ok(&buffer[..here]);
        }
        let read = self.half.read(buffer).await?;
        Ok(&buffer[..read])
    }
}

impl Tunnel {
    /// Makes the tunnel that a handshake asks for.
    pub fn of(
        app: &Arc<App>,
        gateway: &Arc<Gateway>,
        request: &Request<Outgoing>,
        seat: SocketSeat,
        admission: &Admission,
        peer: Option<IpAddr>,
    ) -> Self {
        let path = decode_path(request.uri().path());
        let conversation = gateway.consumer.target(&path);
        let consumer = &gateway.consumer;
        let inspector = conversation
            .and_then(|id| Inspector::of(app, consumer, id, admission, peer, seat.meter()));
        Tunnel {
            inspector,
            watcher: conversation.and_then(|id| gateway.watcher(app, id, request)),
            app: Arc::clone(app),
            gateway: Arc::clone(gateway),
            conversation,
            drain: app.drain.subscribe(),
            until: admission.until,
            registration: conversation.map(|id| app.auth.register(Some(id), admission)),
            peer,
            seat,
        }
    }

    /// Returns whether what the client says is looked at.
    pub fn is_inspected(&self) -> bool {
        self.inspector.is_some()
    }

    /// Django has answered the handshake.
    pub fn answered(&self, status: StatusCode) {
        if let Some(watcher) = &self.watcher {
            watcher.answered(status);
        }
    }

    /// Passes everything on until either side has ended, or the socket has to go.
    pub async fn run(self, client: OnUpgrade, upstream: OnUpgrade) {
        let (Ok(client), Ok(upstream)) = (client.await, upstream.await) else {
            return;
        };
        let (Ok(client), Ok(upstream)) = (
            client.downcast::<TokioIo<Stream>>(),
            upstream.downcast::<TokioIo<Stream>>(),
        ) else {
            return;
        };
        let _open = (self.seat, self.app.metrics.gateway_socket());
        let (half, client_write) = split(client.io.into_inner());
        let from_client = TunnelSource {
            half,
            early: client.read_buf,
        };
        let (half, upstream_write) = split(upstream.io.into_inner());
        let from_upstream = TunnelSource {
            half,
            early: upstream.read_buf,
        };
        let (mut upstream_write, mut client_write) = (upstream_write, client_write);
        let watcher = self.watcher;
        let (inspector, answers) = self.inspector.unzip();
        let (answers, close) = answers.map(|it| (it.frames, it.close)).unzip();
        let (until, socket) = (self.until, self.registration.as_ref());
        let socket = socket.map(|registration| Arc::clone(registration.socket()));
        let rights = closed(
            Arc::clone(&self.app),
            self.peer,
            socket.clone(),
            rights_end(until, socket.clone()),
        );
        let leave = leave(self.app, &self.gateway, self.conversation, self.drain);
        let leave = Box::pin(leave_or_lose(leave, rights, close));
        let (see_client, see_server) = Watcher::split(watcher);
        let up = up(from_client, &mut upstream_write, inspector, see_client);
        // Frames that come after the rights have ended do not reach Django.
        let up = async {
            tokio::select! {
                biased;
                _ = rights_end(until, socket) => Ok(()),
                ended = up => ended,
            }
        };
        let down = down(from_upstream, &mut client_write, leave, answers, see_server);
        let (mut up, mut down) = (Box::pin(up), Box::pin(down));
        // The side that ends first has closed towards the other, which may take a moment to end as
        // well.
        tokio::select! {
            ended = &mut up => if ended.is_ok() {
                let _ = timeout(CLOSING, down).await;
            },
            ended = &mut down => if ended.is_ok() {
                let _ = timeout(CLOSING, up).await;
            },
        }
    }
}

/// The end of a socket that has to go, and why.
type Leave = Pin<Box<dyn Future<Output = Reason> + Send>>;

/// Waits until the socket has to go: the process drains, or the conversation has moved.
fn leave(
    app: Arc<App>,
    gateway: &Gateway,
    conversation: Option<ConversationId>,
    mut drain: CloseTurn,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let moved = conversation.map(|id| gateway.rollout.moved(id, Side::Django));
    Box::pin(async move {
        let Some(moved) = moved else {
            return drain.reached().await;
        };
        tokio::select! {
            () = drain.reached() => {}
            () = moved => app.metrics.gateway_moved(),
        }
    })
}

/// Waits until a socket leaves, its rights end, or its inspector wants it to be closed.
async fn leave_or_lose(
    leave: impl Future<Output = ()>,
    rights: impl Future<Output = Reason>,
    close: Option<oneshot::Receiver<Reason>>,
) -> Reason {
    let closed = async {
        if let Some(close) = close
            && let Ok(reason) = close.await
        {
            return reason;
        }
        std::future::pending().await
    };
    tokio::select! {
        reason = rights => reason,
        reason = closed => reason,
        () = leave => Reason::Restart,
    }
}

/// Passes the end of a socket's rights on, and notes it in the security log.
async fn closed(
    app: Arc<App>,
    client: Option<IpAddr>,
    socket: Option<Arc<OpenSocket>>,
    rights: impl Future<Output = Reason>,
) -> Reason {
    let reason = rights.await;
    if let Some(socket) = socket {
        app.audit.note(&SecurityFinding {
            event: SecurityEvent::Closed,
            reason: reason.word(),
            client,
            user: socket.user.as_deref(),
            place: socket
                .conversation_id
                .map_or(AuditPlace::Nothing, AuditPlace::Conversation),
        });
    }
    reason
}

/// Waits until the rights of a socket end, by its token's or session's time or before.
async fn rights_end(until: Option<Instant>, socket: Option<Arc<OpenSocket>>) -> Reason {
    let expired = async {
        match until {
            Some(until) => sleep_until(until.into()).await,
            None => std::future::pending().await,
        }
    };
    let ended = async {
        match socket {
            Some(socket) => socket.ended().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = expired => Reason::Expired,
        ended = ended => ended.into(),
    }
}

/// Client to Django.
async fn up(
    mut from: TunnelSource,
    to: &mut WriteHalf<Stream>,
    mut inspector: Option<Inspector>,
    mut see: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let bytes = from.next(&mut buffer).await?;
        if bytes.is_empty() {
            return to.shutdown().await;
        }
        let (bytes, over) = match &mut inspector {
            Some(inspector) => inspector.take(bytes).await,
            None => (bytes, None),
        };
        to.write_all(bytes).await?;
        // TLS may hold back what the socket did not take.
        to.flush().await?;
        see(bytes);
        match over {
            None => {}
            Some(Over::Broken) => return Err(io::ErrorKind::InvalidData.into()),
            Some(Over::Closing) => break,
        }
    }
    to.shutdown().await?;
    // A connection that is closed with unread bytes would lose the close frame.
    while !from.next(&mut buffer).await?.is_empty() {}
    Ok(())
}

/// Copies from Django to the client until the socket has to leave: then the close goes between two
/// frames, and what it sends up to its own close frame still reaches Django.
async fn down(
    mut from: TunnelSource,
    to: &mut WriteHalf<Stream>,
    mut leave: Leave,
    mut answers: Option<mpsc::Receiver<Bytes>>,
    mut see: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut cutter = Cutter::default();
    let (mut closing, mut in_message) = (false, false);
    let reason = loop {
        let may_speak = cutter.is_between_frames() && !closing;
        tokio::select! {
            biased;
            // A socket that Django closes itself needs no second goodbye.
            reason = &mut leave, if may_speak => break reason,
            answer = next_answer(&mut answers), if may_speak && !in_message => {
                to.write_all(&answer).await?;
                to.flush().await?;
            }
            bytes = from.next(&mut buffer) => {
                let bytes = bytes?;
                if bytes.is_empty() {
                    return to.shutdown().await;
                }
                to.write_all(bytes).await?;
                // TLS may hold back what the socket did not take.
                to.flush().await?;
                cutter.cut(bytes, |piece| match piece {
                    Piece::Head(head) if head.opcode == CLOSE => closing = true,
                    Piece::Head(head) if head.opcode < CLOSE => in_message = !head.fin,
                    _ => {}
                });
                see(bytes);
            }
        }
    };
    to.write_all(&reason.frame()).await?;
    let rest = async {
        while !from.next(&mut buffer).await?.is_empty() {}
        Ok(())
    };
    let _: Result<io::Result<()>, _> = timeout(CLOSING, rest).await;
    to.shutdown().await
}

/// Returns the next answer of ours; pending for ever without an inspector.
async fn next_answer(answers: &mut Option<mpsc::Receiver<Bytes>>) -> Bytes {
    if let Some(answers) = answers
        && let Some(answer) = answers.recv().await
    {
        return answer;
    }
    std::future::pending().await
}
