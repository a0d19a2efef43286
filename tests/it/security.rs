//! The log that operators have of attacks, and small things that attackers find closed: files,
//! descriptors, secrets.

mod closed;
mod ends;
mod log;
mod system;
