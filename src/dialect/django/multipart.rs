//! `multipart/form-data` as Django reads it.
//!
//! Stands in for `django/http/multipartparser.py` and the names of `django/core/files`. What an
//! uploaded file holds is thrown away: the API keeps no files, only their names have an effect.

mod file_name;
mod stream;
mod twisted;

use super::forms::{Charset, MAX_FIELDS};
use super::header::Header;
use crate::python::base64;
use crate::python::pystr::strip_str;
use stream::{FormPart, Parts, find};
pub use twisted::is_refused as is_refused_by_twisted;

/// `DATA_UPLOAD_MAX_MEMORY_SIZE`, bytes: names and values of all text fields together. Test:
/// `fields_are_suspicious_past_two_and_a_half_megabytes`.
const MAX_FIELD_BYTES: usize = 2_621_440;
/// `DATA_UPLOAD_MAX_NUMBER_FILES`.
const MAX_FILES: usize = 100;
/// Most bytes of the head of a part. Test: `a_head_must_fit_in_1024_bytes`.
const MAX_HEAD_BYTES: usize = 1024;
/// Parts without a name count as fields too, and there is one before and one after the others.
/// Test: `a_thousand_fields_and_a_hundred_files_are_taken_and_no_more`.
const MAX_COUNTED_FIELDS: usize = MAX_FIELDS + 2;
const MAX_BOUNDARY_LEN: usize = 201;

/// Fields and files in their order, both with repeated names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Multipart {
    pub fields: Vec<(String, String)>,
    /// Name of the field and of the file.
    pub files: Vec<(String, String)>,
}

/// Why a body is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// Django's `MultiPartParserError`, sent to the client.
    #[error("{0}")]
    Malformed(String),
    /// Django's `SuspiciousOperation`: too many or too large fields, or too many files. Answered
    /// with the bare 400 page.
    #[error("Bad Request (400)")]
    Suspicious,
}

/// Reads a body; `charset` is what field names and values are in.
///
/// # Errors
/// See [`MultipartError`]. A body that ends too early is no error: what is missing is missing.
/// Test: `without_a_closing_boundary_the_last_value_keeps_its_line_break`.
pub fn parse(
    content_type: &str,
    body: &[u8],
    charset: Charset<'_>,
) -> Result<Multipart, MultipartError> {
    let separator = format!("--{}", boundary(content_type)?);
    let mut parts = Parts::new(body, separator.as_bytes());
    let mut form = MultipartForm {
        charset,
        multipart: Multipart::default(),
        counted_fields: 0,
        counted_files: 0,
        field_bytes: 0,
        open_file: None,
    };
    while let Some(mut part) = parts.next_part() {
        form.take(&mut part)?;
    }
    Ok(form.multipart)
}

fn boundary(content_type: &str) -> Result<String, MultipartError> {
    let malformed = |text: String| Err(MultipartError::Malformed(text));
    if !content_type.starts_with("multipart/") {
        return malformed(format!("Invalid Content-Type: {content_type}"));
    }
    if !content_type.is_ascii() {
        return malformed(format!(
            "Invalid non-ASCII Content-Type in multipart: {content_type}"
        ));
    }
    let header = Header::parse(content_type).unwrap_or_default();
    match header.param("boundary") {
        Some(boundary) if is_boundary(boundary) => Ok(boundary.to_owned()),
        other => malformed(format!(
            "Invalid boundary in multipart: {}",
            other.unwrap_or("None")
        )),
    }
}

/// `[ -~]{0,200}[!-~]`
fn is_boundary(boundary: &str) -> bool {
    boundary.len() <= MAX_BOUNDARY_LEN
        && boundary.bytes().all(|b| matches!(b, b' '..=b'~'))
        && boundary.bytes().last().is_some_and(|b| b != b' ')
}

/// The head of a part; the last line of a name counts.
#[derive(Default)]
struct Head {
    disposition: Option<Header>,
    is_file: bool,
    is_base64: bool,
}

impl Head {
    /// Reads the head and leaves the part at its content. A part without one has no disposition.
    fn read(part: &mut FormPart) -> Result<Self, MultipartError> {
        let chunk = part.read(MAX_HEAD_BYTES);
        let Some(end) = find(chunk, b"\r\n\r\n") else {
            part.unread(chunk.len());
            if chunk.len() < MAX_HEAD_BYTES {
                return Ok(Head::default());
            }
            let text = "Request max total header size exceeded.";
            return Err(MultipartError::Malformed(text.to_owned()));
        };
        part.unread(chunk.len() - end - 4);
        let mut head = Head::default();
        let mut rest = chunk.get(..end).unwrap_or_default();
        while let Some(line_end) = find(rest, b"\r\n") {
            let (line, tail) = rest.split_at(line_end);
            head.read_line(line);
            rest = tail.strip_prefix(b"\r\n").unwrap_or(tail);
        }
        head.read_line(rest);
        Ok(head)
    }

