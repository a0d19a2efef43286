//! Users of our own, for dialects whose tables have them: passwords, and the tokens of those who
//! have logged in.
//!
//! | | |
//! |---|---|
//! | [`passwords`] | bcrypt, within a bound on work |
//! | [`tokens`] | access and refresh tokens |
//! | [`refresh`] | refresh tokens that were not used yet |
//! | [`handshake`] | tokens of sockets |

pub mod handshake;
pub mod passwords;
pub mod refresh;
pub mod tokens;
