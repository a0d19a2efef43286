//! Lets a socket into one conversation, where it stays for life: admitted by the policy, a member of
//! the conversation's room, and with the history as its first frames.

use std::sync::Arc;

use super::{
    history::{FirstFrames, HistoryRest},
    protocol::{Guest, Histories},
    refusal::Refusal,
};
use crate::{
    app::App,
    hub::Membership,
    id::ConversationId,
    service::{ChatError, SocketHistory},
};

/// Lets a socket into a conversation.
///
/// # Errors
/// When the policy does not admit its user, a limit is reached, or the store or the layer cannot be
/// asked.
pub async fn enter_conversation<P: Histories>(
    app: &App,
    protocol: &P,
    conversation_id: ConversationId,
    guest: &Guest<'_>,
) -> Result<(Membership, FirstFrames), Refusal> {
    let caller = &guest.admission.caller;
    app.chat.admit_socket(caller, conversation_id).await?;
    guest.meter.allow_rows().map_err(Refusal::Throttled)?;
    // First a member, then the history: an event in between is in both, and shown once.
    let group = app.chat.group(conversation_id);
    let membership = app
        .hub
        .join(conversation_id, group, Arc::clone(guest.queue))
        .await
        .map_err(|error| Refusal::Unavailable(error.into()))?;
    let history = app.chat.history(conversation_id).await;
    let first = match history.map_err(ChatError::from)? {
        SocketHistory::Short(page) => {
            membership.is_shown(&page.messages);
            guest.meter.charge_rows(page.messages.len());
            FirstFrames::Frame(page.frame(protocol.slot(), |messages| protocol.history(messages)))
        }
        SocketHistory::Long(pages) => {
            let meter = guest.meter.clone();
            FirstFrames::Telling(HistoryRest::new(pages, protocol.long_history(), meter))
        }
    };
    Ok((membership, first))
}
