//! The server as clients and operators meet it: over TCP, and from a shell. What is pure is tested
//! beside the code; what Django answers to the byte is held by `compat/`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this is how a test fails"
)]
#![allow(
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "counters are small whole numbers"
)]

mod support;

mod answers;
mod auth;
mod browsers;
mod check;
mod cli;
mod drain;
mod errors;
mod floods;
mod frames;
mod full;
mod gateway;
mod handshake;
mod history;
mod host;
mod hostile;
mod http;
mod layers;
mod life;
mod limits;
mod logs;
mod metrics;
mod mysql;
mod nginx;
mod postgres;
mod probes;
mod protocol;
mod races;
mod redis;
mod rest;
mod security;
mod store;
mod talk;
mod tls;
mod traces;
#[cfg(debug_assertions)]
mod vital;
