//! `attachments`: uploaded, linked to, and read.

use std::fmt::Write as _;

use futures_util::{StreamExt, TryStreamExt, stream};
use http_body_util::StreamBody;
use hyper::{
    StatusCode,
    body::{Frame, Incoming},
    header::{
        ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, IF_RANGE,
        LOCATION, RANGE,
    },
};

use super::{
    super::attached::AttachmentView,
    call::{Call, nothing},
    problem::{Problem, ProblemCode},
    views::{LinkView, LinksView},
};
use crate::{
    app::App,
    auth::identity::Credentials,
    chat::Attachment,
    config::Prefix,
    files::{ByteRange, FileError, Files, Variant, link::Link, media, upload::UploadError},
    http::{Body, Response, extract::Request, reply::with_body},
    id::AttachmentId,
    limits::LimitedAction,
    service::{AttachmentError, ChatError},
};

/// Most attachments that one request asks links to.
const LINKS_MAX: usize = 100;

/// Type that a page of another site can send only if it was let. The type of the file is found by its
/// content.
const BYTES: &str = "application/octet-stream";

/// `POST attachments`: keeps the bytes of the body for the user, to be sent with a message; 201.
pub async fn upload(call: Call<'_>, body: Option<Incoming>) -> Result<Response, Problem> {
    let sent = call.request.header(&CONTENT_TYPE).unwrap_or_default();
    if !sent.trim().eq_ignore_ascii_case(BYTES) {
        let why = "the body must be application/octet-stream";
        return Err(Problem::new(ProblemCode::UnsupportedMediaType, why));
    }
    let user = call.user()?;
    let name = call.parameter("name").unwrap_or_default();
    call.allow(LimitedAction::Message)?;
    let body = body.ok_or_else(|| Problem::bad("a file is missing"))?;
    let attachment = call.app.chat_with_groups.upload(&user, &name, body).await?;
    call.json(StatusCode::CREATED, &AttachmentView::of(&attachment))
}

/// `GET attachments`: links to those of some attachments that the caller may read.
pub async fn links(call: Call<'_>) -> Result<Response, Problem> {
    let ids = call.ids("ids", LINKS_MAX)?;
    call.allow_rows()?;
    let chat = &call.app.chat_with_groups;
    let found = chat.readable_attachments(call.caller(), &ids).await?;
    call.charge_rows(found.len());
    let (files, prefix) = place(call.app)?;
    let links = found.iter().map(|attachment| LinkView {
        url: address(files, &prefix, attachment.id, Variant::Whole),
        thumbnail_url: attachment
            .has_thumbnail
            .then(|| address(files, &prefix, attachment.id, Variant::Thumbnail)),
        expires_s: files.links.life_s(),
        attachment: AttachmentView::of(attachment),
    });
    call.ok(&LinksView {
        attachments: links.collect(),
    })
}

/// `DELETE attachments/{id}`: deletes an upload of the user's that has not been sent; 204.
pub async fn delete(call: Call<'_>, id: AttachmentId) -> Result<Response, Problem> {
    let user = call.user()?;
    call.allow(LimitedAction::Message)?;
    let chat = &call.app.chat_with_groups;
    chat.delete_upload(&user, id).await?;
    Ok(nothing())
}

/// `GET attachments/{id}/file`: leads to the file; 303.
pub async fn file(call: Call<'_>, id: AttachmentId) -> Result<Response, Problem> {
    let chat = &call.app.chat_with_groups;
    let found = chat.readable_attachments(call.caller(), &[id]).await?;
    let attachment = found.first().ok_or_else(missing)?;
    let (files, prefix) = place(call.app)?;
    let to = address(files, &prefix, attachment.id, Variant::Whole);
    let mut response = nothing();
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(to) = HeaderValue::try_from(to) {
        headers.insert(LOCATION, to);
    }
    Ok(response)
}

fn missing() -> ChatError {
    AttachmentError::Missing.into()
}

fn place(app: &App) -> Result<(&Files, Prefix), ChatError> {
    let files = app.chat_with_groups.files().ok_or(ChatError::Off)?;
    Ok((files, app.config.api_prefix().ok_or(ChatError::Off)?))
}

fn address(files: &Files, prefix: &Prefix, id: AttachmentId, variant: Variant) -> String {
    let Link { until, signature } = files.links.sign(id, variant);
    let thumbnail = match variant {
        Variant::Whole => "",
        Variant::Thumbnail => "&thumbnail=1",
    };
    format!("{prefix}attachments/{id}/content?until={until}&signature={signature}{thumbnail}")
}

