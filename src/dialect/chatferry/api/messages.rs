//! `conversations/{id}/messages`, and one of them.

use hyper::{StatusCode, header::HeaderName};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::{
    super::{
        attached,
        frames::MessageView,
        pages,
        requests::{HistoryPlace, UNKNOWN_VERSION, chosen, distinct},
    },
    call::{Call, GivenId, nothing},
    problem::{Problem, ProblemCode},
    views::PageView,
};
use crate::{
    chat::NewMessage,
    http::Response,
    id::{ConversationId, MessageId},
    limits::LimitedAction,
    store::history::PAGE_MESSAGES,
};

/// Messages of a page for which no number is given.
pub const PAGE: usize = 50;

/// Most bytes of an `Idempotency-Key`.
const KEY_MAX: usize = 64;

pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// `GET`: a page before or after a cursor, or the newest. With both cursors, `before` counts.
pub async fn list(call: Call<'_>, id: ConversationId) -> Result<Response, Problem> {
    let limit = call.limit(PAGE, PAGE_MESSAGES)?;
    let (before, after) = (call.cursor("before")?, call.cursor("after")?);
    call.admit(id).await?;
    call.allow_rows()?;
    let place = before.map(HistoryPlace::Before);
    let place = place.or(after.map(HistoryPlace::After));
    let (page, ends) = pages::read(call.app, id, place, limit, call.now()).await?;
    call.charge_rows(page.messages.len());
    call.ok(&PageView {
        messages: page.messages.iter().map(MessageView::of).collect(),
        next: ends.next,
        before: ends.before,
    })
}

/// `GET` of one message, unless it is deleted.
pub async fn show(
    call: Call<'_>,
    id: ConversationId,
    message: MessageId,
) -> Result<Response, Problem> {
    call.admit(id).await?;
    let message = call.app.chat_with_groups.message_in(id, message).await?;
    call.ok(&MessageView::of(&message))
}

/// The body of `PATCH`.
#[derive(Deserialize)]
struct ChangedBody {
    content: String,
}

/// `PATCH`: gives a message of the user's new content, and tells the conversation.
pub async fn edit(
    call: Call<'_>,
    id: ConversationId,
    message: MessageId,
) -> Result<Response, Problem> {
    call.admit(id).await?;
    let ChangedBody { content } = call.body()?;
    let user = call.user()?;
    check_content(&call, &content)?;
    call.allow(LimitedAction::Message)?;
    let content = attached::recompose(call.app, (id, message), content).await?;
    let chat = &call.app.chat_with_groups;
    let message = chat.change((id, message), &user, Some(content)).await?;
    call.ok(&MessageView::of(&message))
}

/// `DELETE`: takes a message of the user's out of every history, and tells the conversation; 204.
pub async fn delete(
    call: Call<'_>,
    id: ConversationId,
    message: MessageId,
) -> Result<Response, Problem> {
    call.admit(id).await?;
    let user = call.user()?;
    call.allow(LimitedAction::Message)?;
    call.app
        .chat_with_groups
        .change((id, message), &user, None)
        .await?;
    Ok(nothing())
}

fn check_content(call: &Call<'_>, content: &str) -> Result<(), Problem> {
    if content.is_empty() {
        return Err(Problem::bad("content must not be empty"));
    }
    let most = call.app.config.ws.max_message_bytes;
    if content.len() > most {
        let why = format!("content must have no more than {most} bytes");
        return Err(Problem::new(ProblemCode::TooLong, why));
    }
    Ok(())
}

/// The body of a message that is sent.
#[derive(Deserialize)]
struct SentBody {
    id: Option<GivenId>,
    #[serde(default)]
    content: String,
    #[serde(default)]
    attachments: Vec<GivenId>,
    kind: Option<String>,
    sender: Option<String>,
}

