//! `[metrics]`: where the numbers are read.

use super::declare::settings;
use super::server::Bind;

settings! {
    /// The metrics.
    pub struct Metrics in "metrics" {
        /// A separate address for `/metrics`; empty serves it on `server.bind`, which is all that is
        /// served yet.
        bind: Option<Bind> = "",
    }
}
