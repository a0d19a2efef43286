//! Who is let in, and what they may do: tokens, sessions of a real Django, and every action as
//! everybody who could try it.

mod actions;
pub mod django;
mod django_token;
mod jwks;
mod jwt;
mod others;
mod owasp;
mod renewal;
mod rights;
pub mod token;
pub mod wire;
mod words;
