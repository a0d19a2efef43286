//! `conversations/<uuid>/messages/` and `conversations/<uuid>/messages/send/`.

use futures_util::{StreamExt, future, stream};
use hyper::StatusCode;
use uuid::Uuid;

use super::{Failure, admit, allow, data, failed, showable};
use crate::{
    app::App,
    auth::policy::Caller,
    chat::{Message, NewMessage},
    django::{datetime::in_range, drf::validate_message},
    http::{Broken, extract::Request, listing::Listing, reply::Reply},
    limits::Action,
    serializers,
    store::{
        Of,
        history::{History, Pages},
    },
};

/// `GET`: the messages that are not deleted, oldest first. Never paged.
pub async fn list(app: &App, caller: &Caller, conversation_id: Uuid) -> Result<Reply, Failure> {
    admit(app, caller, Of::Conversation(conversation_id)).await?;
    let history = app.chat.messages(conversation_id);
    match history.await.map_err(failed(app))? {
        History::Short(messages) => {
            showable(app, messages.iter().flat_map(Message::times))?;
            Ok(Reply::ok(serializers::messages(&messages, app.zone())))
        }
        History::Long(pages) => long_list(app, pages).await,
    }
}

/// A list that is sent while it is read. Its first page is read before its head goes out: what is
/// wrong from the beginning is told as if the list were short.
async fn long_list(app: &App, mut pages: Pages) -> Result<Reply, Failure> {
    let first = pages.next().await;
    let first = first.map_err(|error| failed(app)(error.into()))?;
    let first = first.unwrap_or_default();
    showable(
        app,
        first.iter().flat_map(Message::times).chain(pages.newest()),
    )?;
    let zone = app.zone().clone();
    let pages = stream::once(future::ready(Ok(first))).chain(pages.stream());
    let items = pages.map(move |page| {
        let page = page.inspect_err(|error| tracing::error!(%error, "a list broke off"))?;
        let mut times = page.iter().flat_map(Message::times);
        if !times.all(|time| in_range(time, &zone)) {
            return Err(Broken::Unshowable);
        }
        Ok(page
            .iter()
            .map(|m| serializers::message(m, &zone))
            .collect())
    });
    Ok(Reply::listing(Listing::new(items)))
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
