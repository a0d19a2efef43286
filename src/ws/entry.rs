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
    chat::{Participants, policy::Caller},
    hub::{Hub, Membership, queue::Queue},
    id::ConversationId,
    service::{Chat, ChatError, SocketHistory},
};

/// Makes the queue of a socket a member of a conversation's room, if the policy admits the caller.
/// From then on it misses nothing. Returns the participants, too.
///
/// # Errors
/// When the policy does not admit the caller, or the store or the layer cannot be asked.
pub async fn join(
    (chat, hub): (&Chat, &Arc<Hub>),
    caller: &Caller,
    conversation_id: ConversationId,
    queue: &Arc<Queue>,
) -> Result<(Membership, Arc<Participants>), ChatError> {
    let participants = chat.admit_socket(caller, conversation_id).await?;
    let group = chat.group(conversation_id);
    let joined = hub.join(conversation_id, group, Arc::clone(queue));
    Ok((joined.await?, participants))
}

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
    guest.meter.allow_rows().map_err(Refusal::Throttled)?;
    // First a member, then the history: an event in between is in both, and shown once.
    let caller = &guest.admission.caller;
    let (membership, _) = join((&app.chat, &app.hub), caller, conversation_id, guest.queue).await?;
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
