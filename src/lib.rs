//! Chatferry serves a Django Channels chat without Django, beside Django.
//!
//! The rooms, each of which imports those below it and none above:
//!
//! | module | subject |
//! |---|---|
//! | [`cli`] | the commands; `serve` starts everything |
//! | [`server`] | accepts, limits and ends connections; which room answers a request |
//! | [`host`] | sockets and requests of any Channels application, whose code runs in workers |
//! | [`gateway`] | what is not served here is passed to Django; rollout and shadow |
//! | [`dialect`] | the kinds of chat, one room each: URLs, frames, events, texts |
//! | [`fastapi`] | what FastAPI answers, for dialects that stand in for its applications |
//! | [`ws`] | the engine of WebSockets: handshake, reader, writer, sessions |
//! | [`http`] | the engine of HTTP: requests, answers that stream, what operators ask |
//! | [`events`] | events for other services, published from the store's outbox to sinks |
//! | [`app`] | the handles of one server |
//! | [`service`] | every use case of the chat |
//! | [`hub`] | who is connected to this process, and the fan-out to them |
//! | [`accounts`] | users of our own: passwords, and tokens of those who have logged in |
//! | [`auth`] | who is asking, and what they may do |
//! | [`layer`] | how an event reaches other processes: Channels' channel layer |
//! | [`store`] | where conversations are kept: Django's own tables, and the group commit |
//! | [`files`] | the bytes of attachments: in a directory, or in an S3 |
//! | [`chat`] | the domain: conversations, messages, receipts, events, policy |
//! | [`limits`] | how much one client may ask for |
//! | [`telemetry`] | logs and traces |
//! | [`net`], [`tls`] | connections and who is at their ends; certificates and whom to trust |
//! | [`rollout`] | which conversations are served here, and which by Django |
//! | [`vital`], [`shutdown`] | tasks that the process cannot do without; going away |
//! | [`metrics`], [`config`] | what an operator sees and sets |
//! | [`python`] | how Python writes JSON, text and times |
//! | [`value`], [`id`], [`clock`], [`random`] | data whose shape the sender chose; ids of rows; the time; randomness |
//!
//! A test (`tests/it/layers.rs`) holds the order.
//!
//! A message sent on a socket goes `ws::connection` → `ws::session` (asks the dialect's protocol
//! what the frame wants) → `service` → `store` (the commit is awaited) → `layer` → `hub` (frame
//! bytes made once) → the queue of every socket of the conversation → `ws::writer`. One sent by
//! REST comes to `service` by `server::site` → `http::serve` → the dialect's middleware and view.

#![deny(unsafe_code)]

pub mod accounts;
pub mod app;
pub mod auth;
pub mod chat;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dialect;
pub mod events;
pub mod fastapi;
pub mod files;
pub mod gateway;
pub mod host;
pub mod http;
pub mod hub;
pub mod id;
pub mod layer;
pub mod limits;
pub mod metrics;
pub mod net;
pub mod python;
pub mod random;
pub mod rollout;
pub mod server;
pub mod service;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod value;
pub mod vital;
pub mod ws;
