//! `conversations/`, `conversations/<uuid>/` and `users/<str>/conversations/`.

use hyper::StatusCode;
use uuid::Uuid;

use super::{Failure, admit, allow, allow_rows, data, failed, parts::Source};
use crate::{
    app::App,
    chat::policy::Caller,
    django::drf::validate_participants,
    http::{extract::Request, reply::Reply},
    limits::Action,
    store::Of,
    value::Value,
};

/// `POST`: the conversation of two people; 201 if it is new, 200 if it was there.
pub async fn create(app: &App, caller: &Caller, request: &Request) -> Result<Reply, Failure> {
    let (first, second) = validate_participants(&data(app, request)?, app.language())?;
    allow(app, request, Action::Conversation)?;
    allow_rows(app, request)?;
    let (conversation, is_new) = app
        .chat
        .open_conversation(caller, first, second)
        .await
        .map_err(failed(app))?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(Reply::read(status, Source::conversation(app, conversation)))
}

/// `GET`: one conversation with all its messages, deleted ones among them.
pub async fn retrieve(
    app: &App,
    caller: &Caller,
    request: &Request,
    id: Uuid,
) -> Result<Reply, Failure> {
    admit(app, caller, Of::Conversation(id)).await?;
    allow_rows(app, request)?;
    let conversation = app.chat.conversation(id).await.map_err(failed(app))?;
    let source = Source::conversation(app, conversation);
    Ok(Reply::read(StatusCode::OK, source))
}

/// `GET`: the active conversations of a user, the newest first. Never paged.
pub fn list(app: &App, caller: &Caller, request: &Request, user: String) -> Result<Reply, Failure> {
    if !app.chat.may_list(caller, &user) {
        return Ok(Reply::ok(Value::List(Vec::new())).withheld("list"));
    }
    allow_rows(app, request)?;
    let source = Source::conversations(app, caller, user);
    Ok(Reply::read(StatusCode::OK, source))
}
