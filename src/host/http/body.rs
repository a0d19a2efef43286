//! The body of an answer on its way from the application to the client.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

use super::HostedFailure;
use crate::{
    host::{
        exchange::{Exchange, ExchangeReply},
        link::WorkerLink,
        wire::Down,
    },
    layer::redis::codec::msgpack,
    metrics::{HeldGauge, Metrics, RequestOutcome},
    value::Value,
};

/// Counts a request when it is over.
pub(super) struct RequestRecord {
    began: Instant,
    pub(super) outcome: RequestOutcome,
    metrics: Arc<Metrics>,
    _open: HeldGauge,
}

impl RequestRecord {
    pub(super) fn begin(metrics: &Arc<Metrics>) -> Self {
        RequestRecord {
            began: Instant::now(),
            // Unless it comes to another end.
            outcome: RequestOutcome::Left,
            metrics: Arc::clone(metrics),
            _open: metrics.host_request_open(),
        }
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        self.metrics
            .host_request(self.outcome, self.began.elapsed());
    }
}

/// A request that a worker was asked. The application hears that the client is gone if this is
/// dropped before the answer is whole.
pub(super) struct AskedRequest {
    pub(super) link: Arc<WorkerLink>,
    pub(super) number: u64,
    pub(super) exchange: Arc<Exchange>,
    pub(super) replies: mpsc::UnboundedReceiver<ExchangeReply>,
    pub(super) whole: bool,
}

impl Drop for AskedRequest {
    fn drop(&mut self) {
        if !self.whole {
            self.link.send(Down::Gone, self.number, b"");
        }
    }
}

/// The body of an answer.
pub(super) struct HostedBody {
    pub(super) asked: AskedRequest,
    /// Bytes that are still to come, if the head says how many there are.
    pub(super) left: Option<u64>,
    pub(super) record: RequestRecord,
}

/// Reasons why an answer ends before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an answer breaks off: {0}")]
pub(super) struct CutShort(HostedFailure);

impl HostedBody {
    fn complete(&mut self) {
        self.asked.whole = true;
        self.record.outcome = RequestOutcome::Answered;
    }

    fn cut_short(&mut self, failure: HostedFailure) -> CutShort {
        self.record.outcome = failure.outcome();
        let error = CutShort(failure);
        tracing::warn!("{error}");
        error
    }

    /// Lets the application go on: the client has taken this part.
    fn taken(&mut self, part: &Bytes) {
        let cost = self.asked.exchange.take(part.len());
        let mut body = Vec::new();
        // A number of 64 bits is never refused.
        let _ = msgpack::write(&mut body, &Value::Int(cost as i128));
        let (link, number) = (&self.asked.link, self.asked.number);
        link.send(Down::Taken, number, &body);
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(part.len() as u64);
        }
    }
}

impl Body for HostedBody {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let this = self.get_mut();
        if this.asked.whole {
            return Poll::Ready(None);
        }
        let failure = match ready!(this.asked.replies.poll_recv(cx)) {
            Some(ExchangeReply::Part(part)) => {
                this.taken(&part);
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
            Some(ExchangeReply::End) => {
                this.complete();
                return Poll::Ready(None);
            }
            Some(ExchangeReply::Ended | ExchangeReply::Head(_)) => HostedFailure::Failed,
            Some(ExchangeReply::Stalled) => HostedFailure::Stalled,
            Some(ExchangeReply::Malformed) => HostedFailure::Malformed,
            Some(ExchangeReply::Lost) | None => HostedFailure::Lost,
        };
        Poll::Ready(Some(Err(this.cut_short(failure))))
    }
}

impl Drop for HostedBody {
    fn drop(&mut self) {
        // A body of a known length is not asked for its end.
        if self.left == Some(0) {
            self.complete();
            // Past its length there is nothing to be sent.
            self.asked.whole = matches!(self.asked.replies.try_recv(), Ok(ExchangeReply::End));
        }
    }
}
