//! The sink `webhook`: a signed POST for each event, after the Standard Webhooks specification.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode, Uri, header::CONTENT_TYPE};
use ring::hmac;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};

use super::{Published, Sink, SinkError, SinkSettingsError, away};
use crate::{
    clock::since_1970,
    config::{self, events::Webhook},
    events::envelope::Outgoing,
    net::{
        client::{self, ClientConnection},
        is_public,
    },
};

/// Most bytes of an answer that are read, so that its connection can be used again.
const ANSWER_MAX: usize = 64 * 1024;

type Requests = ClientConnection<Full<Bytes>>;

/// Posts events to one address.
pub struct WebhookSink {
    url: Uri,
    key: hmac::Key,
    allow_private: bool,
    authorities: Option<PathBuf>,
    patience: Duration,
    connection: Option<Requests>,
}

impl WebhookSink {
    /// Uses the address of the settings. `patience` bounds the wait for an answer.
    ///
    /// # Errors
    /// When the address is none of HTTP.
    pub fn new(settings: &Webhook, patience: Duration) -> Result<Self, SinkSettingsError> {
        let url = settings.url.as_ref().map_or("", config::Secret::expose);
        let wrong = || SinkSettingsError {
            key: "events.webhook.url",
            why: "expected http://HOST/… or https://HOST/…".to_owned(),
        };
        let url: Uri = url.parse().map_err(|_| wrong())?;
        if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
            return Err(wrong());
        }
        let secret = settings.secret.as_ref().map_or("", config::Secret::expose);
        Ok(WebhookSink {
            url,
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            allow_private: settings.allow_private,
            authorities: settings.authorities.clone(),
            patience,
            connection: None,
        })
    }

    async fn post(&mut self, event: &Outgoing) -> Result<(), SinkError> {
        let request = self.request(event).map_err(away)?;
        let mut kept = self.connection.take();
        if let Some(connection) = &mut kept
            && !connection.is_ready().await
        {
            kept = None;
        }
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let answer = connection.send(request).await.map_err(away)?;
        let status = answer.status();
        if client::whole(answer.into_body(), ANSWER_MAX)
            .await
            .is_some()
        {
            self.connection = Some(connection);
        }
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::BAD_REQUEST
            | StatusCode::GONE
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY => {
                Err(SinkError::Refused(format!("the answer is {status}")))
            }
            status => Err(away(format!("the answer is {status}"))),
        }
    }

    fn request(&self, event: &Outgoing) -> hyper::http::Result<Request<Full<Bytes>>> {
        let at = since_1970().as_secs().to_string();
        let mut request =
            client::request(Method::POST, &self.url).header(CONTENT_TYPE, event.content_type);
        for (name, value) in &event.attributes {
            request = request.header(format!("ce-{name}"), value);
        }
        request
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", &at)
            .header("webhook-signature", signature(&self.key, event, &at))
            .body(Full::from(event.body.clone()))
    }

    /// Connects to an address of the host that may be used.
    async fn connect(&self) -> Result<Requests, SinkError> {
        let tls = if client::is_tls(&self.url) {
            let tls = client::tls_to(&self.url, self.authorities.as_deref());
            Some(tls.await.map_err(away)?)
        } else {
            None
        };
        let mut last = away("the host has no address");
        let addresses: Vec<SocketAddr> = lookup_host(client::host_and_port(&self.url))
            .await
            .map_err(away)?
            .collect();
        for address in addresses {
            if !self.allow_private && !is_public(address.ip()) {
                last = away(format!(
                    "{} is no public address, and events.webhook.allow_private is not set",
                    address.ip()
                ));
                continue;
            }
            match self.connect_to(address, tls.as_ref()).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = away(error),
            }
        }
        Err(last)
    }

    async fn connect_to(
        &self,
        address: SocketAddr,
        tls: Option<&client::TlsName>,
    ) -> io::Result<Requests> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        ClientConnection::over(stream, tls).await
    }
}

/// Signs the id, the time and the body of a request.
fn signature(key: &hmac::Key, event: &Outgoing, at: &str) -> String {
    let signed = format!("{}.{at}.{}", event.id, event.body);
    let signature = hmac::sign(key, signed.as_bytes());
    format!("v1,{}", STANDARD.encode(signature))
}

#[async_trait]
impl Sink for WebhookSink {
    async fn publish(&mut self, events: &[Outgoing], until: Instant) -> Published {
        for (confirmed, event) in events.iter().enumerate() {
            if confirmed > 0 && Instant::now() >= until {
                return Published {
                    confirmed,
                    failure: None,
                };
            }
            let posted = match timeout(self.patience, self.post(event)).await {
                Ok(posted) => posted,
                Err(_) => Err(away("no answer in time")),
            };
            if let Err(error) = posted {
                let failure = Some(error);
                return Published { confirmed, failure };
            }
        }
        Published {
            confirmed: events.len(),
            failure: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::datetime::Timestamp;

    /// Computed with Python's `hmac` and `base64`.
    #[test]
    fn a_request_is_signed_over_its_id_time_and_body() {
        let event = Outgoing {
            id: "msg_1".into(),
            kind: "message.created".into(),
            key: "c".into(),
            at: Timestamp::from_micros(0),
            body: "{}".into(),
            content_type: "application/json",
            attributes: Vec::new(),
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef");
        assert_eq!(
            signature(&key, &event, "1700000000"),
            "v1,3uojc/2kvL+KpJkw4ZNrA/5YjEs9cdfKdc3lXIvRjkk="
        );
    }
}
