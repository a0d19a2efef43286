//! Chatferry in front of Django: what is not served here is passed on, a share of the
//! conversations is left there, and both sides are compared. Framing is tested against upstreams
//! that write exact bytes, the rest against the reference itself where it can be started.

mod busy;
pub mod django;
mod forward;
mod headers;
mod hostile;
mod moving;
mod passing_by;
pub mod policy;
mod rollout;
mod shadow;
mod sockets;
mod speaking;
mod spellings;
mod tls;
pub mod upstream;
