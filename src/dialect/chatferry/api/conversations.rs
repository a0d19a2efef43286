//! `me`, `conversations`, and what is below one of them.

use hyper::StatusCode;
use serde::Deserialize;

use super::{
    super::{
        frames::{ConversationView, conversation_at, place_of, time},
        requests::READ_MAX,
    },
    call::Call,
    groups,
    problem::Problem,
    views::{ConversationsView, LimitsView, MeView, MemberView, MembersView},
};
use crate::{
    http::Response,
    id::ConversationId,
    limits::LimitedAction,
    store::{Subject, history::PAGE_MESSAGES},
};

/// Conversations of a page for which no number is given, and the most of one.
const PAGE: usize = 50;
const PAGE_MAX: usize = 100;

/// `GET me`: as whom the caller is known, and the bounds of requests.
pub fn me(call: Call<'_>) -> Result<Response, Problem> {
    let message_bytes = call.app.config.ws.max_message_bytes;
    let files = call.app.chat.files();
    call.ok(&MeView {
        user: call.admission.user.as_deref(),
        time: time(call.now()),
        limits: LimitsView {
            message_bytes,
            page_messages: PAGE_MESSAGES,
            read_messages: READ_MAX,
            attachments: files.map(|files| files.per_message),
            attachment_bytes: files.map(|files| files.file_bytes),
        },
    })
}

/// `GET conversations`: those of the user, the latest message first.
pub async fn list(call: Call<'_>) -> Result<Response, Problem> {
    let (user, limit) = (call.user()?, call.limit(PAGE, PAGE_MAX)?);
    let after = call.cursor("after")?.map(conversation_at);
    call.allow_rows()?;
    let chat = &call.app.chat_with_groups;
    let list = chat
        .list_conversations(call.caller(), &user, after, limit)
        .await?;
    call.charge_rows(list.entries.len());
    call.ok(&ConversationsView {
        conversations: list.entries.iter().map(ConversationView::of).collect(),
        next: list.next.map(place_of),
    })
}

/// The body of `POST conversations`.
#[derive(Deserialize)]
struct NewConversation {
    with: Option<String>,
    name: Option<String>,
    members: Option<Vec<String>>,
}

/// `POST conversations`: the one of the user and somebody else, or a group; 201 if it is new, 200 if it
/// was there.
pub async fn open(call: Call<'_>) -> Result<Response, Problem> {
    let user = call.user()?;
    let NewConversation {
        with,
        name,
        members,
    } = call.body()?;
    if let Some(members) = members {
        return groups::create(call, &user, name, members).await;
    }
    let with = with.filter(|user| !user.is_empty());
    let with = with.ok_or_else(|| Problem::bad("with must name a user"))?;
    call.allow(LimitedAction::Conversation)?;
    let chat = &call.app.chat_with_groups;
    let opened = chat.open_conversation(call.caller(), user.clone(), with);
    let (conversation, is_new) = opened.await?;
    let entry = chat.conversation_entry(conversation, Some(&user)).await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    call.json(status, &ConversationView::of(&entry))
}

/// `GET conversations/{id}`. `unread` is 0 where no user is named or known.
pub async fn show(call: Call<'_>, id: ConversationId) -> Result<Response, Problem> {
    let user = match call.parameter("user") {
        None => call.admission.user.as_deref().map(str::to_owned),
        named => Some(call.speaker(named)?),
    };
    call.admit(id).await?;
    let chat = &call.app.chat_with_groups;
    let conversation = chat.conversation(id).await?;
    let entry = chat
        .conversation_entry(conversation, user.as_deref())
        .await?;
    call.ok(&ConversationView::of(&entry))
}

/// `GET conversations/{id}/members`.
pub async fn members(call: Call<'_>, id: ConversationId) -> Result<Response, Problem> {
    call.admit(id).await?;
    let chat = &call.app.chat_with_groups;
    let found = chat.members(Subject::Conversation(id)).await?;
    let group = chat.group_of(id).await?;
    let role = |user: &str| {
        let member = group.as_ref().and_then(|group| group.member(user));
        member.map(|member| member.role.as_str())
    };
    let members = found.as_slice().iter().map(|user| MemberView {
        user,
        role: role(user),
    });
    call.ok(&MembersView {
        members: members.collect(),
    })
}
