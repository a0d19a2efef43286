//! Encrypted messages: how long a token is good, and for whom.

use super::vectors::Vector;
use crate::layer::redis::codec::*;

/// Checklist 55, second by second at both ends.
#[test]
fn tokens_are_good_for_exactly_as_long_as_in_python() {
    let mut seen = 0;
    for vector in Vector::all("encode_and_decode") {
        let codec = vector.codec(&vector.keys("key"));
        let (Some(from), Some(until)) = (vector.fernet("valid_from"), vector.fernet("valid_until"))
        else {
            if codec.keys.is_some() {
                assert!(
                    codec.open(&vector.stored(), 0).is_ok(),
                    "pub/sub minds no clock"
                );
            }
            continue;
        };
        let open = |now| codec.open(&vector.stored(), now);
        assert!(open(from).is_ok() && open(until).is_ok());
        let refused = Err(Undecodable::Token(InvalidToken));
        assert_eq!(open(from - 1), refused);
        assert_eq!(open(until + 1), refused);
        seen += 1;
    }
    assert!(seen >= 5);
}

/// Checklist 57.
#[test]
fn a_rotated_key_still_decrypts() {
    let vectors = Vector::all("encode_and_decode");
    let old = vectors
        .iter()
        .find(|v| v.text("name") == "core_encrypted_with_old_key")
        .unwrap();
    let both = old.codec(&old.keys("also_decrypts_with"));
    assert!(both.open(&old.stored(), old.clock()).is_ok());
    let new_only = old.codec(&old.keys("also_decrypts_with")[..1]);
    assert!(new_only.open(&old.stored(), old.clock()).is_err());
}
