//! Bodies on their way through: passed on as they come, never gathered. Trailers are dropped.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep_until},
};

use super::upstream::UpstreamPlace;
use crate::metrics::Metrics;

type Polled<E = hyper::Error> = Poll<Option<Result<Frame<Bytes>, E>>>;

/// Why an answer ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    #[error("the answer broke off: {0}")]
    Broken(#[from] hyper::Error),
    #[error("no byte of the answer, nor of the request, came in time")]
    Idle,
}

impl Interrupted {
    /// Returns the word of the metrics for it.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Interrupted::Broken(_) => "interrupted",
            Interrupted::Idle => "idle",
        }
    }
}

/// The body of a request on its way to the upstream.
pub enum Outgoing {
    Empty,
    Streaming(Incoming, Arc<Upload>),
    /// It had to be read here before it was passed on.
    Whole(Bytes),
}

impl Outgoing {
    /// Makes a body that is passed on as it comes.
    pub fn streaming(body: Incoming) -> Self {
        if body.is_end_stream() {
            Outgoing::Empty
        } else {
            Outgoing::Streaming(body, Upload::new(false))
        }
    }
}

/// Progress of a request's body.
#[derive(Debug)]
pub struct Upload(Mutex<BodyProgress>);

#[derive(Clone, Copy, Debug)]
struct BodyProgress {
    /// When bytes came last.
    at: Instant,
    done: bool,
    /// The client is asked for bytes and has none.
    starved: bool,
}

impl Upload {
    pub fn new(done: bool) -> Arc<Self> {
        Arc::new(Upload(Mutex::new(BodyProgress {
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

    /// Returns whether it is the client that is waited for.
    pub fn is_starved(&self) -> bool {
        self.lock().starved
    }

    fn lock(&self) -> MutexGuard<'_, BodyProgress> {
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
            Outgoing::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
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
            Outgoing::Whole(bytes) => bytes.is_empty(),
            Outgoing::Streaming(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Empty => SizeHint::with_exact(0),
            Outgoing::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Outgoing::Streaming(body, _) => body.size_hint(),
        }
    }
}

/// The body of an answer on its way to the client. Dropping it before its end ends the upstream's
/// connection; at its end the connection is kept for the next request.
pub struct Relayed {
    body: Incoming,
    ended: bool,
    patience: AnswerPatience,
    /// Of the request, which may still be on its way.
    upload: Arc<Upload>,
    place: Option<UpstreamPlace>,
    /// To be under way, until this ends.
    permit: Option<OwnedSemaphorePermit>,
    metrics: Arc<Metrics>,
}

/// Longest pause within an answer.
struct AnswerPatience {
    limit: Duration,
    /// When the upstream was first asked for the bytes that have not come.
    since: Option<Instant>,
    /// Made when there is something to wait for: most answers come at once.
    timer: Option<Pin<Box<Sleep>>>,
}

impl AnswerPatience {
    /// Returns whether it is over; else the task is woken when it may be. Bytes at `other` are life
    /// too.
    fn is_over(&mut self, other: Instant, cx: &mut Context<'_>) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        let due = since.max(other) + self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        while timer.as_mut().poll(cx).is_ready() {
            if due <= Instant::now() {
                return true;
            }
            timer.as_mut().reset(due);
        }
        false
    }
}

impl Relayed {
    /// `idle` is how long it may pause. `place` is where the connection goes after the answer;
    /// without one it is closed.
    #[must_use]
    pub fn new(
        body: Incoming,
        upload: Arc<Upload>,
        idle: Duration,
        place: Option<UpstreamPlace>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Relayed {
            body,
            ended: false,
            patience: AnswerPatience {
                limit: idle,
                since: None,
                timer: None,
            },
            upload,
            place,
            permit: None,
            metrics,
        }
    }

    /// Holds a permit to its end.
    #[must_use]
    pub fn holding(mut self, permit: OwnedSemaphorePermit) -> Self {
        self.permit = Some(permit);
        self
    }

    fn interrupted(&self, why: Interrupted) -> Interrupted {
        tracing::warn!(%why, "an answer could not be passed on whole");
        self.metrics.gateway_failure(why.label());
        why
    }
}

impl fmt::Debug for Relayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Relayed").field(&self.body).finish()
    }
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = Interrupted;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<Interrupted> {
        let Poll::Ready(next) = poll_data(&mut self.body, cx) else {
            let last_sent = self.upload.last_at();
            if !self.patience.is_over(last_sent, cx) {
                return Poll::Pending;
            }
            return Poll::Ready(Some(Err(self.interrupted(Interrupted::Idle))));
        };
        self.patience.since = None;
        self.ended |= next.is_none();
        let next = next.map(|frame| frame.map_err(|error| self.interrupted(error.into())));
        Poll::Ready(next)
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
        // After the connection is given back, so that the next request finds it.
        let _permit = self.permit.take();
        if let Some(place) = self.place.take()
            && (self.ended || self.body.is_end_stream())
        {
            place.give_back();
        }
    }
}

/// Returns the next bytes; trailers are the end.
fn poll_data(body: &mut Incoming, cx: &mut Context<'_>) -> Polled {
    loop {
        match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) if !frame.is_data() => {}
            other => return Poll::Ready(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn patience() -> AnswerPatience {
        AnswerPatience {
            limit: LIMIT,
            since: None,
            timer: None,
        }
    }

    /// Waits for bytes that do not come; `other` tells when there were some the other way.
    async fn run_out(patience: &mut AnswerPatience, other: impl Fn() -> Instant) {
        poll_fn(|cx| {
            if patience.is_over(other(), cx) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_after_its_time_and_begins_anew_with_each_byte() {
        let (mut patience, began) = (patience(), Instant::now());
        for _ in 0..3 {
            let waiting = tokio::time::timeout(LIMIT / 2, run_out(&mut patience, || began));
            assert!(waiting.await.is_err());
            patience.since = None;
        }
        let anew = Instant::now();
        run_out(&mut patience, || began).await;
        assert_eq!(anew.elapsed().as_secs(), LIMIT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_goes_on_is_life() {
        let (upload, began) = (Upload::new(false), Instant::now());
        let sending = async {
            for _ in 0..5 {
                sleep(LIMIT / 2).await;
                upload.saw(&Poll::Ready(None));
            }
        };
        let mut patience = patience();
        let waiting = run_out(&mut patience, || upload.last_at());
        tokio::join!(sending, waiting);
        assert_eq!(began.elapsed().as_secs(), 35);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_costs_no_patience() {
        let (mut patience, began) = (patience(), Instant::now());
        let waiting = tokio::time::timeout(LIMIT / 2, run_out(&mut patience, || began));
        assert!(waiting.await.is_err());
        // Bytes came, and the client took none for a long time.
        patience.since = None;
        sleep(LIMIT * 9).await;
        let asked = Instant::now();
        run_out(&mut patience, || began).await;
        assert_eq!(asked.elapsed().as_secs(), LIMIT.as_secs());
    }
}
