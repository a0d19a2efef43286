//! What operators learn of attacks, and what attackers find closed that is small: logs, files,
//! descriptors, secrets.

mod closed;
mod log;
mod system;
