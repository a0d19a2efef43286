//! The matching chat, a FastAPI service: rooms of the members of two groups.

use std::sync::Arc;

use super::{System, SystemError};
use crate::app::App;

/// Opens what the chat needs, and starts it.
///
/// # Errors
/// When what it needs cannot be reached or used.
#[allow(clippy::unused_async, reason = "it is not made yet")]
pub async fn start(_: &Arc<App>) -> Result<Box<dyn System>, SystemError> {
    Err(SystemError::Unusable("it is not made yet".into()))
}