/// `GET attachments/{id}/content`: the file, or its thumbnail, to the holder of a link.
pub async fn content(app: &App, request: &Request, id: AttachmentId) -> Result<Response, Problem> {
    let asked = Credentials {
        headers: &request.headers,
        query: request.query.as_deref(),
    };
    let variant = match asked.parameter("thumbnail") {
        Some(_) => Variant::Thumbnail,
        None => Variant::Whole,
    };
    let until = asked.parameter("until").and_then(|it| it.parse().ok());
    let link = Link {
        until: until.unwrap_or_default(),
        signature: asked.parameter("signature").unwrap_or_default(),
    };
    let files = app.chat_with_groups.files().ok_or(ChatError::Off)?;
    let left_s = files.links.check(id, variant, &link);
    let ended = || Problem::new(ProblemCode::NoAttachment, "the link has ended, or is none");
    let left_s = left_s.ok_or_else(ended)?;
    let attachment = app.chat_with_groups.linked_attachment(id).await?;
    let tag = format!("\"{}\"", variant.name(id));
    let is_known = request
        .header(&IF_NONE_MATCH)
        .is_some_and(|known| known.contains(&tag));
    if is_known {
        let mut response = nothing();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        mark(&mut response, &tag, left_s);
        return Ok(response);
    }
    // The size of a thumbnail is not kept.
    let is_whole = variant == Variant::Whole;
    let range = if is_whole {
        range(request, &tag, attachment.size)?
    } else {
        None
    };
    let opened = files.read(id, variant, range).await;
    let opened = opened.map_err(|error| ChatError::from(UploadError::from(error)))?;
    let size = range.map_or(opened.size, |range| range.last - range.first + 1);
    let mut bytes = opened.bytes;
    let mut first = None;
    if !is_whole {
        let head = bytes.try_next().await;
        first = head.map_err(|error| ChatError::from(UploadError::from(error)))?;
    }
    let kind = match &first {
        // A JPEG or a PNG: its type is not kept.
        Some(head) => media::of(head, false),
        None => &attachment.media_type,
    };
    let frames = stream::iter(first.map(Ok)).chain(bytes);
    let frames = frames.map_ok(Frame::data);
    let frames = frames.inspect_err(|error: &FileError| {
        tracing::warn!(%error, "a file cannot be read to its end");
    });
    let kind = HeaderValue::try_from(kind).unwrap_or(HeaderValue::from_static(media::UNKNOWN));
    let body = Body::passed(StreamBody::new(frames));
    let mut response = with_body(StatusCode::OK, kind, body);
    mark(&mut response, &tag, left_s);
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, size.into());
    headers.insert(CONTENT_DISPOSITION, disposition(&attachment, is_whole));
    if is_whole {
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    if let Some(ByteRange { first, last }) = range {
        let range = format!("bytes {first}-{last}/{}", attachment.size);
        if let Ok(range) = HeaderValue::try_from(range) {
            headers.insert(CONTENT_RANGE, range);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// Adds the headers of every answer with a file: nothing in it is run, and caches of others do not keep
/// it.
fn mark(response: &mut Response, tag: &str, left_s: u64) {
    let headers = response.headers_mut();
    let policy = HeaderValue::from_static("sandbox; default-src 'none'");
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    let cache = format!("private, max-age={left_s}, immutable");
    for (name, value) in [(ETAG, tag), (CACHE_CONTROL, &cache)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

/// Returns `inline` for an image that every browser shows, else `attachment`, with the file's name.
fn disposition(attachment: &Attachment, is_whole: bool) -> HeaderValue {
    let is_shown = !is_whole || media::is_picture(&attachment.media_type);
    let way = if is_shown { "inline" } else { "attachment" };
    let mut value = format!("{way}; filename*=UTF-8''");
    for byte in attachment.name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            value.push(byte.into());
        } else {
            // A `String` takes all that is written.
            let _ = write!(value, "%{byte:02X}");
        }
    }
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("attachment"))
}

/// Returns the part of a file that a request asks for; `None` if it is all of it, or several parts.
///
/// # Errors
/// [`ProblemCode::NoRange`] if the file has no such part.
fn range(request: &Request, tag: &str, size: u64) -> Result<Option<ByteRange>, Problem> {
    let Some(asked) = request.header(&RANGE) else {
        return Ok(None);
    };
    if request.header(&IF_RANGE).is_some_and(|known| known != tag) {
        return Ok(None);
    }
    match AskedRange::of(&asked, size) {
        AskedRange::All => Ok(None),
        AskedRange::Part(range) => Ok(Some(range)),
        AskedRange::Outside => {
            let problem = Problem::new(ProblemCode::NoRange, "the file has no such part");
            Err(problem.of_size(size))
        }
    }
}

/// Bytes of a file that a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum AskedRange {
    /// It is no single range of bytes, which is ignored.
    All,
    Part(ByteRange),
    /// The file has none of them.
    Outside,
}

impl AskedRange {
    fn of(text: &str, size: u64) -> Self {
        let Some((first, last)) = bounds(text, size) else {
            return AskedRange::All;
        };
        if first >= size {
            return AskedRange::Outside;
        }
        let last = last.min(size - 1);
        AskedRange::Part(ByteRange { first, last })
    }
}

/// Returns the first and the last byte that a range names; the last may be behind the end, and the
/// first is if it names none.
fn bounds(text: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.trim().split_once('-')?;
    if first.is_empty() {
        let most: u64 = last.parse().ok()?;
        return Some((size - most.min(size), u64::MAX));
    }
    let first = first.parse().ok()?;
    let last = match last {
        "" => u64::MAX,
        last => last.parse().ok()?,
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_within_the_file() {
        for (text, first, last) in [
            ("bytes=0-4", 0, 4),
            ("bytes=5-", 5, 9),
            ("bytes=5-99", 5, 9),
            ("bytes=-3", 7, 9),
            ("bytes=-30", 0, 9),
        ] {
            let part = AskedRange::Part(ByteRange { first, last });
            assert_eq!(AskedRange::of(text, 10), part, "{text}");
        }
        for text in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(AskedRange::of(text, 10), AskedRange::Outside, "{text}");
        }
        for text in [
            "bytes=0-1,3-4",
            "bytes=4-3",
            "bytes=a-b",
            "items=0-1",
            "bytes=-",
        ] {
            assert_eq!(AskedRange::of(text, 10), AskedRange::All, "{text}");
        }
    }
}
