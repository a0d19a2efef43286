//! Over TCP both ends prove that they know one secret, which never crosses the connection: each makes
//! an HMAC of random bytes of both. A proof is good for its connection alone, as the bytes are new
//! for each.

use ring::hmac::{self, HMAC_SHA256, Key};

use super::wire::{self, Hello};
use crate::{
    config::Secret,
    layer::redis::codec::item::Item,
    random::{self, NoRandomness},
};

/// Bytes of the random part of each end.
const NONCE: usize = 32;

/// Contexts of the two proofs: the proof of one end cannot serve as that of the other.
const WORKER: &[u8] = b"chatferry worker";
const HOST: &[u8] = b"chatferry host";

/// The question that one worker has to answer.
pub struct Challenge {
    key: Key,
    nonce: [u8; NONCE],
}

impl Challenge {
    /// Returns a challenge for one connection.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn new(secret: &Secret) -> Result<Self, NoRandomness> {
        Ok(Challenge {
            key: Key::new(HMAC_SHA256, secret.expose().as_bytes()),
            nonce: random::bytes()?,
        })
    }

    /// Makes the body of the message.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        wire::map(vec![("nonce", Item::Bytes(self.nonce.to_vec()))])
    }

    /// Returns our own proof for a worker that has proved itself, and `None` for any other.
    #[must_use]
    pub fn answer(&self, hello: &Hello) -> Option<Vec<u8>> {
        let said = hello.proof.as_ref()?;
        if said.nonce.len() != NONCE {
            return None;
        }
        hmac::verify(&self.key, &self.signed(WORKER, &said.nonce), &said.proof).ok()?;
        let proof = hmac::sign(&self.key, &self.signed(HOST, &said.nonce));
        Some(proof.as_ref().to_vec())
    }

    /// Returns the challenge of the vectors.
    #[cfg(test)]
    pub fn known() -> Self {
        Challenge {
            key: Key::new(HMAC_SHA256, b"0123456789abcdef0123456789abcdef"),
            nonce: std::array::from_fn(|place| u8::try_from(place).unwrap_or_default()),
        }
    }

    fn signed(&self, end: &[u8], theirs: &[u8]) -> Vec<u8> {
        [end, &self.nonce, theirs].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::wire::HelloProof;

    /// Returns a proof of the vectors.
    fn known(end: &str) -> Vec<u8> {
        let start = format!("proof {end} ");
        let mut lines = include_str!("wire/vectors.txt").lines();
        let line = lines.find_map(|line| line.strip_prefix(&start));
        let hex = line.unwrap().split(' ').next().unwrap();
        let pairs = hex.as_bytes().chunks(2);
        pairs
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn hello(nonce: Vec<u8>, proof: Vec<u8>) -> Hello {
        Hello {
            proof: Some(HelloProof { nonce, proof }),
            ..Hello::default()
        }
    }

    #[test]
    fn both_proofs_are_those_of_the_vectors() {
        let said = hello((32..64).collect(), known("worker"));
        assert_eq!(Challenge::known().answer(&said), Some(known("chatferry")));
    }

    #[test]
    fn a_proof_is_good_for_its_own_connection_and_end_alone() {
        let nonce: Vec<u8> = (32..64).collect();
        let worker = known("worker");
        let secret = Secret::from("0123456789abcdef0123456789abcdef".to_owned());
        let other = Challenge::new(&secret).unwrap();
        assert_eq!(other.answer(&hello(nonce.clone(), worker.clone())), None);
        for wrong in [
            Hello::default(),
            hello(Vec::new(), worker.clone()),
            hello(vec![32; 32], worker.clone()),
            hello(nonce.clone(), known("chatferry")),
            hello(nonce.clone(), worker[..31].to_vec()),
            hello(nonce, Vec::new()),
        ] {
            assert_eq!(Challenge::known().answer(&wrong), None, "{wrong:?}");
        }
    }
}
