//! `conversations/{id}/read` and `unread`.

use hyper::StatusCode;
use serde::Deserialize;

use super::{
    super::{
        frames::{Shown, UnreadView},
        requests::{READ_MAX, UNREAD_MAX},
    },
    call::{Call, GivenId},
    problem::Problem,
    views::CountsView,
};
use crate::{
    http::{Body, Response},
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
    call.app.chat.mark_all_read(id, &ids, &user).await?;
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// `GET unread`: the numbers of messages that the user has not read, of the conversations that the
/// caller may know of.
pub async fn unread(call: Call<'_>) -> Result<Response, Problem> {
    let user = call.user()?;
    let conversations = call.ids("conversations", UNREAD_MAX)?;
    call.allow_rows()?;
    let counts = call.app.chat.unread(call.caller(), &conversations, &user);
    let counts = counts.await?;
    call.charge_rows(counts.len());
    let counts = counts.into_iter().map(|(id, unread)| UnreadView {
        conversation: Shown(id),
        unread,
    });
    call.ok(&CountsView {
        counts: counts.collect(),
    })
}
