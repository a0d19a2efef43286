//! Finding the next byte of a string that needs attention: the inner loop of reading and writing.

/// Returns the number of bytes at the start of `bytes` that are not `special`.
///
/// Looks at whole blocks first, without leaving early inside one, so that the compiler can compare
/// a block at once.
pub(super) fn plain_run(bytes: &[u8], special: impl Fn(u8) -> bool) -> usize {
    const BLOCK: usize = 16;
    let plain_blocks = bytes
        .chunks_exact(BLOCK)
        .take_while(|block| !block.iter().fold(false, |found, &b| found | special(b)))
        .count();
    let start = plain_blocks * BLOCK;
    let tail = bytes.get(start..).unwrap_or_default();
    start + tail.iter().position(|&b| special(b)).unwrap_or(tail.len())
}
