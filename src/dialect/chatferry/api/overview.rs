//! `inbox` and `search`: messages of all of a user's conversations.

use super::{
    super::{attached, cursor::Cursor},
    call::Call,
    messages::PAGE,
    problem::Problem,
    views::{FoundView, InboxView, PlacedMessage},
};
use crate::{http::Response, store::history::PAGE_MESSAGES};

/// Most characters of a text that is searched for.
const TEXT_MAX: usize = 200;

/// `GET inbox`: what was said in all conversations since a cursor, the oldest first; the newest
/// without one.
pub async fn inbox(call: Call<'_>) -> Result<Response, Problem> {
    let (user, limit) = (call.user()?, call.limit(PAGE, PAGE_MESSAGES)?);
    let (after, now) = (call.cursor("after")?, call.now());
    call.allow_rows()?;
    let start = after.map(|cursor| cursor.start(now));
    let chat = &call.app.chat_with_groups;
    let found = chat.inbox(call.caller(), &user, start, limit).await?;
    call.charge_rows(found.messages.len());
    let last = found.messages.last();
    let next = last.filter(|_| found.is_full && after.is_some());
    let next = next.map(Cursor::of);
    call.ok(&InboxView {
        messages: found.messages.iter().map(PlacedMessage::of).collect(),
        cursor: next.is_none().then(|| Cursor::all(now)),
        next,
    })
}

/// `GET search`: messages that have a text in them, the newest first.
pub async fn search(call: Call<'_>) -> Result<Response, Problem> {
    let user = call.user()?;
    let text = call.parameter("q").unwrap_or_default();
    if text.is_empty() || text.chars().nth(TEXT_MAX).is_some() {
        return Err(Problem::bad(format!("q takes 1 to {TEXT_MAX} characters")));
    }
    let within = call.ids("conversation", 1)?.pop();
    let before = call.cursor("before")?.map(Cursor::place);
    let limit = call.limit(PAGE, PAGE_MESSAGES)?;
    call.allow_rows()?;
    let (chat, caller) = (&call.app.chat_with_groups, call.caller());
    let found = chat
        .search(
            caller,
            &user,
            &text,
            attached::searched,
            (within, before),
            limit,
        )
        .await?;
    call.charge_rows(found.rows());
    call.ok(&FoundView {
        messages: found.messages.iter().map(PlacedMessage::of).collect(),
        before: found.next.map(|(at, id)| Cursor::Exact(at, id)),
    })
}
