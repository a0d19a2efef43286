//! Tells a socket a history that does not fit one page: one message, a fragment for each page.
//!
//! The next page is read when the socket has taken most of what came before, so that a socket
//! holds two pages at most, however long the history and however slow the client. Events of the
//! conversation wait in the socket's queue meanwhile, within its bounds, and control frames go
//! between the fragments.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::protocol::{LongHistory, Place};
use crate::{
    chat::Message,
    limits::Meter,
    store::{StoreError, history::Pages},
};

/// The history that a socket gets first.
pub enum FirstFrames {
    /// Whole.
    Frame(Bytes),
    /// In fragments, which are still to be read.
    Telling(HistoryRest),
}

/// Rest of a history that is still to be sent; nothing by default.
#[derive(Default)]
pub struct HistoryRest(Option<Box<Telling>>);

impl HistoryRest {
    #[must_use]
    pub fn new(pages: Pages, text: Box<dyn LongHistory>, meter: Meter) -> Self {
        HistoryRest(Some(Box::new(Telling {
            meter,
            pages: Box::pin(pages.stream()),
            text: Some(text),
            is_reading: false,
        })))
    }

    #[must_use]
    pub fn is_told(&self) -> bool {
        self.0.is_none()
    }

    /// Returns whether to go on while so many frames wait to be written: one page may wait while
    /// the next is read. A page that is being read is waited for, whatever the client does: the
    /// read holds a connection to the database.
    #[must_use]
    pub fn wants_page(&self, waiting: usize) -> bool {
        let telling = self.0.as_ref();
        telling.is_some_and(|telling| telling.is_reading || waiting < 2)
    }

    /// Returns the next fragment; `None` after the last. May be cancelled.
    ///
    /// # Errors
    /// When the store cannot be read: the message stays without an end.
    pub async fn next(&mut self, place: &impl Place) -> Option<Result<Bytes, StoreError>> {
        self.0.as_mut()?.next(place).await
    }
}

/// A history on its way into a socket.
struct Telling {
    /// Of the client, whose rows are counted.
    meter: Meter,
    pages: Pin<Box<dyn Stream<Item = Result<Vec<Message>, StoreError>> + Send>>,
    /// `None` once the last fragment has been made.
    text: Option<Box<dyn LongHistory>>,
    is_reading: bool,
}

impl Telling {
    async fn next(&mut self, place: &impl Place) -> Option<Result<Bytes, StoreError>> {
        self.text.as_ref()?;
        self.is_reading = true;
        let page = self.pages.next().await;
        self.is_reading = false;
        match page {
            Some(Ok(messages)) => {
                place.is_shown(&messages);
                self.meter.charge_rows(messages.len());
                let text = self.text.as_mut()?;
                Some(Ok(text.fragment(&messages)))
            }
            Some(Err(error)) => Some(Err(error)),
            None => self.text.take().map(|text| Ok(text.end())),
        }
    }
}
