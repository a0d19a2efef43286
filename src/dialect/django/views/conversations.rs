//! `conversations/`, `conversations/<uuid>/` and `users/<str>/conversations/`.

use hyper::StatusCode;

use super::{ViewFailure, parts::RowSource};
use crate::{
    dialect::django::{
        body::Data,
        drf::{FieldErrors, Language, validate_participants},
        reply::Reply,
        routes::{Call, Spoken},
    },
    id::{ConversationId, MessageId},
    limits::LimitedAction,
    store::{Lookup, Subject},
    value::Value,
};

/// `POST`: the conversation of two people; 201 if it is new, 200 if it was there.
///
/// # Errors
/// The answer in place of it, as for every view.
pub async fn create(call: Call<'_>) -> Result<Reply, ViewFailure> {
    let (first, second) = validate_participants(&call.data()?, call.language())?;
    call.allow(LimitedAction::Conversation)?;
    call.allow_rows()?;
    let (conversation, is_new) = call
        .app
        .chat
        .open_conversation(call.caller, first, second)
        .await
        .map_err(call.failed())?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let source = RowSource::conversation(call.app, conversation);
    Ok(Reply::read(status, source))
}

/// The two people whose conversation is asked for.
///
/// # Errors
/// As the view's.
pub fn spoken(
    data: &Data,
    language: Language,
    _: Option<MessageId>,
) -> Result<Spoken, FieldErrors> {
    let (first, second) = validate_participants(data, language)?;
    Ok(Spoken {
        users: vec![first.clone(), second.clone()],
        lookup: Some(Lookup::Pair(first, second)),
    })
}

/// `GET`: one conversation with all its messages, deleted ones among them.
pub async fn retrieve(call: Call<'_>, id: ConversationId) -> Result<Reply, ViewFailure> {
    call.admit(Subject::Conversation(id)).await?;
    call.allow_rows()?;
    let conversation = call.app.chat.conversation(id).await;
    let conversation = conversation.map_err(call.failed())?;
    let source = RowSource::conversation(call.app, conversation);
    Ok(Reply::read(StatusCode::OK, source))
}

/// `GET`: the active conversations of a user, the newest first. Never paged.
pub fn list(call: Call<'_>, user: String) -> Result<Reply, ViewFailure> {
    if !call.app.chat.may_list(call.caller, &user) {
        return Ok(Reply::ok(Value::List(Vec::new())).withheld("list"));
    }
    call.allow_rows()?;
    let source = RowSource::conversations(call.app, call.caller, user);
    Ok(Reply::read(StatusCode::OK, source))
}
