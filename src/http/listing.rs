//! An answer that is a list too long to be held: read, rendered and sent a page at a time.
//!
//! Its length is not known when its head goes out, so it is chunked on HTTP/1.1 and ended by the
//! close on HTTP/1.0; its bytes are those of a list that is rendered whole. The next page is read
//! when the connection has room for it. What goes wrong after the head breaks the body off before
//! the list is closed: the framing of HTTP/1.1 tells, and it never is well-formed JSON.

use std::{fmt, pin::Pin};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, future, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::{Body, Broken};
use crate::{
    django::{json::ListWriter, negotiation::Renderer, pages},
    value::Value,
};

/// The items of a list, some at a time.
pub struct Listing(Pin<Box<dyn Stream<Item = Result<Vec<Value>, Broken>> + Send>>);

impl Listing {
    #[must_use]
    pub fn new(items: impl Stream<Item = Result<Vec<Value>, Broken>> + Send + 'static) -> Self {
        Listing(Box::pin(items))
    }

    /// The list in the form that was negotiated. `head` is what comes before the JSON on a page
    /// for people.
    #[must_use]
    pub fn body(self, renderer: Renderer, head: String) -> Body {
        let mut list = match renderer {
            Renderer::Json { indent: None } => ListWriter::utf8(),
            Renderer::Json { indent: Some(n) } => ListWriter::pretty(n),
            Renderer::Html => ListWriter::pretty(4),
        };
        let mut head = Some(head).filter(|_| renderer == Renderer::Html);
        let items = self.0.map(|items| items.map(Some));
        let steps = items.chain(stream::once(future::ready(Ok(None))));
        let frames = steps.map(move |step| {
            let (step, mut json) = (step?, Vec::new());
            match &step {
                Some(items) => list.write(&mut json, items),
                None => list.end(&mut json),
            }
            if renderer == Renderer::Html {
                let mut page = head.take().unwrap_or_default();
                page += &pages::escape(&String::from_utf8_lossy(&json));
                if step.is_none() {
                    page += pages::READABLE_PAGE_END;
                }
                json = page.into_bytes();
            }
            Ok(Frame::data(Bytes::from(json)))
        });
        Body::Listing(StreamBody::new(frames).boxed_unsync())
    }
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listing")
    }
}
