//! Orders of an operator's command to a process that hosts. They come where workers join, in place
//! of what a worker says first, and are answered when they are done.

use std::{io, path::Path, process, sync::Arc};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::UnixStream,
    sync::{Mutex, mpsc, oneshot},
};

use super::{
    Host,
    wire::{self, Down, HEAD, Up, VERSION},
};
use crate::{
    layer::redis::codec::{item::Item, msgpack},
    value::Value,
};

/// The order to do as on SIGHUP.
const RELOAD: &str = "reload";

/// Most bytes of an answer.
const ANSWER: u64 = 64 << 10;

/// Outcome of an order; the error is the reason in words.
pub type OrderOutcome = Result<(), String>;

/// Reasons why an order was not done.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error("host.socket: no process answers at {path}: {error}")]
    Unreachable { path: String, error: io::Error },
    #[error("the process has ended before it was done")]
    Ended,
    #[error("{0}")]
    Refused(String),
}

/// Orders to reload that wait, each with its caller.
pub struct Orders {
    sender: mpsc::Sender<oneshot::Sender<OrderOutcome>>,
    waiting: Mutex<mpsc::Receiver<oneshot::Sender<OrderOutcome>>>,
}

impl Default for Orders {
    fn default() -> Self {
        let (sender, waiting) = mpsc::channel(1);
        let waiting = Mutex::new(waiting);
        Orders { sender, waiting }
    }
}

impl Orders {
    /// Waits for the next order to reload. Its outcome is sent to the caller.
    pub async fn next(&self) -> oneshot::Sender<OrderOutcome> {
        match self.waiting.lock().await.recv().await {
            Some(caller) => caller,
            // It cannot be: `self` holds the sender.
            None => std::future::pending().await,
        }
    }

    async fn obey(&self, order: &str) -> OrderOutcome {
        if order != RELOAD {
            return Err(format!("there is no order {order:?}"));
        }
        let (caller, outcome) = oneshot::channel();
        let ends = "the process ends";
        self.sender.send(caller).await.map_err(|_| ends)?;
        outcome.await.map_err(|_| ends)?
    }
}

/// Does what an order says and answers.
pub async fn serve(host: &Arc<Host>, order: &str, to: &mut (impl AsyncWrite + Unpin)) {
    let body = match host.orders.obey(order).await {
        Ok(()) => Vec::new(),
        Err(why) => wire::map(vec![("text", Item::Plain(why.into()))]),
    };
    let mut answer = BytesMut::new();
    wire::put(&mut answer, Down::Answer, 0, &body);
    // A caller that has gone does not want to know.
    let _ = to.write_all(&answer).await;
}

/// Has the process whose workers join at `path` reload, and waits until it has.
///
/// # Errors
/// When it cannot be reached or has not done it.
pub async fn reload(path: &Path) -> Result<(), OrderError> {
    let unreachable = |error| OrderError::Unreachable {
        path: path.display().to_string(),
        error,
    };
    let mut stream = UnixStream::connect(path).await.map_err(unreachable)?;
    let text = |text: &str| Item::Plain(text.into());
    let int = |number: u64| Item::Plain(Value::Int(number.into()));
    let hello = wire::map(vec![
        ("version", int(VERSION)),
        ("pid", int(process::id().into())),
        ("application", text("")),
        ("layer", text("")),
        ("order", text(RELOAD)),
    ]);
    let mut order = BytesMut::new();
    wire::put_kind(&mut order, Up::Hello as u8, 0, &hello);
    let mut answer = Vec::new();
    let asked = async {
        stream.write_all(&order).await?;
        (&mut stream).take(ANSWER).read_to_end(&mut answer).await
    };
    asked.await.map_err(|_| OrderError::Ended)?;
    match answer.get(4 + HEAD..) {
        None => Err(OrderError::Ended),
        Some([]) => Ok(()),
        Some(body) => Err(OrderError::Refused(reason(body).unwrap_or_default())),
    }
}

/// Returns the text of an answer.
fn reason(body: &[u8]) -> Option<String> {
    let members = msgpack::read(body).ok()?.into_members()?;
    let (_, text) = members.into_iter().find(|(name, _)| name == "text")?;
    match text {
        Item::Plain(text) => text.as_str().map(str::to_owned),
        _ => None,
    }
}
