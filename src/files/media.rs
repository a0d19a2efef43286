//! The type of content, by its first bytes. A name or a header of the sender says nothing.
//!
//! Content that a browser would run is none of these types: HTML and SVG are text.

/// The type of content that is none of the others.
pub const UNKNOWN: &str = "application/octet-stream";

/// First bytes, and the type that they say. The first row that fits counts.
const MAGIC: &[(&[u8], &str)] = &[
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
];

/// Returns the type of content that begins so. `is_whole` if there is no more of it.
#[must_use]
pub fn of(head: &[u8], is_whole: bool) -> &'static str {
    let at = |place: usize, word: &[u8]| head.get(place..).is_some_and(|it| it.starts_with(word));
    if let Some((_, found)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        return found;
    }
    if at(0, b"RIFF") && at(8, b"WEBP") {
        return "image/webp";
    }
    if at(0, b"RIFF") && at(8, b"WAVE") {
        return "audio/wav";
    }
    if at(4, b"ftyp") {
        return if at(8, b"M4A") {
            "audio/mp4"
        } else if at(8, b"qt  ") {
            "video/quicktime"
        } else {
            "video/mp4"
        };
    }
    if is_text(head, is_whole) {
        "text/plain"
    } else {
        UNKNOWN
    }
}

/// Returns whether bytes are text in UTF-8, which may be cut within a character unless it is whole.
fn is_text(head: &[u8], is_whole: bool) -> bool {
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && !is_whole => {
            let end = error.valid_up_to();
            str::from_utf8(&head[..end]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let is_shown = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\x0c');
    valid.chars().all(is_shown)
}

/// Returns whether a browser shows it as an image and runs nothing in it.
#[must_use]
pub fn is_picture(media_type: &str) -> bool {
    matches!(
        media_type,
        "image/jpeg" | "image/png" | "image/gif" | "image/webp"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_known_by_its_first_bytes() {
        for (head, expected) in [
            (&b"\xff\xd8\xff\xe0\0\x10JFIF"[..], "image/jpeg"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
            (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
            (b"RIFF\x10\0\0\0WAVEfmt ", "audio/wav"),
            (b"\0\0\0\x20ftypisom", "video/mp4"),
            (b"%PDF-1.7", "application/pdf"),
            (b"<!doctype html><script>alert(1)</script>", "text/plain"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "text/plain"),
            ("안녕".as_bytes(), "text/plain"),
            (b"MZ\x90\0\x03", UNKNOWN),
            (b"\x1b[31mred", UNKNOWN),
        ] {
            assert_eq!(of(head, true), expected, "{head:?}");
        }
    }

    #[test]
    fn a_character_that_is_cut_is_text_only_if_more_may_follow() {
        let cut = &"안녕".as_bytes()[..4];
        assert_eq!(of(cut, false), "text/plain");
        assert_eq!(of(cut, true), UNKNOWN);
    }
}
