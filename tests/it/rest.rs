//! The REST API as clients meet it: its paths, HTTP as it really arrives, and answers of any length.

mod answers;
mod api;
mod browsers;
mod http;
