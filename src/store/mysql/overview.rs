//! What is read across conversations.

use async_trait::async_trait;

use super::{MysqlStore, query, row::Columns};
use crate::{
    chat::Conversation,
    id::{ConversationId, MessageId},
    python::datetime::Timestamp,
    store::{
        StoreError,
        history::{Direction, PAGE_MESSAGES, Page, PageCursor},
        overview::{ActiveConversation, Overview},
        schema::layout::{CONVERSATION_LIST, Layout, MESSAGE_LIST},
    },
};

#[async_trait]
impl Overview for MysqlStore {
    async fn by_activity(
        &self,
        user_id: &str,
        after: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Result<Vec<ActiveConversation>, StoreError> {
        let sql = by_activity(&self.layout, user_id, after, limit);
        let rows = self.pool.rows(&sql).await?.into_iter();
        let active = |row| {
            let mut columns = Columns::from(row);
            let conversation = Conversation {
                id: columns.id()?,
                participants: columns.participants()?,
                created_at: columns.time()?,
                updated_at: columns.time()?,
                is_active: columns.take()?,
            };
            Ok((conversation, columns.time()?))
        };
        rows.map(active).collect()
    }

    async fn across(
        &self,
        conversations: &[ConversationId],
        place: (Timestamp, MessageId),
        direction: Direction,
        limit: usize,
    ) -> Result<Page, StoreError> {
        if conversations.is_empty() {
            return Ok(Page::default());
        }
        let limit = limit.min(PAGE_MESSAGES);
        let sql = across(&self.layout, conversations, place, direction, limit);
        self.page(&sql, limit, direction == Direction::Older).await
    }
}

fn by_activity(
    layout: &Layout,
    user_id: &str,
    after: Option<(Timestamp, ConversationId)>,
    limit: usize,
) -> String {
    let user = query::quoted(user_id);
    let after = after.map(|(at, id)| PageCursor::Keyed {
        at,
        id: Some(id.into()),
    });
    let behind = after.map_or_else(String::new, |place| {
        query::beyond("active_at", &place, "<", "<")
    });
    format!(
        "SELECT {CONVERSATION_LIST}, active_at FROM (SELECT {CONVERSATION_LIST}, COALESCE(\
         (SELECT m.created_at FROM {} AS m WHERE m.conversation_id = c.id AND NOT m.is_deleted \
         ORDER BY m.created_at DESC LIMIT 1), c.created_at) AS active_at \
         FROM {} AS c WHERE is_active AND {}) AS c WHERE TRUE {behind}\
         ORDER BY active_at DESC, id DESC LIMIT {limit}",
        layout.messages,
        layout.conversations,
        layout.has_member(&user)
    )
}

/// Returns the nearest `limit` messages of all, the nearest first. Of each conversation no more are
/// looked at, and only the ids and times of those are put in order.
fn across(
    layout: &Layout,
    of: &[ConversationId],
    (at, id): (Timestamp, MessageId),
    direction: Direction,
    limit: usize,
) -> String {
    let (compares, order) = direction.sql();
    let place = PageCursor::Keyed {
        at,
        id: Some(id.into()),
    };
    let bound = query::beyond("created_at", &place, compares, compares);
    let each = of.iter().map(|of| {
        // A range of one conversation, as in `query::messages`.
        let of = query::id(*of);
        format!(
            "SELECT * FROM (SELECT id AS near_id, created_at AS near_at FROM {} AS m \
             WHERE conversation_id >= {of} AND conversation_id <= {of} AND NOT is_deleted {bound}\
             ORDER BY conversation_id {order}, created_at {order}, id {order} LIMIT {limit}) AS one",
            layout.messages
        )
    });
    let each = each.collect::<Vec<_>>().join(" UNION ALL ");
    format!(
        "SELECT {MESSAGE_LIST} FROM (SELECT near_id, near_at FROM ({each}) AS every \
         ORDER BY near_at {order}, near_id {order} LIMIT {limit}) AS nearest \
         STRAIGHT_JOIN {} AS m ON m.id = nearest.near_id \
         ORDER BY near_at {order}, near_id {order}",
        layout.messages
    )
}
