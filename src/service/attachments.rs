//! Files that are sent with messages: uploaded, read, and deleted when no message has them.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use hyper::body::Incoming;
use tokio::time::sleep;
use uuid::Uuid;

use super::{Chat, ChatError, within};
use crate::{
    chat::{Attachment, PlacedAttachment, USER_ID_MAX, policy::Caller},
    files::{
        Files, Variant, media,
        upload::{HEAD, Received, UploadError},
    },
    id::{AttachmentId, ConversationId, MessageId},
    python::datetime::{Timestamp, before},
    store::{Store, StoreError},
};

/// Most characters of a file's name.
const NAME_MAX: usize = 200;

/// Name of a file that has none.
const NAMELESS: &str = "file";

/// Why a file cannot be uploaded, sent or read. Nothing of one that was not uploaded is kept.
#[derive(Debug, thiserror::Error)]
pub enum AttachmentError {
    /// Not there, somebody else's, or sent with another message.
    #[error("no such attachment, or it has been sent")]
    Missing,
    #[error("a message takes up to {0} attachments")]
    TooMany(usize),
    /// The content is of a type that is not taken.
    #[error("the file is {0}, which is not taken here")]
    WrongType(&'static str),
    #[error("the files of one user may take {0} bytes")]
    Quota(u64),
    #[error(transparent)]
    Upload(#[from] UploadError),
}

impl From<UploadError> for ChatError {
    fn from(error: UploadError) -> Self {
        AttachmentError::from(error).into()
    }
}

/// Uploads that are looked at together, for those that are to be deleted.
const SWEPT_TOGETHER: usize = 500;

impl Chat {
    /// Returns where files are kept; `None` if none can be sent.
    #[must_use]
    pub fn files(&self) -> Option<&Arc<Files>> {
        self.files.as_ref()
    }

    /// Receives a file and keeps it for a user, who can then send it with one message. Of one that is
    /// refused nothing is kept.
    ///
    /// # Errors
    /// [`ChatError::Off`], [`AttachmentError::Upload`], [`AttachmentError::WrongType`], [`AttachmentError::Quota`], or
    /// when it cannot be stored.
    pub async fn upload(
        &self,
        user: &str,
        name: &str,
        body: Incoming,
    ) -> Result<Attachment, ChatError> {
        let files = self.files.as_ref().ok_or(ChatError::Off)?;
        within("user", user, USER_ID_MAX)?;
        let _turn = files.turns.take(user).ok_or(UploadError::Busy)?;
        let received = files.receive(body).await?;
        let is_whole = received.head.len() < HEAD;
        let media_type = media::of(&received.head, is_whole);
        if !files.takes(media_type) {
            return Err(AttachmentError::WrongType(media_type).into());
        }
        let mut dimensions = None;
        let mut thumbnail = None;
        if media::is_picture(media_type) {
            let examined = files.pictures.examine(received.path(), media_type).await;
            let picture = examined.map_err(|_| AttachmentError::WrongType("a broken image"))?;
            dimensions = Some(picture.dimensions);
            if let Some(bytes) = picture.thumbnail {
                thumbnail = Some(files.spooled(bytes).await.map_err(UploadError::from)?);
            }
        }
        let committer = self.store.committer();
        let new = Attachment {
            id: committer.attachment_id(),
            uploader_id: user.to_owned(),
            message_id: None,
            name: plain_name(name),
            media_type: media_type.to_owned(),
            size: received.size,
            dimensions,
            has_thumbnail: thumbnail.is_some(),
            created_at: Timestamp::by(committer.clock()),
        };
        // First its row: a file without one would never be deleted.
        if !self
            .store
            .add_attachment(new.clone(), files.user_bytes)
            .await?
        {
            return Err(AttachmentError::Quota(files.user_bytes).into());
        }
        if let Err(error) = keep(files, new.id, &received, thumbnail.as_ref()).await {
            // Swept at once instead of after a day; until then it counts for its user.
            if let Err(error) = self.store.abandon_attachments(vec![new.id]).await {
                tracing::debug!(%error, "an upload that failed is deleted later");
            }
            return Err(error);
        }
        self.metrics.attachment_stored(new.size);
        Ok(new)
    }

    /// Deletes an upload of a user that has not been sent. It cannot be sent from then on, and counts no
    /// more for its user.
    ///
    /// # Errors
    /// [`ChatError::Off`], or [`AttachmentError::Missing`] if it is not there, of somebody else, or sent.
    pub async fn delete_upload(&self, user: &str, id: AttachmentId) -> Result<(), ChatError> {
        let files = self.files.as_ref().ok_or(ChatError::Off)?;
        let find = async || -> Result<Option<PlacedAttachment>, ChatError> {
            Ok(self.store.attachments(&[id]).await?.into_iter().next())
        };
        let is_unsent = |it: &Attachment| it.uploader_id == user && it.message_id.is_none();
        let found = find().await?.filter(|it| is_unsent(&it.attachment));
        found.ok_or(AttachmentError::Missing)?;
        self.store.abandon_attachments(vec![id]).await?;
        // It may have been sent meanwhile.
        let lost = find().await?.filter(PlacedAttachment::is_lost);
        lost.ok_or(AttachmentError::Missing)?;
        if let Err(error) = files.delete(id).await {
            tracing::warn!(%error, %id, "a file is deleted later");
            return Ok(());
        }
        self.metrics.attachments_deleted(1);
        Ok(self.store.forget_attachments(vec![id]).await?)
    }

    /// Returns uploads of a user that can be sent with a message, in this order. Those that the message
    /// has already are among them: it may be sent again.
    ///
    /// # Errors
    /// [`ChatError::Off`], [`AttachmentError::TooMany`], or [`AttachmentError::Missing`] if one is
    /// not there, of somebody else, or sent.
    pub async fn attachments_to_send(
        &self,
        user: &str,
        message_id: MessageId,
        ids: &[AttachmentId],
    ) -> Result<Vec<Attachment>, ChatError> {
        let files = self.files.as_ref().ok_or(ChatError::Off)?;
        if ids.len() > files.per_message {
            return Err(AttachmentError::TooMany(files.per_message).into());
        }
        let found = self.store.attachments(ids).await?.into_iter();
        let mut found: HashMap<_, _> = found
            .map(|it| it.attachment)
            .filter(|it| it.uploader_id == user && it.message_id.is_none_or(|it| it == message_id))
            .map(|it| (it.id, it))
            .collect();
        let in_order = ids.iter().map(|id| found.remove(id));
        let all = in_order.collect::<Option<_>>();
        Ok(all.ok_or(AttachmentError::Missing)?)
    }

    /// Returns those of some attachments that a caller may read: of a conversation that it may know of,
    /// or uploaded by it and not sent.
    ///
    /// # Errors
    /// [`ChatError::Off`], or when the store cannot be read.
    pub async fn readable_attachments(
        &self,
        caller: &Caller,
        ids: &[AttachmentId],
    ) -> Result<Vec<Attachment>, ChatError> {
        if self.files.is_none() {
            return Err(ChatError::Off);
        }
        let mut known: HashMap<ConversationId, bool> = HashMap::new();
        let mut readable = Vec::new();
        for found in self.store.attachments(ids).await? {
            let attachment = found.attachment;
            let may_read = match (attachment.message_id, found.conversation_id) {
                (None, _) => caller.is(&attachment.uploader_id),
                (Some(_), None) => false,
                (Some(_), Some(id)) => match known.entry(id) {
                    Entry::Occupied(may) => *may.get(),
                    Entry::Vacant(place) => *place.insert(self.may_know(caller, id).await?),
                },
            };
            if may_read {
                readable.push(attachment);
            }
        }
        Ok(readable)
    }

    async fn may_know(&self, caller: &Caller, id: ConversationId) -> Result<bool, ChatError> {
        match self.admit_socket(caller, id).await {
            Ok(_) => Ok(true),
            Err(ChatError::NoConversation | ChatError::Hidden(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns an attachment to the holder of a link to it.
    ///
    /// # Errors
    /// [`AttachmentError::Missing`] if it is not there, or its message is gone or deleted.
    pub async fn linked_attachment(&self, id: AttachmentId) -> Result<Attachment, ChatError> {
        if self.files.is_none() {
            return Err(ChatError::Off);
        }
        let found = self.store.attachments(&[id]).await?.into_iter().next();
        let there = found.filter(|it| !it.is_lost());
        let there = there.map(|it| it.attachment);
        Ok(there.ok_or(AttachmentError::Missing)?)
    }
}

async fn keep(
    files: &Files,
    id: AttachmentId,
    received: &Received,
    thumbnail: Option<&Received>,
) -> Result<(), ChatError> {
    let kept = async {
        if let Some(thumbnail) = thumbnail {
            files.keep(id, Variant::Thumbnail, thumbnail).await?;
        }
        files.keep(id, Variant::Whole, received).await
    };
    Ok(kept.await.map_err(UploadError::from)?)
}

/// Returns the name of a file without directories, and without characters that are not shown or turn
/// the direction of a text.
fn plain_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let shown = last.chars().filter(|c| !c.is_control() && !turns(*c));
    let shown: String = shown.take(NAME_MAX).collect();
    match shown.trim() {
        "" | "." | ".." => NAMELESS.to_owned(),
        name => name.to_owned(),
    }
}

/// Deletes files that no message has, and their rows, some every few seconds, until the process ends.
/// Several processes may do so at once.
pub async fn sweep_attachments(store: Arc<dyn Store>, files: Arc<Files>) {
    let mut place: AttachmentId = Uuid::nil().into();
    loop {
        sleep(files.sweep).await;
        place = match sweep(&*store, &files, place).await {
            Ok(Some(next)) => next,
            Ok(None) => {
                files.clear_spool().await;
                Uuid::nil().into()
            }
            Err(error) => {
                tracing::warn!(%error, "attachments that no message has cannot be deleted");
                place
            }
        };
    }
}

/// Looks at the uploads after a place; returns the place of the last one, if there may be more.
async fn sweep(
    store: &dyn Store,
    files: &Files,
    after: AttachmentId,
) -> Result<Option<AttachmentId>, StoreError> {
    let found = store.attachments_after(after, SWEPT_TOGETHER).await?;
    let now = Timestamp::by(store.committer().clock());
    let unsent = before(now, files.unsent);
    let is_old = |it: &&PlacedAttachment| {
        it.attachment.message_id.is_none() && it.attachment.created_at < unsent
    };
    let old: Vec<_> = found
        .iter()
        .filter(is_old)
        .map(|it| it.attachment.id)
        .collect();
    if !old.is_empty() {
        // Those that are not sent meanwhile are lost when they are looked at again.
        store.abandon_attachments(old).await?;
    }
    let mut deleted = Vec::new();
    for lost in found.iter().filter(|it| it.is_lost()) {
        let id = lost.attachment.id;
        match files.delete(id).await {
            Ok(()) => deleted.push(id),
            Err(error) => tracing::warn!(%error, %id, "a file cannot be deleted"),
        }
    }
    if !deleted.is_empty() {
        tracing::debug!(
            files = deleted.len(),
            "attachments that no message has are deleted"
        );
        store
            .committer()
            .metrics()
            .attachments_deleted(deleted.len());
        store.forget_attachments(deleted).await?;
    }
    let last = found.last().filter(|_| found.len() == SWEPT_TOGETHER);
    Ok(last.map(|it| it.attachment.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_no_directory_and_nothing_that_is_not_shown() {
        for (sent, kept) in [
            ("photo.jpg", "photo.jpg"),
            ("../../etc/passwd", "passwd"),
            ("C:\\files\\a.txt", "a.txt"),
            ("gpj\u{202e}.exe\r\n", "gpj.exe"),
            ("\0", "file"),
            ("..", "file"),
            ("  사진 1.png ", "사진 1.png"),
        ] {
            assert_eq!(plain_name(sent), kept, "{sent:?}");
        }
        assert_eq!(plain_name(&"가".repeat(500)).chars().count(), NAME_MAX);
    }
}
