//! Bodies on their way through: passed on as they come, never gathered. Trailers are dropped.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Instant;

use super::upstream::Place;

type Polled = Poll<Option<Result<Frame<Bytes>, hyper::Error>>>;

/// The body of a request on its way to the upstream.
pub enum Outgoing {
    Empty,
    Streaming(Incoming, Arc<Upload>),
}

/// How far a request's body has come.
#[derive(Debug)]
pub struct Upload(Mutex<Progress>);

#[derive(Clone, Copy, Debug)]
struct Progress {
    /// When bytes came last.
    at: Instant,
    done: bool,
    /// The client is asked for bytes and has none.
    starved: bool,
}

impl Upload {
    pub fn new(done: bool) -> Arc<Self> {
        Arc::new(Upload(Mutex::new(Progress {
            at: Instant::now(),
            done,
            starved: false,
        })))
    }

    pub fn last_at(&self) -> Instant {
        self.lock().at
    }

    pub fn is_done(&self) -> bool {
        self.lock().done
    }

    /// Whether it is the client that is waited for.
    pub fn is_starved(&self) -> bool {
        self.lock().starved
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saw(&self, polled: &Polled) {
        let mut progress = self.lock();
        progress.starved = polled.is_pending();
        if polled.is_ready() {
            progress.at = Instant::now();
        }
        progress.done |= matches!(polled, Poll::Ready(None));
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        match self.get_mut() {
            Outgoing::Empty => Poll::Ready(None),
            Outgoing::Streaming(body, upload) => {
                let polled = poll_data(body, cx);
                upload.saw(&polled);
                if body.is_end_stream() {
                    upload.lock().done = true;
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Empty => true,
            Outgoing::Streaming(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Empty => SizeHint::with_exact(0),
            Outgoing::Streaming(body, _) => body.size_hint(),
        }
    }
}

/// The body of an answer on its way to the client. Dropping it before its end ends the upstream's
/// connection; at its end the connection is kept for the next request.
#[derive(Debug)]
pub struct Relayed {
    body: Incoming,
    ended: bool,
    place: Option<Place>,
}

impl Relayed {
    /// `place` is where the connection goes after the answer; without one it is closed.
    #[must_use]
    pub fn new(body: Incoming, place: Option<Place>) -> Self {
        Relayed {
            body,
            ended: false,
            place,
        }
    }
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let polled = poll_data(&mut self.body, cx);
        self.ended |= matches!(polled, Poll::Ready(None));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        if let Some(place) = self.place.take()
            && (self.ended || self.body.is_end_stream())
        {
            place.give_back();
        }
    }
}

/// The next bytes; trailers are the end.
fn poll_data(body: &mut Incoming, cx: &mut Context<'_>) -> Polled {
    loop {
        match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) if !frame.is_data() => {}
            other => return Poll::Ready(other),
        }
    }
}
