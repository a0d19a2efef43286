//! `read`, `delivered` and `receipts` of a conversation, and `unread`.

use serde::Deserialize;

use super::{
    super::{
        frames::{ReceiptView, UnreadView},
        requests::{READ_MAX, UNREAD_MAX},
    },
    call::{Call, GivenId, nothing},
    problem::Problem,
    views::{CountsView, ReceiptsView},
};
use crate::{
    http::Response,
    id::{ConversationId, MessageId},
    limits::LimitedAction,
};

/// The body of `POST read`.
#[derive(Deserialize)]
struct MarkedBody {
    messages: Vec<GivenId>,
}

/// `POST read`: marks messages as read; 204.
pub async fn read(call: Call<'_>, id: ConversationId) -> Result<Response, Problem> {
    let (user, ids) = marked(&call, id).await?;
    call.app
        .chat_with_groups
        .mark_all_read(id, &ids, &user)
        .await?;
    Ok(nothing())
}

/// `POST delivered`: marks messages as delivered; 204.
pub async fn delivered(call: Call<'_>, id: ConversationId) -> Result<Response, Problem> {
    let (user, ids) = marked(&call, id).await?;
    call.app
        .chat_with_groups
        .mark_delivered(id, &ids, &user)
        .await?;
    Ok(nothing())
}

/// Returns the user who marks messages, and their ids.
async fn marked(call: &Call<'_>, id: ConversationId) -> Result<(String, Vec<MessageId>), Problem> {
    call.admit(id).await?;
    let MarkedBody { messages } = call.body()?;
    if messages.is_empty() || messages.len() > READ_MAX {
        return Err(Problem::bad(format!("messages takes 1 to {READ_MAX} ids")));
    }
    let user = call.user()?;
    for _ in &messages {
        call.allow(LimitedAction::Message)?;
    }
    let ids: Vec<MessageId> = messages.into_iter().map(|GivenId(id)| id.into()).collect();
    Ok((user, ids))
}

/// `GET receipts`: who has got and read some messages.
pub async fn receipts(call: Call<'_>, id: ConversationId) -> Result<Response, Problem> {
    call.admit(id).await?;
    let messages = call.ids("messages", READ_MAX)?;
    call.allow_rows()?;
    let receipts = call.app.chat_with_groups.receipts_of(id, &messages).await?;
    call.charge_rows(receipts.len());
    call.ok(&ReceiptsView {
        receipts: receipts.iter().map(ReceiptView::of).collect(),
    })
}

/// `GET unread`: the numbers of messages that the user has not read, of the conversations that the
/// caller may know of.
pub async fn unread(call: Call<'_>) -> Result<Response, Problem> {
    let user = call.user()?;
    let conversations = call.ids("conversations", UNREAD_MAX)?;
    call.allow_rows()?;
    let counts = call
        .app
        .chat_with_groups
        .unread(call.caller(), &conversations, &user);
    let counts = counts.await?;
    call.charge_rows(counts.len());
    call.ok(&CountsView {
        counts: counts.into_iter().map(UnreadView::of).collect(),
    })
}
