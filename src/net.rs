//! Connections, whatever is spoken over them: [`Stream`] is the socket or TLS under one, [`Peer`]
//! and [`Ends`] say between whom it is, [`proxy`] reads what a balancer says before, and `first`
//! makes a handshake in HTTP/1.0 one that hyper serves. [`client`] opens connections of our own;
//! [`is_public`] says where they may lead.

pub mod client;
mod first;
mod forward;
mod outlet;
mod peer;
pub mod proxy;
mod public;
mod stream;

pub use self::{
    outlet::Outlet,
    peer::{Ends, FORWARDED_FOR, FORWARDED_PROTO, Peer},
    public::is_public,
    stream::{ConnectionPlace, Io, Socket, Stream},
};
