//! `conversations/<uuid>/messages/` and `conversations/<uuid>/messages/send/`.

use hyper::StatusCode;
use uuid::Uuid;

use super::{Failure, admit, allow, allow_rows, data, failed, parts::Source};
use crate::{
    app::App,
    chat::{NewMessage, policy::Caller},
    dialect::django::serializers,
    django::drf::validate_message,
    http::{extract::Request, reply::Reply},
    limits::Action,
    store::Of,
};

/// `GET`: the messages that are not deleted, oldest first. Never paged.
pub async fn list(
    app: &App,
    caller: &Caller,
    request: &Request,
    conversation_id: Uuid,
) -> Result<Reply, Failure> {
    admit(app, caller, Of::Conversation(conversation_id)).await?;
    allow_rows(app, request)?;
    let source = Source::messages(app, conversation_id);
    Ok(Reply::read(StatusCode::OK, source))
}

/// `POST`: stores a message. An inactive conversation takes it too.
pub async fn send(
    app: &App,
    caller: &Caller,
    request: &Request,
    conversation_id: Uuid,
) -> Result<Reply, Failure> {
    admit(app, caller, Of::Conversation(conversation_id)).await?;
    app.chat
        .require_conversation(conversation_id)
        .await
        .map_err(failed(app))?;
    let valid = validate_message(&data(app, request)?, app.language())?;
    let sender = app.chat.admit_as(caller, &valid.sender_id);
    sender.map_err(failed(app))?;
    allow(app, request, Action::Message)?;
    let new = NewMessage {
        conversation_id,
        sender_id: valid.sender_id,
        content: valid.content,
        message_type: valid.message_type,
        is_deleted: valid.is_deleted,
    };
    let message = app.chat.send(new).await.map_err(failed(app))?;
    Ok(Reply::new(
        StatusCode::CREATED,
        serializers::message(&message, app.zone()),
    ))
}
