//! What the frames say. [`django`] is the original's protocol, byte for byte.

pub mod django;
