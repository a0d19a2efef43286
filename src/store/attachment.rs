//! Parts that the statements about uploads share.

use super::schema::layout::Layout;
use crate::{
    chat::{Attachment, Message},
    id::{AttachmentId, MessageId},
};

/// Columns of `chatferry_attachments`, in the order in which they are written and read.
pub const COLUMNS: &str = "id, uploader_id, message_id, name, media_type, size, width, height, \
                           has_thumbnail, created_at";

/// Returns the statement that reads uploads with the conversation and the sender of their message,
/// unless it is deleted. `condition` names the table `a`.
pub fn select(layout: &Layout, condition: &str) -> String {
    let columns = COLUMNS.replace(", ", ", a.");
    format!(
        "SELECT a.{columns}, m.conversation_id, m.sender_id FROM chatferry_attachments AS a \
         LEFT JOIN {} AS m ON m.id = a.message_id AND NOT m.is_deleted WHERE {condition}",
        layout.messages
    )
}

/// Returns the statement by which one upload after the other is looked at, `most` of them; `after` is
/// an id as SQL.
pub fn select_after(layout: &Layout, after: &str, most: usize) -> String {
    let condition = format!("a.id > {after} ORDER BY a.id LIMIT {most}");
    select(layout, &condition)
}

/// Returns a size or a side as the table holds it.
pub fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns the sides of an image as the table holds them: 0 for what is none.
pub fn stored_sides(attachment: &Attachment) -> [i64; 2] {
    let (width, height) = attachment.dimensions.unwrap_or_default();
    [width, height].map(i64::from)
}

/// Returns the sides of an image from their columns.
pub fn sides(width: i64, height: i64) -> Option<(u32, u32)> {
    let sides = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    (sides != (0, 0)).then_some(sides)
}

/// Returns a size from its column.
pub fn size(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or_default()
}

/// An upload that a message is to be stored with: its uploader, and the message that has it.
pub type Owned = (String, Option<MessageId>);

/// Returns whether these are all of the uploads that a message names, and may be sent with it.
pub fn may_be_sent(found: &[Owned], message: &Message, ids: &[AttachmentId]) -> bool {
    let is_free = |(uploader, sent): &Owned| {
        *uploader == message.sender_id && sent.is_none_or(|it| it == message.id)
    };
    found.len() == ids.len() && found.iter().all(is_free)
}
