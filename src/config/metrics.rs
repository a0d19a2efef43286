//! `[metrics]`: where the numbers are read.

use super::declare::settings;
use super::server::{Bind, Shown};

settings! {
    /// The metrics.
    pub struct Metrics in "metrics" {
        /// A separate address for `/metrics`, written as `server.bind`, and then it is only there;
        /// empty serves it on `server.bind`. It is plain HTTP, and tells nothing about people.
        bind: Option<Bind> = "",
        /// Serve `/metrics` on `server.bind` if there is no `metrics.bind`: `yes`, `no`, or `auto`
        /// for only while `auth.identity` is `none`.
        public: Shown = "auto",
    }
}
