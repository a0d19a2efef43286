//! The body of an answer: bytes of ours, or a stream that is passed on from the upstream.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};

use crate::gateway::Relayed;

/// The body of every answer.
#[derive(Debug)]
pub enum Body {
    Ours(Full<Bytes>),
    Upstream(Relayed),
}

impl Body {
    /// A body of ours.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Body::Ours(Full::new(bytes))
    }
}

impl Default for Body {
    fn default() -> Self {
        Body::Ours(Full::default())
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Body::Ours(bytes) => Pin::new(bytes)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Body::Upstream(stream) => Pin::new(stream).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Ours(bytes) => bytes.is_end_stream(),
            Body::Upstream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Ours(bytes) => bytes.size_hint(),
            Body::Upstream(stream) => stream.size_hint(),
        }
    }
}
