//! The channel layer on real Redis servers: what stands in Redis, what happens when it goes away,
//! and that live Python processes and ours hear each other.
//!
//! Each test starts the servers it needs from an installed `redis-server`.
//! `CHATFERRY_TEST_CHANNELS` names Pythons with `channels_redis`, separated by colons; `tests/run`
//! makes one for each `requirements-*.txt` here. What is missing is said, and its tests are
//! skipped. Which statement of the wire contract is shown by which test stands in
//! `src/layer/README.md`.

mod audience;
mod beside;
pub mod cable;
mod clocks;
mod core;
mod fleet;
mod hostile;
pub mod instance;
mod interop;
mod leaving;
mod lifetime;
mod mixed;
mod owed;
mod partition;
mod peer;
mod pubsub;
mod queues;
mod refresh;
mod revoked;
mod shown;
mod statements;
mod transport;
mod trouble;
mod world;
