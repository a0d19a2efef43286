//! Groups: made by `POST conversations`, and their names and members changed.

use hyper::StatusCode;
use serde::Deserialize;

use super::{
    super::{frames::ConversationView, groups},
    call::{Call, nothing},
    messages::IDEMPOTENCY_KEY,
    problem::Problem,
};
use crate::{chat::GroupAction, http::Response, id::ConversationId, limits::LimitedAction};

/// Makes a group of the user and others: 201 if it is new, 200 if it was made under its key before.
pub async fn create(
    call: Call<'_>,
    user: &str,
    name: Option<String>,
    members: Vec<String>,
) -> Result<Response, Problem> {
    let name = groups::name(name).map_err(Problem::bad)?;
    let members = groups::users(Some(members)).map_err(Problem::bad)?;
    let key = call.request.header(&IDEMPOTENCY_KEY);
    let key = groups::key(key.map(|key| key.trim().trim_matches('"').to_owned()));
    let key = key.map_err(Problem::bad)?;
    call.allow(LimitedAction::Conversation)?;
    let chat = &call.app.chat_with_groups;
    let made = chat.create_group(call.caller(), user, name, &members, key.as_deref());
    let (group, is_new) = made.await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    shown(&call, group.id, user, status).await
}

/// The body of `PATCH conversations/{id}`.
#[derive(Deserialize)]
struct Named {
    name: Option<String>,
}

/// `PATCH conversations/{id}`: gives a group another name.
pub async fn rename(call: Call<'_>, id: ConversationId) -> Result<Response, Problem> {
    let Named { name } = call.body()?;
    let name = groups::name(name).map_err(Problem::bad)?;
    change(call, id, GroupAction::Rename(name)).await
}

/// The body of `POST conversations/{id}/members`.
#[derive(Deserialize)]
struct Invited {
    members: Option<Vec<String>>,
}

/// `POST conversations/{id}/members`: takes users into a group.
pub async fn invite(call: Call<'_>, id: ConversationId) -> Result<Response, Problem> {
    let Invited { members } = call.body()?;
    let users = groups::users(members).map_err(Problem::bad)?;
    change(call, id, GroupAction::Invite(users)).await
}

/// The body of `PATCH conversations/{id}/members`.
#[derive(Deserialize)]
struct Assigned {
    member: Option<String>,
    role: Option<String>,
}

/// `PATCH conversations/{id}/members`: gives a member a role.
pub async fn assign(call: Call<'_>, id: ConversationId) -> Result<Response, Problem> {
    let Assigned { member, role } = call.body()?;
    let action = groups::assigning(member, role.as_deref()).map_err(Problem::bad)?;
    change(call, id, action).await
}

/// `DELETE conversations/{id}/members?member=…`: takes a member out of a group, or lets the user leave
/// it; 204.
pub async fn remove(call: Call<'_>, id: ConversationId) -> Result<Response, Problem> {
    let user = call.user()?;
    let member = groups::user(call.parameter("member")).map_err(Problem::bad)?;
    let action = if member == user {
        GroupAction::Leave
    } else {
        GroupAction::Remove(member)
    };
    call.allow(LimitedAction::Message)?;
    let chat = &call.app.chat_with_groups;
    chat.change_group(call.caller(), id, &user, action).await?;
    Ok(nothing())
}

async fn change(
    call: Call<'_>,
    id: ConversationId,
    action: GroupAction,
) -> Result<Response, Problem> {
    let user = call.user()?;
    call.allow(LimitedAction::Message)?;
    let chat = &call.app.chat_with_groups;
    chat.change_group(call.caller(), id, &user, action).await?;
    shown(&call, id, &user, StatusCode::OK).await
}

async fn shown(
    call: &Call<'_>,
    id: ConversationId,
    user: &str,
    status: StatusCode,
) -> Result<Response, Problem> {
    let chat = &call.app.chat_with_groups;
    let conversation = chat.conversation(id).await?;
    let entry = chat.conversation_entry(conversation, Some(user)).await?;
    call.json(status, &ConversationView::of(&entry))
}
