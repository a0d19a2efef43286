//! What is read across conversations.

use async_trait::async_trait;

use super::{
    PostgresStore,
    param::Params,
    query::{id_type, signed, until_bound},
    row::{conversation_row, page, time_at},
    storable,
    time::Time,
};
use crate::{
    id::{ConversationId, MessageId},
    python::datetime::Timestamp,
    store::{
        StoreError,
        history::{Direction, PAGE_BYTES, PAGE_MESSAGES, Page, PageCursor},
        overview::{ActiveConversation, Overview},
        schema::layout::{CONVERSATION, CONVERSATION_LIST, MESSAGE_LIST},
    },
};

#[async_trait]
impl Overview for PostgresStore {
    async fn by_activity(
        &self,
        user_id: &str,
        after: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<Vec<ActiveConversation>, StoreError> {
        storable([user_id])?;
        let layout = &self.layout;
        let sql = format!(
            "SELECT {CONVERSATION_LIST}, active_at FROM (SELECT {CONVERSATION_LIST}, COALESCE(\
             (SELECT m.created_at FROM {} AS m WHERE m.conversation_id = c.id AND NOT m.is_deleted \
             ORDER BY m.created_at DESC LIMIT 1), c.created_at) AS active_at \
             FROM {} AS c WHERE is_active AND {}) AS c \
             WHERE active_at <= $2 AND (active_at < $2 OR id < $3) \
             ORDER BY active_at DESC, id DESC LIMIT $4",
            layout.messages,
            layout.conversations,
            layout.has_member("$1")
        );
        let after = after.map(|(at, id)| PageCursor::Keyed {
            at,
            id: Some(id.into()),
        });
        let own = &layout.schema.conversations;
        let (time, id): (_, ConversationId) = until_bound(after.as_ref(), own);
        let params: Params<'_> = &[&user_id, &time, &id, &signed(limit)];
        let rows = self.readers.query(&sql, params).await?;
        let active = |row| Ok((conversation_row(row)?, time_at(row, CONVERSATION.len())?));
        rows.iter().map(active).collect()
    }

    async fn across(
        &self,
        conversations: &[ConversationId],
        (at, id): (Timestamp, MessageId),
        direction: Direction,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let (compares, order) = direction.sql();
        let layout = &self.layout;
        let sql = format!(
            "SELECT {MESSAGE_LIST} FROM (SELECT near_id, near_at FROM unnest($1::{}[]) AS wanted \
             CROSS JOIN LATERAL (SELECT id AS near_id, created_at AS near_at FROM {} AS m \
             WHERE conversation_id = wanted AND NOT is_deleted \
             AND created_at {compares}= $2 AND (created_at {compares} $2 OR id {compares} $3) \
             ORDER BY created_at {order}, id {order} LIMIT $4) AS one \
             ORDER BY near_at {order}, near_id {order} LIMIT $4) AS nearest \
             JOIN {} AS m ON m.id = nearest.near_id ORDER BY near_at {order}, near_id {order}",
            id_type(&layout.schema.conversations),
            layout.messages,
            layout.messages
        );
        let limit = limit.min(PAGE_MESSAGES);
        let params: Params<'_> = &[&conversations, &Time(at), &id, &signed(limit)];
        let (mut rows, is_cut) = self.readers.some_rows(&sql, params, PAGE_BYTES).await?;
        if direction == Direction::Older {
            rows.reverse();
        }
        Ok(page(&rows, is_cut || rows.len() == limit))
    }

    async fn holding(
        &self,
        conversations: &[ConversationId],
        runs: &[String],
        place: (Timestamp, MessageId),
    ) -> Result<Option<Page>, StoreError> {
        self.indexed_messages(conversations, runs, place).await
    }
}
