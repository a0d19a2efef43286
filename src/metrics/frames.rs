//! The traffic of one socket since it was last reported. A socket counts for itself and reports
//! once for all that was read or written together.

use super::word::{FrameType, Word};

/// Frames and their bytes by type, in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frames([Count; FrameType::ALL.len()]);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    frames: u32,
    /// Headers included. Far more than is ever noted between two reports.
    bytes: u32,
}

impl Frames {
    /// Notes a frame of this many bytes, its header included.
    pub fn note(&mut self, kind: FrameType, bytes: usize) {
        if let Some(count) = self.0.get_mut(kind.place()) {
            count.frames = count.frames.saturating_add(1);
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            count.bytes = count.bytes.saturating_add(bytes);
        }
    }

    /// Notes a frame as it is written.
    pub fn note_written(&mut self, frame: &[u8]) {
        let first = frame.first().copied().unwrap_or_default();
        self.note(FrameType::of(first), frame.len());
    }

    /// Frames and bytes of all types.
    #[must_use]
    pub fn sum(&self) -> (u32, u32) {
        self.0.iter().fold((0, 0), |(frames, bytes), count| {
            let frames = count.frames.saturating_add(frames);
            (frames, count.bytes.saturating_add(bytes))
        })
    }

    /// Takes what was noted, by type: frames and bytes.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (FrameType, u64, u64)> {
        let counts = std::mem::take(&mut self.0);
        FrameType::ALL
            .iter()
            .zip(counts)
            .filter(|(_, count)| count.frames > 0)
            .map(|(kind, count)| (*kind, count.frames.into(), count.bytes.into()))
    }
}
