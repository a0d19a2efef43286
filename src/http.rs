//! The HTTP side: REST as Django REST framework answers it, the chat page, and what operators ask.
//!
//! - [`middleware`] is the order in which a request is looked at,
//! - [`router`] is the whole URL map on one page,
//! - [`extract`] is a request as the handlers see it,
//! - [`reply`] is an answer before it has headers,
//! - [`document`] is one that is read while it is sent,
//! - [`cors`] tells browsers which other sites may read an answer,
//! - [`api`] has one file for each resource,
//! - [`ops`] answers load balancers and Prometheus,
//! - [`page`] is the chat page,
//! - [`docs`] is the API document.

pub mod api;
mod body;
pub mod cors;
pub mod docs;
pub mod document;
pub mod extract;
pub mod middleware;
pub mod ops;
pub mod page;
pub mod reply;
pub mod router;

pub use body::{Body, Broken};

/// An answer on its way out.
pub type Response = hyper::Response<Body>;
