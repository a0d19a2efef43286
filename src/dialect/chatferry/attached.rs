//! Attachments in the text of a message.
//!
//! The table of messages is Django's and has no column for them, so a message says in its text what it
//! has: behind what its sender wrote comes a line for each file, a link as Markdown writes it. Clients
//! of Django's protocol show these lines. Every process, Django and the layer pass them on without
//! knowing of them; clients of ours get them apart. A line that a sender writes without an upload names
//! nothing that can be read: the table of uploads decides what there is, and who may read it.

use std::borrow::Cow;

use serde::Serialize;
use uuid::Uuid;

use super::frames::Shown;
use crate::{
    app::App,
    chat::{Attachment, Message},
    files::media,
    id::{AttachmentId, ConversationId, MessageId},
    service::ChatError,
};

/// Most attachments that a message may name, whatever the settings allow.
pub const ATTACHMENTS_MAX: usize = 32;

/// Kinds of messages with attachments, which Django's table knows: images only, or any files.
const IMAGE: &str = "image";
const FILE: &str = "file";

/// An attachment as clients see it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct AttachmentView<'a> {
    pub id: Shown<AttachmentId>,
    pub name: &'a str,
    #[serde(rename = "type")]
    pub media_type: &'a str,
    pub size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
}

impl<'a> AttachmentView<'a> {
    #[must_use]
    pub fn of(attachment: &'a Attachment) -> Self {
        AttachmentView {
            id: Shown(attachment.id),
            name: &attachment.name,
            media_type: &attachment.media_type,
            size: attachment.size,
            width: attachment.dimensions.map(|it| it.0),
            height: attachment.dimensions.map(|it| it.1),
        }
    }
}

/// The text of a message that is to be stored with attachments.
pub struct AttachedText {
    pub content: String,
    pub kind: &'static str,
}

/// Returns the text of a message with these uploads of its sender.
///
/// # Errors
/// When one of them cannot be sent with it.
pub async fn compose(
    app: &App,
    (sender, message): (&str, MessageId),
    caption: &str,
    ids: &[AttachmentId],
) -> Result<AttachedText, ChatError> {
    let attachments = app
        .chat_with_groups
        .attachments_to_send(sender, message, ids)
        .await?;
    let prefix = app.config.api_prefix().ok_or(ChatError::Off)?;
    let lines = attachments.iter().map(|it| line(prefix.as_str(), it));
    let parts = Some(caption.to_owned()).filter(|it| !it.is_empty());
    let parts: Vec<String> = parts.into_iter().chain(lines).collect();
    let is_image = |it: &Attachment| media::is_picture(&it.media_type);
    let kind = if attachments.iter().all(is_image) {
        IMAGE
    } else {
        FILE
    };
    Ok(AttachedText {
        content: parts.join("\n"),
        kind,
    })
}

/// Returns new content for a message, which keeps its attachments.
///
/// # Errors
/// When the store cannot be read.
pub async fn recompose(
    app: &App,
    (conversation, message): (ConversationId, MessageId),
    caption: String,
) -> Result<String, ChatError> {
    let found = match app.chat_with_groups.message_in(conversation, message).await {
        Ok(found) => found,
        // The change itself says so.
        Err(ChatError::NoMessage) => return Ok(caption),
        Err(error) => return Err(error),
    };
    let kept = &found.content[lines_at(&found.message_type, &found.content)..];
    if kept.is_empty() {
        return Ok(caption);
    }
    Ok(format!("{caption}\n{}", kept.trim_start_matches('\n')))
}

fn line(prefix: &str, attachment: &Attachment) -> String {
    let Attachment {
        id,
        name,
        media_type,
        size,
        dimensions,
        ..
    } = attachment;
    let sides =
        dimensions.map_or_else(String::new, |(width, height)| format!(", {width}x{height}"));
    format!("[{name}]({prefix}attachments/{id}/file \"{media_type}, {size} bytes{sides}\")")
}

