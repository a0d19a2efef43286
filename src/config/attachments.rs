//! `[attachments]`: files that are sent with messages.

use std::{fmt, path::PathBuf};

use serde::Deserialize;

use super::{Config, declare::settings, layer::Backend, secret::Secret};

/// Least bytes of `attachments.key`: as many as what it signs with has.
const KEY: usize = 32;

settings! {
    /// Files that clients of `chatferry.v1` send with their messages. Off without a place.
    pub struct Attachments in "attachments" {
        /// Place of the files: a directory, which is made, or `s3://BUCKET/PREFIX`. All processes
        /// share it. Of a message that is deleted, and of what is not sent, the files are deleted.
        place: Option<FilePlace> = "",
        /// Address of S3, as `https://s3.eu-central-1.amazonaws.com`. The bucket is a part of the
        /// path, which every S3 knows.
        s3_endpoint: Option<S3Endpoint> = "",
        /// Region of the bucket.
        s3_region: String = "us-east-1",
        /// Access key of S3, and its secret.
        s3_access_key: Option<Secret> = "",
        /// See `attachments.s3_access_key`.
        s3_secret_key: Option<Secret> = "",
        /// Secret of 32 bytes or more by which links to files are signed, the same for all processes.
        /// May be left out with `layer.backend = memory`, where there is one process: its links then
        /// end with it.
        key: Option<Secret> = "",
        /// Bytes of one file, in MiB.
        file_mib: u64 = 25 in 1..=5000,
        /// Files of one message.
        per_message: usize = 10 in 1..=32,
        /// Bytes of all files that one user has uploaded and that are kept, in MiB.
        user_mib: u64 = 1024 in 1..=1_000_000_000,
        /// Types of files that are taken, by their content: `image/png`, `image/*`, `*`. Content
        /// that is no known type is `application/octet-stream`; HTML and SVG are `text/plain`, and
        /// served as that.
        types: Vec<MediaRange> = ["image/*", "audio/*", "video/*", "text/plain", "application/pdf"],
        /// MiB that an image may take while it is decoded for its thumbnail, one at a time. An image
        /// that might take more has none: a pixel takes 3 to 16 bytes, by its format, and 11 of a
        /// JPEG. Where a control group limits the memory, the default is an eighth of that if it is
        /// less.
        thumbnail_mib: u32 = 128 in 0..=10_000,
        /// Seconds for which a link to a file is good.
        link_s: u64 = 300 in 10..=86_400,
        /// Seconds after which an upload that was not sent is deleted.
        unsent_s: u64 = 86_400 in 1..=2_592_000,
        /// Seconds between two looks at 500 uploads, for those that are to be deleted.
        sweep_s: u64 = 10 in 1..=3600,
    }
}

impl Attachments {
    /// Returns whether the place is an S3 and what it needs is missing.
    pub(super) fn lacks_s3(&self) -> bool {
        let is_s3 = matches!(self.place, Some(FilePlace::S3 { .. }));
        let is_missing = self.s3_endpoint.is_none()
            || self.s3_access_key.is_none()
            || self.s3_secret_key.is_none();
        is_s3 && is_missing
    }
}

impl Config {
    /// Returns whether links would be signed by a key that is too short, or by none that other
    /// processes have.
    pub(super) fn lacks_link_key(&self) -> bool {
        match &self.attachments.key {
            Some(key) => key.expose().len() < KEY,
            None => self.attachments.place.is_some() && self.layer.backend != Backend::Memory,
        }
    }
}

/// Place where files are kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum FilePlace {
    Directory(PathBuf),
    /// The prefix is empty, or ends with `/`.
    S3 {
        bucket: String,
        prefix: String,
    },
}

impl TryFrom<String> for FilePlace {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const EXPECTED: &str = "a directory, or `s3://BUCKET/PREFIX`";
        let Some(rest) = text.strip_prefix("s3://") else {
            let is_url = text.contains("://");
            return if is_url {
                Err(EXPECTED)
            } else {
                Ok(Self::Directory(text.into()))
            };
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/');
        if bucket.is_empty() {
            return Err(EXPECTED);
        }
        let prefix = if prefix.is_empty() {
            String::new()
        } else {
            format!("{prefix}/")
        };
        Ok(Self::S3 {
            bucket: bucket.to_owned(),
            prefix,
        })
    }
}

