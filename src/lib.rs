//! Chatferry serves a Django Channels chat without Django, beside Django.
//!
//! In reading order:
//!
//! | module | what it is |
//! |---|---|
//! | [`chat`] | the domain: conversations, messages, receipts, events, and every use case |
//! | [`store`] | where they are kept: Django's own tables, and the group commit |
//! | [`layer`] | how an event reaches other processes: Channels' channel layer |
//! | [`hub`] | who is connected to this process, and the fan-out to them |
//! | [`auth`] | who is asking, and what they may do |
//! | [`ws`] | WebSockets: handshake, frames, sessions |
//! | [`http`] | REST: the URL map, one file for each resource, the chat page |
//! | [`limits`] | how much one client may ask for |
//! | [`gateway`] | what is not served here is passed to Django; rollout and shadow |
//! | [`host`] | sockets of any Channels application, whose consumers run in workers |
//! | [`serializers`] | the fields that clients see, in their order |
//! | [`django`] | every inherited oddity, one named place each |
//! | [`value`], [`clock`] | data whose shape the sender chose; the time |
//! | [`vital`] | tasks that the process cannot do without |
//! | [`app`], [`server`], [`tls`], [`shutdown`] | the parts wired together, listening, and going away |
//! | [`config`], [`cli`], [`telemetry`], [`metrics`] | what an operator sets and sees |
//!
//! A message sent on a socket goes `ws::connection` → `ws::session` (what does this frame ask?) →
//! `chat::service` → `store` (the commit is awaited) → `layer` → `hub` (frame bytes made once) →
//! the queue of every socket of the conversation → `ws::writer`.

#![deny(unsafe_code)]

pub mod app;
pub mod auth;
pub mod chat;
pub mod cli;
pub mod clock;
pub mod config;
pub mod django;
pub mod gateway;
pub mod host;
pub mod http;
pub mod hub;
pub mod layer;
pub mod limits;
pub mod metrics;
pub mod serializers;
pub mod server;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod value;
pub mod vital;
pub mod ws;
