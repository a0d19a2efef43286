//! Links to files. The holder of one may read the file until the link ends; rights are checked when it is
//! made.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Variant;
use crate::{
    clock::since_1970,
    config::Secret,
    id::AttachmentId,
    random::{self, NoRandomness},
};

/// Signs links. All processes of a chat have the same key.
pub struct LinkSigner {
    mac: Hmac<Sha256>,
    life: Duration,
}

/// The query of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Second of 1970 in which it ends.
    pub until: u64,
    pub signature: String,
}

impl LinkSigner {
    /// Makes one with a key, or with one of its own that no other process has.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn new(key: Option<&Secret>, life: Duration) -> Result<Self, NoRandomness> {
        let own: [u8; 64] = match key {
            Some(_) => [0; 64],
            None => random::bytes()?,
        };
        let key = key.map_or(own.as_slice(), |key| key.expose().as_bytes());
        Ok(LinkSigner {
            // A key of any length is taken.
            mac: Hmac::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&own.into())),
            life,
        })
    }

    /// Returns the seconds for which a new link is good.
    #[must_use]
    pub fn life_s(&self) -> u64 {
        self.life.as_secs()
    }

    /// Makes a link that begins to be good now.
    #[must_use]
    pub fn sign(&self, id: AttachmentId, variant: Variant) -> Link {
        let until = (since_1970() + self.life).as_secs();
        let signature = self.mac(id, variant, until).finalize().into_bytes();
        Link {
            until,
            signature: URL_SAFE_NO_PAD.encode(signature),
        }
    }

    /// Returns the seconds for which a link is good; `None` if it is not, or was not made here.
    #[must_use]
    pub fn check(&self, id: AttachmentId, variant: Variant, link: &Link) -> Option<u64> {
        let signature = URL_SAFE_NO_PAD.decode(&link.signature).ok()?;
        let mac = self.mac(id, variant, link.until);
        mac.verify_slice(&signature).ok()?;
        let left = link.until.checked_sub(since_1970().as_secs())?;
        (left > 0).then_some(left)
    }

    fn mac(&self, id: AttachmentId, variant: Variant, until: u64) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        // The name has one form, and the number stands at its end.
        mac.update(format!("{}\n{until}", variant.name(id)).as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn signer(key: &str, life: u64) -> LinkSigner {
        let key = Secret::from(key.to_owned());
        LinkSigner::new(Some(&key), Duration::from_secs(life)).unwrap()
    }

    #[test]
    fn a_link_is_good_for_its_file_and_its_time_only() {
        let (one, two) = (Uuid::from_u128(1).into(), Uuid::from_u128(2).into());
        let (signer, other) = (signer("key", 60), signer("other", 60));
        let link = signer.sign(one, Variant::Whole);
        assert!(
            signer
                .check(one, Variant::Whole, &link)
                .is_some_and(|left| left > 50)
        );
        assert_eq!(signer.check(two, Variant::Whole, &link), None);
        assert_eq!(signer.check(one, Variant::Thumbnail, &link), None);
        assert_eq!(other.check(one, Variant::Whole, &link), None);
        let longer = Link {
            until: link.until + 1,
            ..link.clone()
        };
        assert_eq!(signer.check(one, Variant::Whole, &longer), None);
        let cut = Link {
            signature: link.signature[1..].to_owned(),
            ..link
        };
        assert_eq!(signer.check(one, Variant::Whole, &cut), None);
    }

    #[test]
    fn a_link_ends() {
        let id = Uuid::from_u128(1).into();
        let signer = signer("key", 0);
        let link = signer.sign(id, Variant::Whole);
        assert_eq!(signer.check(id, Variant::Whole, &link), None);
    }
}
