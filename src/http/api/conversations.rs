//! `conversations/`, `conversations/<uuid>/` and `users/<str>/conversations/`.

use hyper::StatusCode;
use uuid::Uuid;

use super::{Failure, admit, allow, data, failed, showable};
use crate::{
    app::App,
    auth::policy::Caller,
    chat::Conversation,
    django::drf::validate_participants,
    http::{extract::Request, reply::Reply},
    limits::Action,
    serializers,
    store::Of,
    value::Value,
};

/// `POST`: the conversation of two people; 201 if it is new, 200 if it was there.
pub async fn create(app: &App, caller: &Caller, request: &Request) -> Result<Reply, Failure> {
    let (first, second) = validate_participants(&data(app, request)?, app.language())?;
    allow(app, request, Action::Conversation)?;
    let (conversation, is_new) = app
        .chat
        .open_conversation(caller, first, second)
        .await
        .map_err(failed(app))?;
    showable(app, conversation.times())?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(Reply::new(
        status,
        serializers::conversation(&conversation, app.zone()),
    ))
}

/// `GET`: one conversation with all its messages, deleted ones among them.
pub async fn retrieve(app: &App, caller: &Caller, id: Uuid) -> Result<Reply, Failure> {
    admit(app, caller, Of::Conversation(id)).await?;
    let conversation = app.chat.conversation(id).await.map_err(failed(app))?;
    showable(app, conversation.times())?;
    Ok(Reply::ok(serializers::conversation(
        &conversation,
        app.zone(),
    )))
}

/// `GET`: the active conversations of a user, the newest first. Never paged.
pub async fn list(app: &App, caller: &Caller, user: String) -> Result<Reply, Failure> {
    let conversations = app.chat.conversations_of(caller, user).await;
    let conversations = conversations.map_err(failed(app))?;
    showable(app, conversations.iter().flat_map(Conversation::times))?;
    let zone = app.zone();
    let values = conversations
        .iter()
        .map(|c| serializers::conversation(c, zone))
        .collect();
    Ok(Reply::ok(Value::List(values)))
}
