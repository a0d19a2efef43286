//! Uploads: read, and written.

use rusqlite::{Connection, Row, Transaction, params, params_from_iter};

use super::{changes::places, row::time_at};
use crate::{
    chat::{Attachment, Message, PlacedAttachment},
    id::AttachmentId,
    python::datetime::to_sqlite,
    store::{
        attachment::{
            COLUMNS, Owned, may_be_sent, select, select_after, sides, size, stored, stored_sides,
        },
        commit::{AttachmentWrite, CommitOutcome},
        schema::layout::Layout,
    },
};

/// Returns those of some uploads that are there.
pub fn find(
    db: &Connection,
    layout: &Layout,
    ids: &[AttachmentId],
) -> rusqlite::Result<Vec<PlacedAttachment>> {
    let sql = select(layout, &format!("a.id IN ({})", places(ids.len())));
    db.prepare(&sql)?
        .query_map(params_from_iter(ids), attachment_row)?
        .collect()
}

/// Returns the uploads whose ids come after one.
pub fn after(
    db: &Connection,
    layout: &Layout,
    after: AttachmentId,
    most: usize,
) -> rusqlite::Result<Vec<PlacedAttachment>> {
    db.prepare(&select_after(layout, "?1", most))?
        .query_map([after], attachment_row)?
        .collect()
}

fn attachment_row(row: &Row<'_>) -> rusqlite::Result<PlacedAttachment> {
    let attachment = Attachment {
        id: row.get(0)?,
        uploader_id: row.get(1)?,
        message_id: row.get(2)?,
        name: row.get(3)?,
        media_type: row.get(4)?,
        size: size(row.get(5)?),
        dimensions: sides(row.get(6)?, row.get(7)?),
        has_thumbnail: row.get(8)?,
        created_at: time_at(row, 9)?,
    };
    let sender: Option<String> = row.get(11)?;
    let placed = PlacedAttachment::of(attachment, row.get(10)?, sender.as_deref());
    Ok(placed)
}

/// Changes the table of uploads.
pub fn write(db: &Transaction<'_>, write: &AttachmentWrite) -> rusqlite::Result<CommitOutcome> {
    match write {
        AttachmentWrite::Add(new, quota) => return add(db, new, *quota),
        AttachmentWrite::Abandon(ids) => {
            let sql = format!(
                "UPDATE chatferry_attachments SET message_id = id WHERE message_id IS NULL \
                 AND id IN ({})",
                places(ids.len())
            );
            db.prepare_cached(&sql)?.execute(params_from_iter(ids))?;
        }
        AttachmentWrite::Forget(ids) => {
            let all = places(ids.len());
            let sql = format!("DELETE FROM chatferry_attachments WHERE id IN ({all})");
            db.prepare_cached(&sql)?.execute(params_from_iter(ids))?;
        }
    }
    Ok(CommitOutcome::Stored)
}

fn add(db: &Transaction<'_>, new: &Attachment, quota: u64) -> rusqlite::Result<CommitOutcome> {
    let sum = "SELECT COALESCE(SUM(size), 0) FROM chatferry_attachments \
               WHERE uploader_id = ?1 AND id <> ?2";
    let taken = db
        .prepare_cached(sum)?
        .query_row(params![new.uploader_id, new.id], |row| row.get(0))?;
    if size(taken).saturating_add(new.size) > quota {
        return Ok(CommitOutcome::Full);
    }
    let [width, height] = stored_sides(new);
    let sql = format!(
        "INSERT INTO chatferry_attachments ({COLUMNS}) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING"
    );
    db.prepare_cached(&sql)?.execute(params![
        new.id,
        new.uploader_id,
        new.message_id,
        new.name,
        new.media_type,
        stored(new.size),
        width,
        height,
        new.has_thumbnail,
        to_sqlite(new.created_at)
    ])?;
    Ok(CommitOutcome::Stored)
}

/// Returns whether a message may be stored with these uploads.
pub fn are_free(
    db: &Transaction<'_>,
    message: &Message,
    ids: &[AttachmentId],
) -> rusqlite::Result<bool> {
    let sql = format!(
        "SELECT uploader_id, message_id FROM chatferry_attachments WHERE id IN ({})",
        places(ids.len())
    );
    let found: Vec<Owned> = db
        .prepare_cached(&sql)?
        .query_map(params_from_iter(ids), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(may_be_sent(&found, message, ids))
}

/// Gives uploads to a message.
pub fn send(db: &Transaction<'_>, message: &Message, ids: &[AttachmentId]) -> rusqlite::Result<()> {
    let set = "UPDATE chatferry_attachments SET message_id = ?1 WHERE id = ?2";
    let mut set = db.prepare_cached(set)?;
    for id in ids {
        set.execute(params![message.id, id])?;
    }
    Ok(())
}
