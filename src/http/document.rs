//! An answer that is read from the store while it is sent, and so never held whole.
//!
//! An answer that has come to its end after its first step is sent with its length. The length of a
//! longer one is not known when its head goes out, so it is chunked on HTTP/1.1 and ended by the
//! close on HTTP/1.0; its bytes are those of a value that is rendered whole. The next step is read
//! when the connection has room for it and there is memory for it ([`Answers`]). What goes wrong
//! after the head breaks the body off before the value is closed: the framing of HTTP/1.1 tells, and
//! it never is well-formed JSON.
//!
//! `HEAD` tells the length that `GET` would have, for which the answer is read and counted; one long
//! answer at a time, as nothing of it is sent.

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::{
    Body, Broken,
    api::parts::{Source, Step},
};
use crate::{
    django::{negotiation::Renderer, pages},
    limits::{
        Meter,
        memory::{Answers, NoRoom, Share},
    },
    python::json::PartWriter,
};

/// Why a document cannot be answered, before its head has gone.
#[derive(Debug)]
pub enum Unopened {
    Broken(Broken),
    NoRoom(NoRoom),
}

impl From<Broken> for Unopened {
    fn from(broken: Broken) -> Self {
        Unopened::Broken(broken)
    }
}

/// A document on its way to one client.
pub struct Document {
    source: Source,
    rendering: Rendering,
    meter: Meter,
    share: Share,
    /// Bytes of the largest step so far, for which room is taken before the next one is read.
    size: usize,
    is_over: bool,
}

impl Document {
    /// `page_head` is what comes before the JSON on a page for people.
    #[must_use]
    pub fn new(
        source: Source,
        renderer: Renderer,
        page_head: String,
        meter: &Meter,
        answers: &Answers,
    ) -> Self {
        Document {
            source,
            rendering: Rendering::new(renderer, page_head),
            meter: meter.clone(),
            share: Share::new(meter.answer_pools(), answers.pool.clone()),
            size: 0,
            is_over: false,
        }
    }

    /// The body, of which the first step has been read.
    ///
    /// # Errors
    /// [`Unopened`]
    pub async fn open(mut self) -> Result<Body, Unopened> {
        let mut lease = self.share.nothing();
        let bytes = self.step().await?;
        lease.fit(bytes.len()).map_err(Unopened::NoRoom)?;
        self.size = bytes.len();
        let first = lease.held_by(bytes);
        if self.is_over {
            return Ok(Body::new(first));
        }
        Ok(self.stream(first))
    }

    /// The number of bytes that it has in all.
    ///
    /// # Errors
    /// [`Unopened::Broken`]
    pub async fn length(mut self, answers: &Answers) -> Result<u64, Unopened> {
        let mut length = self.step().await?.len();
        if !self.is_over {
            let _counting = answers.counting.acquire().await;
            while !self.is_over {
                length += self.step().await?.len();
            }
        }
        Ok(u64::try_from(length).unwrap_or(u64::MAX))
    }

    fn stream(self, first: Bytes) -> Body {
        let frames = stream::try_unfold((self, Some(first)), |(mut rest, first)| async {
            let frame = match first {
                Some(first) => first,
                None if rest.is_over => return Ok(None),
                None => rest.next().await.inspect_err(|error| {
                    tracing::error!(%error, "an answer broke off");
                })?,
            };
            Ok::<_, Broken>(Some((Frame::data(frame), (rest, None))))
        });
        Body::Stream(StreamBody::new(frames).boxed_unsync())
    }

    /// The bytes of the next step, once there is room for them. A step that turns out to be larger
    /// than those before, where no more room is left, is let go of and read again when there is: an
    /// answer that waits holds neither room nor bytes.
    async fn next(&mut self) -> Result<Bytes, Broken> {
        loop {
            let mut lease = self.share.take(self.size).await;
            let (source, rendering) = (self.source.clone(), self.rendering.clone());
            let bytes = self.step().await?;
            let fits = lease.fit(bytes.len()).is_ok();
            self.size = self.size.max(bytes.len());
            if fits {
                return Ok(lease.held_by(bytes));
            }
            (self.source, self.rendering, self.is_over) = (source, rendering, false);
        }
    }

    /// Reads and renders the next step.
    async fn step(&mut self) -> Result<Vec<u8>, Broken> {
        let step = self.source.next().await?;
        self.meter.charge_rows(step.rows);
        self.is_over = step.is_last;
        Ok(self.rendering.render(&step))
    }
}

/// The form that was negotiated, and how far it has been written.
#[derive(Clone)]
struct Rendering {
    json: PartWriter,
    /// Head of the page before the JSON, if it has not been written.
    page_head: String,
    is_page: bool,
}

impl Rendering {
    fn new(renderer: Renderer, page_head: String) -> Self {
        let is_page = renderer == Renderer::Html;
        Rendering {
            json: match renderer {
                Renderer::Json { indent: None } => PartWriter::utf8(),
                Renderer::Json { indent: Some(n) } => PartWriter::pretty(n),
                Renderer::Html => PartWriter::pretty(4),
            },
            page_head: if is_page { page_head } else { String::new() },
            is_page,
        }
    }

    fn render(&mut self, step: &Step) -> Vec<u8> {
        let mut json = Vec::new();
        for part in &step.parts {
            self.json.write(&mut json, part);
        }
        if !self.is_page {
            return json;
        }
        let mut page = std::mem::take(&mut self.page_head);
        page += &pages::escape(&String::from_utf8_lossy(&json));
        if step.is_last {
            page += pages::READABLE_PAGE_END;
        }
        page.into_bytes()
    }
}
