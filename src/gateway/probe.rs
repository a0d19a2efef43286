//! Questions to the upstream that no client has asked.

use std::sync::Arc;

use hyper::{
    Request,
    header::{ACCEPT, HOST, HeaderValue},
};

use super::{Gateway, body::Outgoing};

impl Gateway {
    /// Fails, with the reason, unless the upstream takes connections and has answered lately.
    ///
    /// # Errors
    /// The reason, for an operator.
    pub async fn ping(&self) -> Result<(), String> {
        let answer = self.upstream.ping().await;
        answer.map_err(|failure| failure.to_string())
    }

    /// Returns whether the upstream serves this path of the chat to a caller who shows nothing. One
    /// that does not answer counts as one that does not.
    pub async fn serves_strangers(&self, path: &str) -> bool {
        let mut request = Request::new(Outgoing::Empty);
        let Ok(uri) = path.parse() else { return false };
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let answer = Arc::clone(&self.upstream).send(request).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}
