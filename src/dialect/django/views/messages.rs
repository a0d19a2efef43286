//! `conversations/<uuid>/messages/` and `.../send/`.

use hyper::StatusCode;

use super::{ViewFailure, parts::RowSource};
use crate::{
    chat::NewMessage,
    dialect::django::{
        body::Data,
        drf::{FieldErrors, Language, validate_message},
        reply::Reply,
        routes::{Call, Spoken},
        serializers,
    },
    id::{ConversationId, MessageId},
    limits::LimitedAction,
    store::Subject,
};

/// `GET`: the messages that are not deleted, oldest first. Never paged.
pub async fn list(call: Call<'_>, conversation_id: ConversationId) -> Result<Reply, ViewFailure> {
    call.admit(Subject::Conversation(conversation_id)).await?;
    call.allow_rows()?;
    let source = RowSource::messages(call.app, conversation_id);
    Ok(Reply::read(StatusCode::OK, source))
}

/// `POST`: stores a message. An inactive conversation takes it too.
pub async fn send(call: Call<'_>, conversation_id: ConversationId) -> Result<Reply, ViewFailure> {
    call.admit(Subject::Conversation(conversation_id)).await?;
    let chat = &call.app.chat;
    let found = chat.require_conversation(conversation_id).await;
    found.map_err(call.failed())?;
    let valid = validate_message(&call.data()?, call.language())?;
    let sender = chat.admit_as(call.caller, &valid.sender_id);
    sender.map_err(call.failed())?;
    call.allow(LimitedAction::Message)?;
    let new = NewMessage {
        id: None,
        conversation_id,
        sender_id: valid.sender_id,
        content: valid.content,
        message_type: valid.message_type,
        is_deleted: valid.is_deleted,
        attachments: Vec::new(),
    };
    let message = chat.send(new).await.map_err(call.failed())?;
    Ok(Reply::new(
        StatusCode::CREATED,
        serializers::message(&message, call.app.zone()),
    ))
}

/// Returns the sender of a message.
///
/// # Errors
/// As the view's.
pub fn spoken(
    data: &Data,
    language: Language,
    _: Option<MessageId>,
) -> Result<Spoken, FieldErrors> {
    let new = validate_message(data, language)?;
    Ok(Spoken {
        users: vec![new.sender_id],
        lookup: None,
    })
}
