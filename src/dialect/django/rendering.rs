//! Documents in the form that was negotiated: compact or indented JSON, or a page for people.

use super::{
    negotiation::Renderer,
    pages,
    views::parts::{ReadError, RowSource, Rows},
};
use crate::{
    http::document::{self, DocumentStep},
    python::json::PartWriter,
};

/// The rows of a document, and how far they have been written.
#[derive(Clone)]
pub struct Rendered {
    source: RowSource,
    json: PartWriter,
    /// Head of the page before the JSON, if it has not been written.
    page_head: String,
    is_page: bool,
}

impl Rendered {
    /// `page_head` is what comes before the JSON on a page for people.
    #[must_use]
    pub fn new(source: RowSource, renderer: Renderer, page_head: String) -> Self {
        let is_page = renderer == Renderer::Html;
        Rendered {
            source,
            json: match renderer {
                Renderer::Json { indent: None } => PartWriter::utf8(),
                Renderer::Json { indent: Some(n) } => PartWriter::pretty(n),
                Renderer::Html => PartWriter::pretty(4),
            },
            page_head: if is_page { page_head } else { String::new() },
            is_page,
        }
    }

    fn render(&mut self, rows: &Rows) -> Vec<u8> {
        let mut json = Vec::new();
        for part in &rows.parts {
            self.json.write(&mut json, part);
        }
        if !self.is_page {
            return json;
        }
        let mut page = std::mem::take(&mut self.page_head);
        page += &pages::escape(&String::from_utf8_lossy(&json));
        if rows.is_last {
            page += pages::READABLE_PAGE_END;
        }
        page.into_bytes()
    }
}

impl document::DocumentSource for Rendered {
    type Error = ReadError;

    async fn next(&mut self) -> Result<DocumentStep, ReadError> {
        let rows = self.source.next().await?;
        Ok(DocumentStep {
            bytes: self.render(&rows),
            rows: rows.count,
            is_last: rows.is_last,
        })
    }
}
