//! Times as the answers and frames of these systems have them.

use crate::python::datetime::{Timestamp, Zone, to_wire};

/// Returns a time as pydantic writes one in UTC: `2025-12-12T14:00:00.120000Z`.
#[must_use]
pub fn zulu(time: Timestamp) -> String {
    to_wire(time, &Zone::utc())
}

/// Returns a time as `isoformat` writes one in UTC: `2025-12-12T14:00:00.120000+00:00`.
#[must_use]
pub fn with_offset(time: Timestamp) -> String {
    format!("{}+00:00", naive(time))
}

/// Returns a time in UTC without saying so: `2025-12-12T14:00:00.120000`.
#[must_use]
pub fn naive(time: Timestamp) -> String {
    let mut text = zulu(time);
    text.truncate(text.trim_end_matches('Z').len());
    text
}