/// `POST`: stores a message and tells the conversation. Sent again under its id or its key it is
/// stored once: 201 the first time, then 200.
pub async fn send(call: Call<'_>, id: ConversationId) -> Result<Response, Problem> {
    call.admit(id).await?;
    let body: SentBody = call.body()?;
    let sender = call.speaker(body.sender.or_else(|| call.parameter("user")))?;
    let attachments = distinct(body.attachments.iter().map(|it| it.0.into()));
    let attachments = attachments.map_err(Problem::bad)?;
    if attachments.is_empty() || !body.content.is_empty() {
        check_content(&call, &body.content)?;
    }
    let key = match (body.id, call.request.header(&IDEMPOTENCY_KEY)) {
        (Some(GivenId(own)), _) => {
            let own = chosen(own).ok_or_else(|| Problem::bad(UNKNOWN_VERSION))?;
            Some(own)
        }
        (None, Some(key)) => Some(id_of_key(&key, &sender, id)?),
        (None, None) if attachments.is_empty() => None,
        // They are for this message before it is stored.
        (None, None) => Some(Uuid::now_v7().into()),
    };
    call.allow(LimitedAction::Message)?;
    let (mut content, mut kind) = (body.content, body.kind.unwrap_or_else(|| "text".to_owned()));
    if let Some(own) = key.filter(|_| !attachments.is_empty()) {
        let place = (sender.as_str(), own);
        let attached = attached::compose(call.app, place, &content, &attachments).await?;
        (content, kind) = (attached.content, attached.kind.to_owned());
    }
    let new = NewMessage {
        id: key,
        conversation_id: id,
        sender_id: sender,
        content,
        message_type: kind,
        is_deleted: false,
        attachments,
    };
    let (message, is_new) = call.app.chat_with_groups.post_once(new).await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    call.json(status, &MessageView::of(&message))
}

/// Returns the id of a message that is sent under a key: the key itself if it is such an id, else one
/// of the form of version 4 that the sender, the conversation and the key make.
fn id_of_key(key: &str, sender: &str, of: ConversationId) -> Result<MessageId, Problem> {
    // As a structured header has it, a text in quotes.
    let key = key.trim();
    let bare = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
    let key = bare.unwrap_or(key);
    if key.is_empty() || key.len() > KEY_MAX {
        return Err(Problem::bad(format!(
            "Idempotency-Key takes 1 to {KEY_MAX} bytes"
        )));
    }
    if let Some(id) = Uuid::try_parse(key).ok().and_then(chosen) {
        return Ok(id);
    }
    let mut hash = Sha256::new();
    for part in [sender, &of.to_string(), key] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    for (byte, hashed) in bytes.iter_mut().zip(hash.finalize()) {
        *byte = hashed;
    }
    Ok(Builder::from_random_bytes(bytes).into_uuid().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(key: &str, sender: &str, of: u128) -> Option<Uuid> {
        id_of_key(key, sender, Uuid::from_u128(of).into())
            .ok()?
            .uuid()
    }

    #[test]
    fn a_key_is_the_same_id_for_its_sender_and_conversation_only() {
        let made = id("order-7", "alice", 1).unwrap();
        assert_eq!(made.get_version_num(), 4);
        assert_eq!(id("\"order-7\"", "alice", 1), Some(made));
        for other in [
            id("order-8", "alice", 1),
            id("order-7", "bob", 1),
            id("order-7", "alice", 2),
            id("eorder-7", "alic", 1),
        ] {
            assert!(other.is_some_and(|other| other != made));
        }
    }

    #[test]
    fn a_key_that_is_an_id_is_that_id_and_a_long_one_is_refused() {
        let own = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0007);
        assert_eq!(id(&own.to_string(), "alice", 1), Some(own));
        // MariaDB refuses UUIDs of some versions, so such a key is hashed like any other text.
        let custom = "fa557f88-9be1-8d77-8001-3b1833f4a380";
        let made = id(custom, "alice", 1).unwrap();
        assert_eq!(made.get_version_num(), 4);
        assert_eq!(id("", "alice", 1), None);
        assert_eq!(id(&"a".repeat(65), "alice", 1), None);
    }
}
