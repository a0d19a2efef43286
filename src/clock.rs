//! The time of day, as the system has it.

use std::time::{Duration, SystemTime};

/// The time since the first moment of 1970, in UTC; none by a clock that is set before it.
#[must_use]
pub fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
