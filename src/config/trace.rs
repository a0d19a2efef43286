//! `[trace]`: where traces go, and which.

use std::fmt;
use std::path::PathBuf;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;

use super::declare::{choice, settings};
use super::secret::MASK;

settings! {
    /// Traces by OpenTelemetry's protocol (OTLP over HTTP, in Protobuf). The variables of
    /// OpenTelemetry that other programs read set these too, each where it is named.
    pub struct Trace in "trace" {
        /// The collector, as `http://collector:4318`; spans are posted to `/v1/traces` below it.
        /// None: nothing is traced. `OTEL_EXPORTER_OTLP_ENDPOINT`, unless
        /// `OTEL_EXPORTER_OTLP_PROTOCOL` is `grpc`, `OTEL_TRACES_EXPORTER` is `none` or
        /// `OTEL_SDK_DISABLED` is `true`.
        endpoint: Option<TraceEndpoint> = "",
        /// PEM file of the authorities that an `https` collector is believed by; without one the
        /// system's. `OTEL_EXPORTER_OTLP_CERTIFICATE`.
        endpoint_ca: Option<PathBuf> = "",
        /// Headers for the collector, as `api-key=SECRET,tenant=chat`; what is no plain character
        /// is percent-encoded. `OTEL_EXPORTER_OTLP_HEADERS`.
        headers: Option<SecretHeaders> = "",
        /// What the traces call this server. None: `service.name` of `resource_attributes`, or
        /// else `chatferry`. `OTEL_SERVICE_NAME`.
        service_name: Option<String> = "",
        /// What else is to be known of this server, as
        /// `deployment.environment.name=live,host.name=a`. `OTEL_RESOURCE_ATTRIBUTES`.
        resource_attributes: Pairs = "",
        /// Which requests are traced: `always_on`, `always_off`, or the share `sampler_arg` with
        /// `traceidratio`. With `parentbased_` before these words the caller decides where it
        /// sends a `traceparent`. `OTEL_TRACES_SAMPLER`.
        sampler: Sampler = "parentbased_always_on",
        /// The share of `traceidratio` from 0 to 1, as `0.05`. `OTEL_TRACES_SAMPLER_ARG`.
        sampler_arg: TraceShare = "1",
        /// Spans that may wait for the collector; past it they are dropped and counted. One takes
        /// about 1 KiB. `OTEL_BSP_MAX_QUEUE_SIZE`.
        queue_spans: usize = 2048 in 1..=65_536,
    }
}

choice! {
    /// Which requests are traced, by OpenTelemetry's words.
    pub enum Sampler {
        AlwaysOn = "always_on",
        AlwaysOff = "always_off",
        Ratio = "traceidratio",
        ParentOrOn = "parentbased_always_on",
        ParentOrOff = "parentbased_always_off",
        ParentOrRatio = "parentbased_traceidratio",
    }
}

/// The address that spans are posted to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TraceEndpoint {
    /// As it was set.
    text: String,
    uri: Uri,
}

impl TraceEndpoint {
    /// With the path of the traces.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }
}

impl TryFrom<String> for TraceEndpoint {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const EXPECTED: &str = "an address as `http://collector:4318` or `https://…`, without user, \
                                query and `/v1/traces`";
        let base = text.trim_end_matches('/');
        let uri: Uri = format!("{base}/v1/traces").parse().map_err(|_| EXPECTED)?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_host = uri
            .authority()
            .is_some_and(|at| !at.host().is_empty() && !at.as_str().contains('@'));
        let is_base = uri.query().is_none() && !base.ends_with("/v1/traces");
        if is_http && has_host && is_base {
            Ok(Self { text, uri })
        } else {
            Err(EXPECTED)
        }
    }
}

impl fmt::Display for TraceEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Names and values, as OpenTelemetry's variables have them: `name=value,name=value`, the values
/// percent-encoded (W3C Baggage).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pairs(Vec<(String, String)>);

