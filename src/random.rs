//! Randomness of the system. What cannot be done without fails with it; what only spreads waits
//! goes on.

use uuid::{Builder, Uuid};

/// The system gives no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no randomness: {0}")]
pub struct NoRandomness(getrandom::Error);

/// Returns random bytes that cannot be guessed.
///
/// # Errors
/// [`NoRandomness`]
pub fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// Fills a buffer as [`bytes()`] does.
///
/// # Errors
/// [`NoRandomness`]; the buffer may be filled in part.
pub fn fill(buffer: &mut [u8]) -> Result<(), NoRandomness> {
    getrandom::fill(buffer).map_err(NoRandomness)
}

/// Returns a name that no other process has, as 32 hex digits.
///
/// # Errors
/// [`NoRandomness`]
pub fn name() -> Result<String, NoRandomness> {
    let id: Uuid = Builder::from_random_bytes(bytes()?).into_uuid();
    Ok(id.simple().to_string())
}

/// Returns a number between 0 and 1 by which waits are spread; 0 if the system gives none, as a
/// wait must not fail.
#[must_use]
pub fn fraction() -> f64 {
    let random = getrandom::u32().unwrap_or_default();
    f64::from(random) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_random_uuids_and_none_comes_twice() {
        let (one, two) = (name().unwrap(), name().unwrap());
        let id: Uuid = one.parse().unwrap();
        assert_eq!((id.get_version_num(), one.len()), (4, 32));
        assert_ne!(one, two);
    }

    #[test]
    fn fractions_are_spread_from_0_to_1() {
        let fractions: Vec<f64> = (0..1000).map(|_| fraction()).collect();
        assert!(fractions.iter().all(|it| (0.0..=1.0).contains(it)));
        assert!(fractions.iter().any(|it| *it < 0.1) && fractions.iter().any(|it| *it > 0.9));
    }
}
