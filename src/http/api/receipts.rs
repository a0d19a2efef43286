//! `messages/<uuid>/read/`.

use uuid::Uuid;

use super::{Failure, admit, allow, data, failed};
use crate::{
    app::App,
    chat::policy::Caller,
    dialect::django::serializers,
    django::drf::validate_reader,
    http::{extract::Request, reply::Reply},
    limits::Action,
    store::Of,
};

/// `PUT`: marks a message as read; 200 even when the receipt is new.
pub async fn mark_read(
    app: &App,
    caller: &Caller,
    request: &Request,
    message_id: Uuid,
) -> Result<Reply, Failure> {
    admit(app, caller, Of::Message(message_id)).await?;
    app.chat
        .require_message(message_id)
        .await
        .map_err(failed(app))?;
    let user_id = validate_reader(&data(app, request)?, app.language())?;
    let reader = app.chat.admit_as(caller, &user_id);
    reader.map_err(failed(app))?;
    allow(app, request, Action::Message)?;
    let receipt = app
        .chat
        .mark_read_unannounced(message_id, user_id)
        .await
        .map_err(failed(app))?;
    Ok(Reply::ok(serializers::receipt(&receipt, app.zone())))
}