    /// Lines that are no header are skipped.
    fn read_line(&mut self, line: &[u8]) {
        let Ok(Ok(header)) = std::str::from_utf8(line).map(Header::parse) else {
            return;
        };
        match header.main.split_once(':') {
            Some(("content-disposition", _)) => {
                self.is_file = header
                    .param("filename")
                    .is_some_and(|name| !name.is_empty());
                self.disposition = Some(header);
            }
            Some(("content-transfer-encoding", value)) => {
                self.is_base64 = strip_str(value) == "base64";
            }
            _ => {}
        }
    }
}

/// The form while it is read.
struct MultipartForm<'a> {
    charset: Charset<'a>,
    multipart: Multipart,
    counted_fields: usize,
    counted_files: usize,
    field_bytes: usize,
    /// A file is only taken when another part follows it, be it the one after the last boundary.
    /// Test: `a_file_that_is_cut_off_is_none`.
    open_file: Option<(String, String)>,
}

impl MultipartForm<'_> {
    fn take(&mut self, part: &mut FormPart) -> Result<(), MultipartError> {
        let head = Head::read(part)?;
        self.multipart.files.extend(self.open_file.take());
        if !head.is_file {
            self.counted_fields += 1;
            if self.counted_fields > MAX_COUNTED_FIELDS {
                return Err(MultipartError::Suspicious);
            }
        }
        let Some(disposition) = &head.disposition else {
            return Ok(());
        };
        let Some(name) = disposition.param("name") else {
            return Ok(());
        };
        let name = self.charset.decode(stripped(name.as_bytes()));
        if head.is_file {
            let file_name = disposition.param("filename").unwrap_or_default();
            self.take_file(name, file_name, part, head.is_base64)
        } else {
            self.take_field(name, part, head.is_base64)
        }
    }

    fn take_field(
        &mut self,
        name: String,
        part: &mut FormPart,
        is_base64: bool,
    ) -> Result<(), MultipartError> {
        let raw = part.read(MAX_FIELD_BYTES.saturating_sub(self.field_bytes));
        self.field_bytes += raw.len() + name.chars().count() + 2;
        if self.field_bytes > MAX_FIELD_BYTES {
            return Err(MultipartError::Suspicious);
        }
        let decoded = if is_base64 {
            base64::decode(raw).ok()
        } else {
            None
        };
        let value = self.charset.decode(decoded.as_deref().unwrap_or(raw));
        self.multipart.fields.push((name, value));
        Ok(())
    }

    fn take_file(
        &mut self,
        name: String,
        file_name: &str,
        part: &mut FormPart,
        is_base64: bool,
    ) -> Result<(), MultipartError> {
        self.counted_files += 1;
        if self.counted_files > MAX_FILES {
            return Err(MultipartError::Suspicious);
        }
        let Some(file_name) = file_name::sanitize(&self.charset.decode(file_name.as_bytes()))
        else {
            return Ok(());
        };
        while let Some(chunk) = part.next_chunk() {
            if is_base64 {
                check_base64(chunk, part)?;
            }
        }
        self.open_file = Some((name, file_name));
        Ok(())
    }
}

/// Django decodes a file chunk by chunk and reads on until a chunk has whole groups. Test:
/// `a_malformed_base64_file_is_refused`.
fn check_base64(chunk: &[u8], part: &mut FormPart) -> Result<(), MultipartError> {
    let is_digit = |b: &u8| !is_space(*b);
    let mut digits: Vec<u8> = chunk.iter().copied().filter(is_digit).collect();
    while !digits.len().is_multiple_of(4) {
        let more = part.read(4 - digits.len() % 4);
        if more.is_empty() {
            break;
        }
        digits.extend(more.iter().copied().filter(is_digit));
    }
    match base64::decode(&digits) {
        Ok(_) => Ok(()),
        Err(_) => Err(MultipartError::Malformed(
            "Could not decode base64 data.".to_owned(),
        )),
    }
}

/// `bytes.strip()`
fn stripped(bytes: &[u8]) -> &[u8] {
    let Some(start) = bytes.iter().position(|&b| !is_space(b)) else {
        return &[];
    };
    let end = bytes.iter().rposition(|&b| !is_space(b)).unwrap_or(start);
    bytes.get(start..=end).unwrap_or_default()
}

/// `bytes.isspace()`: unlike Rust's, with the vertical tab.
fn is_space(byte: u8) -> bool {
    byte == 0x0b || byte.is_ascii_whitespace()
}

#[cfg(test)]
mod tests;
