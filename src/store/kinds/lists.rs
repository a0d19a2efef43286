//! Answers about several conversations, put together from those of each kind.

use async_trait::async_trait;
use futures_util::try_join;

use super::Kinds;
use crate::{
    chat::Receipt,
    id::{ConversationId, MessageId, ReceiptId},
    python::datetime::Timestamp,
    store::{
        AnnounceMark, Marks, Overview, Receipts, StoreError,
        history::{Direction, PAGE_MESSAGES, Page},
        overview::{ActiveConversation, merge},
    },
};

/// Splits subjects into those of conversations of two and those of groups.
pub(super) fn split<S: Copy>(
    subjects: &[S],
    conversation: impl Fn(&S) -> ConversationId,
) -> (Vec<S>, Vec<S>) {
    let is_pair = |subject: &S| !conversation(subject).is_group();
    subjects.iter().copied().partition(is_pair)
}

/// Reads for some subjects; without any, nothing is read.
pub(super) async fn unless_empty<S, T: Default>(
    subjects: &[S],
    read: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    if subjects.is_empty() {
        return Ok(T::default());
    }
    read.await
}

/// Puts answers for the conversations of each kind into the order of all, up to the first that has
/// none.
pub(super) fn in_order<T>(
    conversations: &[ConversationId],
    (pairs, groups): (Vec<T>, Vec<T>),
) -> Vec<T> {
    let (mut pairs, mut groups) = (pairs.into_iter(), groups.into_iter());
    let next = conversations.iter().map_while(|id| {
        if id.is_group() {
            groups.next()
        } else {
            pairs.next()
        }
    });
    next.collect()
}

/// Puts marks of both kinds into one order.
fn joined<K: Ord>(
    (mut marks, groups): (Marks, Marks),
    most: usize,
    order: impl Fn(&Receipt) -> K,
) -> Marks {
    marks.marks.extend(groups.marks);
    marks.unreadable += groups.unreadable;
    marks.marks.sort_by_key(|(_, receipt)| order(receipt));
    marks.marks.truncate(most.saturating_sub(marks.unreadable));
    marks
}

#[async_trait]
impl Receipts for Kinds {
    async fn marked_between(
        &self,
        newest: &[(ConversationId, usize)],
        between: (Timestamp, Timestamp),
        most: usize,
    ) -> Result<Marks, StoreError> {
        let (pairs, groups) = split(newest, |(id, _)| *id);
        let both = try_join!(
            unless_empty(&pairs, self.pairs.marked_between(&pairs, between, most)),
            unless_empty(&groups, self.groups.marked_between(&groups, between, most))
        )?;
        Ok(joined(both, most, |receipt| {
            (receipt.timestamp, receipt.id)
        }))
    }

    async fn marked_by_id(
        &self,
        conversations: &[ConversationId],
        between: (ReceiptId, ReceiptId),
        most: usize,
    ) -> Result<Marks, StoreError> {
        let (pairs, groups) = split(conversations, |id| *id);
        let both = try_join!(
            unless_empty(&pairs, self.pairs.marked_by_id(&pairs, between, most)),
            unless_empty(&groups, self.groups.marked_by_id(&groups, between, most))
        )?;
        Ok(joined(both, most, |receipt| receipt.id))
    }

    async fn receipts_of(
        &self,
        messages: &[MessageId],
        most: usize,
    ) -> Result<Vec<Receipt>, StoreError> {
        self.pairs.receipts_of(messages, most).await
    }

    async fn unread(
        &self,
        conversations: &[ConversationId],
        user_id: &str,
        among: usize,
    ) -> Result<Vec<usize>, StoreError> {
        let (pairs, groups) = split(conversations, |id| *id);
        let both = try_join!(
            unless_empty(&pairs, self.pairs.unread(&pairs, user_id, among)),
            unless_empty(&groups, self.groups.unread(&groups, user_id, among))
        )?;
        Ok(in_order(conversations, both))
    }

    async fn mark_read(
        &self,
        message_id: MessageId,
        user_id: String,
        announce: AnnounceMark,
    ) -> Result<Option<Receipt>, StoreError> {
        self.pairs.mark_read(message_id, user_id, announce).await
    }

    async fn mark_delivered(
        &self,
        message_id: MessageId,
        user_id: String,
        announce: AnnounceMark,
    ) -> Result<Option<Receipt>, StoreError> {
        let marked = self.pairs.mark_delivered(message_id, user_id, announce);
        marked.await
    }
}

#[async_trait]
impl Overview for Kinds {
    async fn by_activity(
        &self,
        user_id: &str,
        after: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<Vec<ActiveConversation>, StoreError> {
        let (mut all, groups) = try_join!(
            self.pairs.by_activity(user_id, after, limit),
            self.groups.by_activity(user_id, after, limit)
        )?;
        all.extend(groups);
        all.sort_by(|(one, one_at), (other, other_at)| (other_at, other.id).cmp(&(one_at, one.id)));
        all.truncate(limit);
        Ok(all)
    }

    async fn across(
        &self,
        conversations: &[ConversationId],
        place: (Timestamp, MessageId),
        direction: Direction,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let (pairs, groups) = split(conversations, |id| *id);
        let (pairs, groups) = try_join!(
            unless_empty(&pairs, self.pairs.across(&pairs, place, direction, limit)),
            unless_empty(
                &groups,
                self.groups.across(&groups, place, direction, limit)
            )
        )?;
        Ok(merge(vec![pairs, groups], direction, limit))
    }

    // Without an index for one kind the messages of both are read.
    async fn holding(
        &self,
        conversations: &[ConversationId],
        runs: &[String],
        place: (Timestamp, MessageId),
    ) -> Result<Option<Page>, StoreError> {
        let (pairs, groups) = split(conversations, |id| *id);
        let mut pages = Vec::new();
        for (store, of) in [(&self.pairs, pairs), (&self.groups, groups)] {
            if of.is_empty() {
                continue;
            }
            match store.holding(&of, runs, place).await? {
                Some(page) => pages.push(page),
                None => return Ok(None),
            }
        }
        Ok(Some(merge(pages, Direction::Older, PAGE_MESSAGES)))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn answers_of_both_kinds_are_in_the_order_that_was_asked_for() {
        let pair: ConversationId = Uuid::from_u128(4 << 76 | 2 << 62).into();
        let group: ConversationId = Uuid::from_u128(5 << 76 | 2 << 62).into();
        assert!(group.is_group() && !pair.is_group());
        let asked = [pair, group, group, pair];
        let both = || (vec!["a", "d"], vec!["b", "c"]);
        assert_eq!(in_order(&asked, both()), ["a", "b", "c", "d"]);
        // A row that did not fit is left out with all that is behind it.
        assert_eq!(in_order(&asked, (vec!["a", "d"], vec!["b"])), ["a", "b"]);
        assert_eq!(in_order(&asked, (vec![], vec!["b", "c"])), [""; 0]);
    }
}
