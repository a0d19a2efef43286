//! The engine of HTTP, which has no opinions about what is served: those are the dialects'.
//!
//! - [`extract`] is a request as the handlers see it,
//! - [`serve`] reads one, has it answered, and counts it,
//! - [`reply`] has the answers that no dialect has an opinion about,
//! - [`document`] is an answer that is read while it is sent,
//! - [`cors`] tells browsers which other sites may read an answer,
//! - [`ops`] answers load balancers, Prometheus and operators,
//! - [`page`] is a page of ours.

mod body;
pub mod cors;
pub mod document;
pub mod extract;
pub mod ops;
pub mod page;
pub mod reply;
pub mod serve;

pub use body::{Body, Broken};

/// An answer on its way out.
pub type Response = hyper::Response<Body>;
