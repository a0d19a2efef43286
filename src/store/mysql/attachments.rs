//! Uploads: the statements, and their rows.

use mysql_async::Row;

use super::{
    query::{id, ids, quoted, time},
    row::Columns,
};
use crate::{
    chat::{Attachment, Message, PlacedAttachment},
    id::AttachmentId,
    store::{
        StoreError,
        attachment::{COLUMNS, Owned, select, select_after, sides, size, stored, stored_sides},
        schema::layout::Layout,
    },
};

/// Returns some uploads.
pub fn find(layout: &Layout, of: &[AttachmentId]) -> String {
    let condition = format!("a.id IN ({})", ids(of.iter().copied()));
    select(layout, &condition)
}

/// Returns the uploads whose ids come after one.
pub fn after(layout: &Layout, after: AttachmentId, most: usize) -> String {
    select_after(layout, &id(after), most)
}

/// # Errors
/// When the row is not what [`find`] or [`after`] ask for.
pub fn row(row: Row) -> Result<PlacedAttachment, StoreError> {
    let mut columns = Columns::from(row);
    let attachment = Attachment {
        id: columns.id()?,
        uploader_id: columns.take()?,
        message_id: columns.optional_id()?,
        name: columns.take()?,
        media_type: columns.take()?,
        size: size(columns.take()?),
        dimensions: sides(columns.take()?, columns.take()?),
        has_thumbnail: columns.take()?,
        created_at: columns.time()?,
    };
    let conversation = columns.optional_id()?;
    let sender: Option<String> = columns.take()?;
    let placed = PlacedAttachment::of(attachment, conversation, sender.as_deref());
    Ok(placed)
}

/// Returns the bytes that the other uploads of a user take.
pub fn taken(new: &Attachment) -> String {
    format!(
        "SELECT CAST(COALESCE(SUM(size), 0) AS SIGNED) FROM chatferry_attachments \
         WHERE uploader_id = {} AND id <> {}",
        quoted(&new.uploader_id),
        id(new.id)
    )
}

/// Adds an upload, unless an earlier try has.
pub fn add(new: &Attachment) -> String {
    let [width, height] = stored_sides(new);
    format!(
        "INSERT IGNORE INTO chatferry_attachments ({COLUMNS}) \
         VALUES ({}, {}, NULL, {}, {}, {}, {width}, {height}, {}, {})",
        id(new.id),
        quoted(&new.uploader_id),
        quoted(&new.name),
        quoted(&new.media_type),
        stored(new.size),
        new.has_thumbnail,
        time(new.created_at)
    )
}

pub fn abandon(of: &[AttachmentId]) -> String {
    format!(
        "UPDATE chatferry_attachments SET message_id = id WHERE message_id IS NULL AND id IN ({})",
        ids(of.iter().copied())
    )
}

pub fn forget(of: &[AttachmentId]) -> String {
    format!(
        "DELETE FROM chatferry_attachments WHERE id IN ({})",
        ids(of.iter().copied())
    )
}

/// Returns uploads that no other process sends or abandons until the transaction ends.
pub fn to_be_sent(of: &[AttachmentId]) -> String {
    format!(
        "SELECT uploader_id, message_id FROM chatferry_attachments WHERE id IN ({}) \
         ORDER BY id FOR UPDATE",
        ids(of.iter().copied())
    )
}

/// # Errors
/// When the row is not what [`to_be_sent`] asks for.
pub fn owned(row: Row) -> Result<Owned, StoreError> {
    let mut columns = Columns::from(row);
    Ok((columns.take()?, columns.optional_id()?))
}

/// Gives uploads to a message.
pub fn send(message: &Message, of: &[AttachmentId]) -> String {
    format!(
        "UPDATE chatferry_attachments SET message_id = {} WHERE id IN ({})",
        id(message.id),
        ids(of.iter().copied())
    )
}
