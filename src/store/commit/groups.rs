//! Groups that are made and changed.

use tokio::sync::oneshot;

use super::{AnnounceGroup, CommitOutcome, Committer, Done, Draft, StoreError, Write, unexpected};
use crate::chat::{Group, GroupRefusal, NewGroup, NewGroupChange};

/// A group as it is after the commit, and whether this write has changed it.
type Committed = Result<(Group, bool), GroupRefusal>;

impl Committer {
    /// Makes a group, unless there is one of its id; returns it, and whether it is new. Once handed
    /// over, it is made and announced even if the caller goes away.
    ///
    /// # Errors
    /// When the database could not store it, or the committer has ended.
    pub async fn create_group(
        &self,
        new: NewGroup,
        announce: AnnounceGroup,
    ) -> Result<Committed, StoreError> {
        self.write_group(Write::NewGroup(new), announce).await
    }

    /// Changes a group, and returns it as it is then. Once handed over, the change is stored and
    /// announced even if the caller goes away.
    ///
    /// # Errors
    /// When the database could not store it, or the committer has ended.
    pub async fn change_group(
        &self,
        new: NewGroupChange,
        announce: AnnounceGroup,
    ) -> Result<Result<Group, GroupRefusal>, StoreError> {
        let changed = self.write_group(Write::GroupChange(new), announce).await?;
        Ok(changed.map(|(group, _)| group))
    }

    async fn write_group(
        &self,
        write: Write,
        announce: AnnounceGroup,
    ) -> Result<Committed, StoreError> {
        let (told, outcome) = oneshot::channel();
        let done: Done = Box::new(move |_, outcome| {
            let _ = told.send(outcome.and_then(|outcome| match outcome {
                CommitOutcome::Group(group, is_changed) => {
                    if is_changed {
                        announce(&group);
                    }
                    Ok(Ok((*group, is_changed)))
                }
                CommitOutcome::GroupRefused(refusal) => Ok(Err(refusal)),
                other => Err(unexpected(&other)),
            }));
        });
        self.hand_over(Draft::Ready(write), done).await?;
        outcome.await.unwrap_or(Err(StoreError::Closed))
    }
}