impl Pairs {
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl TryFrom<String> for Pairs {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            let name = name.trim();
            let value = decoded(value.trim());
            (!name.is_empty()).then(|| (name.to_owned(), value))
        };
        let pairs = text.split(',').filter(|part| !part.trim().is_empty());
        pairs
            .map(pair)
            .collect::<Option<_>>()
            .map(Pairs)
            .ok_or("a list as `name=value,name=value`")
    }
}

/// Undoes percent-encoding. Unlike in a form, `+` is no blank.
fn decoded(text: &str) -> String {
    let text = format!("={}", text.replace('+', "%2B").replace('&', "%26"));
    let mut pairs = form_urlencoded::parse(text.as_bytes());
    let value = pairs.next().map(|(_, value)| value.into_owned());
    value.unwrap_or_default()
}

/// Headers whose values may be keys. Their names are not shown either.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SecretHeaders(Vec<(HeaderName, HeaderValue)>);

impl SecretHeaders {
    /// Returns the headers themselves, for the code that sends them.
    #[must_use]
    pub fn expose(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0
    }
}

impl TryFrom<String> for SecretHeaders {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let header = |(name, value): (&str, &str)| {
            let name = HeaderName::try_from(name).ok()?;
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        };
        let pairs = Pairs::try_from(text).ok();
        let headers = pairs.and_then(|pairs| pairs.iter().map(header).collect());
        headers
            .map(Self)
            .ok_or("headers as `name=value,name=value`")
    }
}

impl fmt::Debug for SecretHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// A share of all, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct TraceShare(f64);

impl TraceShare {
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<String> for TraceShare {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.trim().parse() {
            Ok(share @ 0.0..=1.0) => Ok(Self(share)),
            _ => Err("a share from 0 to 1 in quotes, as \"0.05\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_posted_below_the_endpoint() {
        let posted = |text: &str| {
            let endpoint = TraceEndpoint::try_from(text.to_owned());
            endpoint.map(|endpoint| endpoint.uri().to_string())
        };
        for (text, uri) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("https://otel.example/", "https://otel.example/v1/traces"),
            ("http://[::1]/otlp/", "http://[::1]/otlp/v1/traces"),
        ] {
            assert_eq!(posted(text).as_deref(), Ok(uri), "{text}");
        }
        for text in [
            "",
            "collector:4318",
            "grpc://collector:4317",
            "http://",
            "http://u:p@collector",
            "http://collector?key=1",
            "http://collector:4318/v1/traces",
        ] {
            assert!(posted(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pairs_are_percent_decoded() {
        let pairs = |text: &str| Pairs::try_from(text.to_owned());
        let read = pairs(" a=1, b.c = x%20y+z ,d==&e,").unwrap();
        let expected = [("a", "1"), ("b.c", "x y+z"), ("d", "=&e")];
        assert_eq!(read.iter().collect::<Vec<_>>(), expected);
        assert_eq!(pairs(""), Ok(Pairs::default()));
        for wrong in ["a", "=1", "a=1,b"] {
            assert!(pairs(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn headers_are_headers_and_are_not_shown() {
        let headers = |text: &str| SecretHeaders::try_from(text.to_owned());
        let read = headers("Api-Key=hunter2,x-tenant=a%20b").unwrap();
        assert_eq!(read.expose()[0].0, "api-key");
        assert_eq!(read.expose()[1].1, "a b");
        assert_eq!(format!("{read:?}"), "***");
        for wrong in ["a b=1", "a=%0A", "hunter2"] {
            assert!(headers(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_share_is_a_number_from_0_to_1() {
        let share = |text: &str| TraceShare::try_from(text.to_owned()).map(TraceShare::get);
        assert_eq!(
            [share("0"), share("1.0"), share(" .25 ")],
            [Ok(0.0), Ok(1.0), Ok(0.25)]
        );
        for wrong in ["", "5%", "1.01", "-0.1", "NaN", "inf"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