/// Splits the content of a message of this kind into what its sender wrote, and its attachments.
#[must_use]
pub fn split<'a>(kind: &str, content: &'a str) -> (&'a str, Vec<AttachmentView<'a>>) {
    let (caption, lines) = content.split_at(lines_at(kind, content));
    let views = lines.lines().filter_map(view);
    (caption, views.collect())
}

/// Returns the text of a message in which is searched: what its sender wrote, and the names of its
/// files.
#[must_use]
pub fn searched(message: &Message) -> Cow<'_, str> {
    let (caption, attachments) = split(&message.message_type, &message.content);
    if attachments.is_empty() {
        return caption.into();
    }
    let names = attachments.iter().map(|it| it.name);
    let parts: Vec<&str> = [caption].into_iter().chain(names).collect();
    parts.join("\n").into()
}

/// Returns where the lines of the attachments begin, with the line break before them.
fn lines_at(kind: &str, content: &str) -> usize {
    let mut end = content.len();
    if kind != IMAGE && kind != FILE {
        return end;
    }
    for _ in 0..ATTACHMENTS_MAX {
        let begin = content[..end].rfind('\n');
        let line = &content[begin.map_or(0, |begin| begin + 1)..end];
        if view(line).is_none() {
            break;
        }
        match begin {
            Some(begin) => end = begin,
            None => return 0,
        }
    }
    end
}

/// Reads a line as [`line()`] writes it.
fn view(line: &str) -> Option<AttachmentView<'_>> {
    let (target, title) = line.strip_suffix("\")")?.rsplit_once(" \"")?;
    let (name, address) = target.strip_prefix('[')?.rsplit_once("](")?;
    let id = address.strip_suffix("/file")?.rsplit('/').next()?;
    let mut parts = title.split(", ");
    let media_type = parts.next()?;
    let size = parts.next()?.strip_suffix(" bytes")?.parse().ok()?;
    let sides = match parts.next() {
        None => None,
        Some(sides) => {
            let (width, height) = sides.split_once('x')?;
            Some((width.parse().ok()?, height.parse().ok()?))
        }
    };
    Some(AttachmentView {
        id: Shown(Uuid::try_parse(id).ok()?.into()),
        name,
        media_type,
        size,
        width: sides.map(|it| it.0),
        height: sides.map(|it| it.1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::datetime::Timestamp;

    fn attachment(name: &str, dimensions: Option<(u32, u32)>) -> Attachment {
        Attachment {
            id: Uuid::from_u128(7).into(),
            uploader_id: "alice".to_owned(),
            message_id: None,
            name: name.to_owned(),
            media_type: "image/png".to_owned(),
            size: 1234,
            dimensions,
            has_thumbnail: true,
            created_at: Timestamp::from_micros(0),
        }
    }

    #[test]
    fn what_is_written_is_read_again_whatever_the_name() {
        for name in [
            "a.png",
            "a](b \"c\")",
            "사진 [1].png",
            "x/file \"image/png, 1 bytes\"",
        ] {
            for dimensions in [None, Some((800, 600))] {
                let sent = attachment(name, dimensions);
                let text = line("/api/v1/", &sent);
                assert_eq!(view(&text), Some(AttachmentView::of(&sent)), "{text}");
                let content = format!("Look\n\nhere\n{text}\n{text}");
                let (caption, views) = split("image", &content);
                assert_eq!((caption, views.len()), ("Look\n\nhere", 2));
                assert_eq!(split("file", &text).0, "");
            }
        }
    }

    #[test]
    fn other_text_stays_as_it_is() {
        let sent = line("/api/v1/", &attachment("a.png", None));
        for (kind, content) in [
            ("text", sent.as_str()),
            ("image", "https://example.com/cat.png"),
            ("image", ""),
            ("file", "[a](b)\n"),
            ("file", &format!("{sent}\n")),
            ("file", &format!("{sent} and more")),
        ] {
            assert_eq!(
                split(kind, content),
                (content, Vec::new()),
                "{kind} {content}"
            );
        }
    }
}
