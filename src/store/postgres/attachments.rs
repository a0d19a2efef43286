//! Uploads: read, and written.

use tokio_postgres::{Error, Row};

use super::{
    connection::PostgresConnection, error::Fault, param::Params, pool::PostgresPool, row::time_at,
    time::Time,
};
use crate::{
    chat::{Attachment, Message, PlacedAttachment},
    id::AttachmentId,
    store::{
        StoreError,
        attachment::{
            COLUMNS, Owned, may_be_sent, select, select_after, sides, size, stored, stored_sides,
        },
        commit::{AttachmentWrite, CommitOutcome},
        schema::layout::Layout,
    },
};

/// Returns those of some uploads that are there.
pub async fn find(
    pool: &PostgresPool,
    layout: &Layout,
    ids: &[AttachmentId],
) -> Result<Vec<PlacedAttachment>, StoreError> {
    let sql = select(layout, "a.id = ANY($1)");
    let rows = pool.query(&sql, &[&ids]).await?;
    let found = rows.iter().map(attachment_row);
    Ok(found.collect::<Result<_, Error>>()?)
}

/// Returns the uploads whose ids come after one.
pub async fn after(
    pool: &PostgresPool,
    layout: &Layout,
    after: AttachmentId,
    most: usize,
) -> Result<Vec<PlacedAttachment>, StoreError> {
    let rows = pool
        .query(&select_after(layout, "$1", most), &[&after])
        .await?;
    let found = rows.iter().map(attachment_row);
    Ok(found.collect::<Result<_, Error>>()?)
}

fn attachment_row(row: &Row) -> Result<PlacedAttachment, Error> {
    let attachment = Attachment {
        id: row.try_get(0)?,
        uploader_id: row.try_get(1)?,
        message_id: row.try_get(2)?,
        name: row.try_get(3)?,
        media_type: row.try_get(4)?,
        size: size(row.try_get(5)?),
        dimensions: sides(row.try_get(6)?, row.try_get(7)?),
        has_thumbnail: row.try_get(8)?,
        created_at: time_at(row, 9)?,
    };
    let sender: Option<String> = row.try_get(11)?;
    let placed = PlacedAttachment::of(attachment, row.try_get(10)?, sender.as_deref());
    Ok(placed)
}

/// Changes the table of uploads.
pub async fn write(
    db: &mut PostgresConnection,
    write: &AttachmentWrite,
) -> Result<CommitOutcome, Fault> {
    match write {
        AttachmentWrite::Add(new, quota) => return add(db, new, *quota).await,
        AttachmentWrite::Abandon(ids) => {
            let sql = "UPDATE chatferry_attachments SET message_id = id \
                       WHERE message_id IS NULL AND id = ANY($1)";
            db.query(sql, &[ids]).await?;
        }
        AttachmentWrite::Forget(ids) => {
            let sql = "DELETE FROM chatferry_attachments WHERE id = ANY($1)";
            db.query(sql, &[ids]).await?;
        }
    }
    Ok(CommitOutcome::Stored)
}

async fn add(
    db: &mut PostgresConnection,
    new: &Attachment,
    quota: u64,
) -> Result<CommitOutcome, Fault> {
    let sum = "SELECT COALESCE(SUM(size), 0)::bigint FROM chatferry_attachments \
               WHERE uploader_id = $1 AND id <> $2";
    let rows = db.query(sum, &[&new.uploader_id, &new.id]).await?;
    let taken = rows.first().map(|row| row.try_get(0)).transpose()?;
    if size(taken.unwrap_or_default()).saturating_add(new.size) > quota {
        return Ok(CommitOutcome::Full);
    }
    let [width, height] = stored_sides(new);
    let sql = format!(
        "INSERT INTO chatferry_attachments ({COLUMNS}) \
         VALUES ($1, $2, NULL, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING"
    );
    let values: Params<'_> = &[
        &new.id,
        &new.uploader_id,
        &new.name,
        &new.media_type,
        &stored(new.size),
        &width,
        &height,
        &new.has_thumbnail,
        &Time(new.created_at),
    ];
    db.query(&sql, values).await?;
    Ok(CommitOutcome::Stored)
}

/// Returns whether a message may be stored with these uploads, which no other process sends or
/// abandons until the transaction ends.
pub async fn are_free(
    db: &mut PostgresConnection,
    message: &Message,
    ids: &[AttachmentId],
) -> Result<bool, Fault> {
    let sql = "SELECT uploader_id, message_id FROM chatferry_attachments \
               WHERE id = ANY($1) ORDER BY id FOR UPDATE";
    let rows = db.query(sql, &[&ids]).await?;
    let found = rows
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let found: Vec<Owned> = found.collect::<Result<_, Error>>()?;
    Ok(may_be_sent(&found, message, ids))
}

/// Gives uploads to a message.
pub async fn send(
    db: &mut PostgresConnection,
    message: &Message,
    ids: &[AttachmentId],
) -> Result<(), Fault> {
    let sql = "UPDATE chatferry_attachments SET message_id = $1 WHERE id = ANY($2)";
    db.query(sql, &[&message.id, &ids]).await?;
    Ok(())
}
