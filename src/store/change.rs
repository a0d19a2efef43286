//! Rules of a change, the same for every kind of database.

use super::commit::CommitOutcome;
use crate::{
    chat::{Message, NewChange},
    python::datetime::Timestamp,
};

/// Most changes that are forgotten in one transaction.
pub const FORGOTTEN_TOGETHER: usize = 1000;

/// Returns a message as a change leaves it, to be written; `is_done` if an earlier try has written
/// it.
///
/// Its time is later than that of any version before, whatever the clock of this machine says: of two
/// versions clients show the later one.
///
/// # Errors
/// The outcome, if there is nothing to be written: the message is gone, is deleted, or has been
/// changed.
pub fn changed(
    found: Option<Message>,
    new: &NewChange,
    is_done: bool,
) -> Result<Message, CommitOutcome> {
    let here = found.filter(|it| it.conversation_id == new.change.conversation_id);
    let mut message = here.ok_or(CommitOutcome::Missing)?;
    if is_done {
        return Err(CommitOutcome::Changed(Box::new(message)));
    }
    if message.is_deleted {
        return Err(CommitOutcome::Missing);
    }
    match &new.content {
        Some(content) => message.content.clone_from(content),
        None => message.is_deleted = true,
    }
    let next = Timestamp::from_micros(message.updated_at.micros().saturating_add(1));
    message.updated_at = new.at.max(next);
    Ok(message)
}