impl fmt::Display for FilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// Address of an S3: scheme and host, with a port or without.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct S3Endpoint(String);

impl S3Endpoint {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for S3Endpoint {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const EXPECTED: &str = "an address as `https://s3.example`";
        let url: hyper::Uri = text.parse().map_err(|_| EXPECTED)?;
        let is_http = matches!(url.scheme_str(), Some("http" | "https"));
        let has_path = !matches!(url.path(), "" | "/") || url.query().is_some();
        if !is_http || url.host().is_none_or(str::is_empty) || has_path {
            return Err(EXPECTED);
        }
        Ok(S3Endpoint(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for S3Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Types of content: one, all of a kind, or all.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct MediaRange(String);

impl MediaRange {
    /// Returns whether a type is one of these.
    #[must_use]
    pub fn has(&self, media_type: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(kind) => media_type.starts_with(kind),
            None => media_type == self.0,
        }
    }
}

impl TryFrom<String> for MediaRange {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_name = |part: &str| {
            let is_part =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-+.".contains(c);
            !part.is_empty() && part.chars().all(is_part)
        };
        let is_range = match text.split_once('/') {
            Some((kind, part)) => is_name(kind) && (part == "*" || is_name(part)),
            None => text == "*",
        };
        if is_range {
            Ok(MediaRange(text))
        } else {
            Err("types as `image/png`, `image/*` or `*`, in small letters")
        }
    }
}

impl fmt::Display for MediaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn is_taken(settings: &[(&str, &str)]) -> bool {
        let flags = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Config::load(None, std::iter::empty(), &flags.collect::<Vec<_>>()).is_ok()
    }

    #[test]
    fn a_place_is_a_directory_or_a_bucket() {
        let place = |text: &str| FilePlace::try_from(text.to_owned());
        assert_eq!(
            place("/srv/files"),
            Ok(FilePlace::Directory("/srv/files".into()))
        );
        let bucket = |prefix: &str| FilePlace::S3 {
            bucket: "chat".to_owned(),
            prefix: prefix.to_owned(),
        };
        assert_eq!(place("s3://chat"), Ok(bucket("")));
        assert_eq!(place("s3://chat/a/b/"), Ok(bucket("a/b/")));
        for text in ["s3://", "s3:///x", "https://chat/", "file:///x"] {
            assert!(place(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_has_its_types_and_no_others() {
        let has =
            |range: &str, media: &str| MediaRange::try_from(range.to_owned()).unwrap().has(media);
        assert!(
            has("*", "image/png") && has("image/*", "image/png") && has("image/png", "image/png")
        );
        assert!(!has("image/*", "text/plain") && !has("image/pn", "image/png"));
        for text in [
            "",
            "image",
            "image/",
            "*/png",
            "Image/png",
            "image/p*",
            "a/b/c",
        ] {
            assert!(MediaRange::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bucket_needs_its_keys_and_several_processes_a_key_for_their_links() {
        let s3 = [
            ("attachments.place", "s3://chat"),
            ("attachments.s3_endpoint", "http://127.0.0.1:9000"),
            ("attachments.s3_access_key", "a"),
            ("attachments.s3_secret_key", "b"),
        ];
        assert!(is_taken(&s3));
        for missing in 1..s3.len() {
            let mut some = s3.to_vec();
            some.remove(missing);
            assert!(!is_taken(&some), "{}", s3[missing].0);
        }
        let directory = ("attachments.place", "/srv/files");
        let redis = ("layer.backend", "redis");
        assert!(is_taken(&[directory]) && is_taken(&[redis]));
        assert!(!is_taken(&[directory, redis]));
        assert!(is_taken(&[directory, redis, ("attachments.key", KEY)]));
        assert!(!is_taken(&[directory, ("attachments.key", "short")]));
        assert!(!is_taken(&[("attachments.s3_endpoint", "http://h/path")]));
    }
}
