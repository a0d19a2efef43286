//! Events to every socket of a conversation, in every process.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Chat, ChatError};
use crate::{
    chat::Event,
    id::ConversationId,
    layer::{LayerError, Sent},
    telemetry::trace::{self, Kind},
};

/// The outcome of a broadcast that the committer has begun.
pub(super) type BroadcastOutcome = oneshot::Receiver<Sent>;

impl Chat {
    /// Tells every socket of the conversation, in every process.
    ///
    /// # Errors
    /// When the layer does not take it.
    pub async fn broadcast(
        &self,
        conversation_id: ConversationId,
        event: Event,
    ) -> Result<(), ChatError> {
        self.metrics.layer_sent();
        let sent = self.layer.group_send(&self.group(conversation_id), event);
        self.passed_on(sent).await
    }

    /// Returns the callback that sends the event of a row once that is committed, and the receiver of
    /// the outcome. The event takes its place in the layer inside the call, which keeps the live
    /// order that of the commits.
    pub(super) fn broadcast_later(
        &self,
        conversation_id: ConversationId,
    ) -> (impl FnOnce(Event) + Send + 'static, BroadcastOutcome) {
        let (told, outcome) = oneshot::channel();
        let group = self.group(conversation_id);
        let (layer, metrics) = (Arc::clone(&self.layer), Arc::clone(&self.metrics));
        let send = move |event| {
            metrics.layer_sent();
            // Dropping the outcome does not take the event back.
            let _ = told.send(layer.group_send(&group, event));
        };
        (send, outcome)
    }

    pub(super) async fn delivered(&self, outcome: BroadcastOutcome) -> Result<(), ChatError> {
        match outcome.await {
            Ok(sent) => self.passed_on(sent).await,
            // Stored and not announced: the committer has ended.
            Err(_) => Ok(()),
        }
    }

    /// Waits until an event is sent. That other processes do not have it yet is no failure of the
    /// request: what had to be stored is, the sockets here have the event, and the layer owes it to
    /// the others.
    pub(super) async fn passed_on(&self, sent: Sent) -> Result<(), ChatError> {
        let span = trace::step("layer send", Kind::Producer);
        let outcome = sent.await;
        if let (Some(span), Err(error)) = (span, &outcome) {
            span.fail(error.label());
        }
        match outcome {
            Err(error @ (LayerError::Unavailable(_) | LayerError::Refused(_))) => {
                tracing::debug!(%error, "other processes do not have an event yet");
                self.metrics.layer_error(error.label());
                Ok(())
            }
            outcome => Ok(outcome?),
        }
    }
}
