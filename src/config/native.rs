//! `[native]`: the protocol of our own.

use super::declare::settings;

settings! {
    /// The protocol of our own, for clients that ask for the subprotocol `chatferry.v1` where
    /// Django's sockets are. Identity, policy, origins and limits are those of all sockets.
    pub struct Native in "native" {
        /// Serve those clients. Without it their handshakes are answered as any other, and no
        /// subprotocol is agreed on.
        enabled: bool = true,
        /// Conversations that one such socket may be in at once.
        subscriptions: usize = 64 in 1..=10_000,
    }
}
