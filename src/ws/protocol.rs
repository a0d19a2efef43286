//! The content of frames. [`django`] is the original's protocol, byte for byte; [`token`] is the frame
//! that it has no use for.

pub mod django;
pub mod token;
