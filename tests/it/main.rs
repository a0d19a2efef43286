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

mod auth;
mod cli;
mod dialect;
mod events;
mod fastapi;
mod gateway;
mod host;
mod layers;
mod limits;
mod mysql;
mod native;
mod postgres;
mod redis;
mod rest;
mod security;
mod server;
mod socket;
mod sqlite;
mod telemetry;
