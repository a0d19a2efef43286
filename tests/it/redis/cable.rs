//! The link of one process to a Redis, which a test can cut, freeze, mend and lead elsewhere.

use std::sync::Arc;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::instance::Redis;
use crate::support::soon;

/// What becomes of the connections that are open, by their number.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// New connections are refused.
    down: bool,
    /// Those before this one are over.
    cut: u64,
    /// Those before this one are held: bytes wait, both ways.
    frozen: u64,
    /// Those before this one pass on what is asked, and lose the answers.
    deaf: u64,
    /// This one, by its number, loses what comes from Redis.
    mute: Option<u64>,
    opened: u64,
    /// The port that new connections lead to.
    target: u16,
    /// Directions of connections whose bytes wait.
    waiting: usize,
}

/// Passes connections on to a Redis. It ends with the test.
pub struct Cable {
    port: u16,
    state: Arc<watch::Sender<State>>,
}

impl Cable {
    pub async fn to(redis: &Redis) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(watch::Sender::new(State {
            target: redis.port.number,
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if shared.borrow().down {
                    continue;
                }
                let target = shared.borrow().target;
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
                    continue;
                };
                let mut number = 0;
                shared.send_modify(|state| {
                    number = state.opened;
                    state.opened += 1;
                });
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let state = Arc::clone(&shared);
                tokio::spawn(pass(from_client, to_server, number, state, false));
                let state = Arc::clone(&shared);
                tokio::spawn(pass(from_server, to_client, number, state, true));
            }
        });
        Cable { port, state }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// New connections lead to another Redis. Those that are open are not touched.
    pub fn lead_to(&self, redis: &Redis) {
        self.state
            .send_modify(|state| state.target = redis.port.number);
    }

    /// Every connection breaks, and none can be opened.
    pub fn cut(&self) {
        self.state.send_modify(|state| {
            state.down = true;
            state.cut = state.opened;
        });
    }

    /// Connections can be opened again.
    pub fn mend(&self) {
        self.state.send_modify(|state| state.down = false);
    }

    /// Nothing comes through on the connections that are open. Others are not touched.
    pub fn freeze(&self) {
        self.state.send_modify(|state| state.frozen = state.opened);
    }

    /// Lets through what was held, and waits until it has been.
    pub async fn thaw(&self) {
        self.state.send_modify(|state| state.frozen = 0);
        let mut state = self.state.subscribe();
        let passed = state.wait_for(|state| state.waiting == 0);
        soon("the held bytes", passed).await.unwrap();
    }

    /// What Redis sends by the subscriptions of a pub/sub layer that has just been opened is lost; its
    /// commands are answered.
    pub fn lose_published(&self) {
        let subscriptions = |state: &mut State| state.mute = state.opened.checked_sub(1);
        self.state.send_modify(subscriptions);
    }

    /// Redis does what it is asked on the connections that are open, and its answers are lost.
    pub fn lose_answers(&self) {
        self.state.send_modify(|state| state.deaf = state.opened);
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    number: u64,
    shared: Arc<watch::Sender<State>>,
    answers: bool,
) {
    let mut state = shared.subscribe();
    let mut bytes = vec![0; 1 << 16];
    loop {
        let read = tokio::select! {
            read = from.read(&mut bytes) => read,
            _ = state.wait_for(|state| number < state.cut) => break,
        };
        let Ok(read @ 1..) = read else { break };
        let held = |state: &State| number < state.frozen && number >= state.cut;
        let is_held = held(&shared.borrow());
        let _waits = is_held.then(|| Waits::new(&shared));
        let now = state
            .wait_for(|state| !held(state))
            .await
            .map(|state| *state);
        let Ok(now) = now else { break };
        if number < now.cut {
            break;
        }
        if answers && (number < now.deaf || now.mute == Some(number)) {
            continue;
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

/// Counts as waiting until it is dropped.
struct Waits<'a>(&'a watch::Sender<State>);

impl<'a> Waits<'a> {
    fn new(state: &'a watch::Sender<State>) -> Self {
        state.send_modify(|state| state.waiting += 1);
        Waits(state)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|state| state.waiting -= 1);
    }
}
