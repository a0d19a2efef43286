//! `messages/<uuid>/read/`.

use super::ViewFailure;
use crate::{
    dialect::django::{
        body::Data,
        drf::{FieldErrors, Language, validate_reader},
        reply::Reply,
        routes::{Call, Spoken},
        serializers,
    },
    id::MessageId,
    limits::LimitedAction,
    store::{Lookup, Subject},
};

/// `PUT`: marks a message as read; 200 even when the receipt is new.
pub async fn mark_read(call: Call<'_>, message_id: MessageId) -> Result<Reply, ViewFailure> {
    call.admit(Subject::Message(message_id)).await?;
    let chat = &call.app.chat;
    let found = chat.require_message(message_id).await;
    found.map_err(call.failed())?;
    let user_id = validate_reader(&call.data()?, call.language())?;
    let reader = chat.admit_as(call.caller, &user_id);
    reader.map_err(call.failed())?;
    call.allow(LimitedAction::Message)?;
    let receipt = chat.mark_read_unannounced(message_id, user_id).await;
    let receipt = receipt.map_err(call.failed())?;
    Ok(Reply::ok(serializers::receipt(&receipt, call.app.zone())))
}

/// Returns the reader of a message.
///
/// # Errors
/// As the view's.
pub fn spoken(
    data: &Data,
    language: Language,
    message_id: Option<MessageId>,
) -> Result<Spoken, FieldErrors> {
    let reader = validate_reader(data, language)?;
    Ok(Spoken {
        lookup: message_id.map(|id| Lookup::Receipt(id, reader.clone())),
        users: vec![reader],
    })
}
