//! `[rest]`: the REST API.

use super::declare::settings;

settings! {
    /// The REST API.
    pub struct Rest in "rest" {
        /// Send messages that came by REST to the open WebSockets too. The original does not.
        broadcast: bool = false,
    }
}
