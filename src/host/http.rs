//! Requests of HTTP that the application in a worker answers, as under Daphne. Both bodies are passed
//! on as they come; the application may answer before it has read the request; when the client leaves it
//! gets `http.disconnect`.

mod body;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    Method, Request, StatusCode,
    body::{Body as _, Incoming},
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use tokio::time::{timeout, timeout_at};

use self::body::{AskedRequest, HostedBody, RequestRecord};

use super::{
    Host,
    exchange::{Exchange, ExchangeReply},
    link::WorkerLink,
    scope,
    wire::{Down, MAX_PART, ResponseHead},
};
use crate::{
    app::App,
    gateway::{strip_hop_by_hop, to_origin_form},
    http::{Body, Response, reply},
    metrics::RequestOutcome,
    telemetry::request::{ACCESS, Trail},
};

/// Longest wait for the next bytes of a request's body.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// Reasons why a request is not answered by the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum HostedFailure {
    #[error("the target is not ASCII")]
    Target,
    #[error("the request's body is malformed")]
    Malformed,
    #[error("the client has stopped sending the request's body")]
    Stalled,
    #[error("the application has failed, or has returned without an answer")]
    Failed,
    #[error("the application has answered with what cannot be sent")]
    Unsendable,
    #[error("the application took too long")]
    Late,
    #[error("there is no worker, or it is gone")]
    Lost,
}

impl HostedFailure {
    fn outcome(self) -> RequestOutcome {
        match self {
            HostedFailure::Target | HostedFailure::Malformed | HostedFailure::Stalled => {
                RequestOutcome::Refused
            }
            HostedFailure::Failed | HostedFailure::Unsendable => RequestOutcome::Failed,
            HostedFailure::Late => RequestOutcome::Late,
            HostedFailure::Lost => RequestOutcome::Lost,
        }
    }

    fn answer(self) -> Response {
        match self {
            HostedFailure::Target | HostedFailure::Malformed => {
                reply::bare(StatusCode::BAD_REQUEST)
            }
            HostedFailure::Stalled => reply::bare(StatusCode::REQUEST_TIMEOUT),
            HostedFailure::Failed | HostedFailure::Unsendable => page(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Exception inside application.",
            ),
            HostedFailure::Late => page(
                StatusCode::SERVICE_UNAVAILABLE,
                "Application failed to respond within time limit.",
            ),
            HostedFailure::Lost => reply::no_room(),
        }
    }
}

/// Makes the page that Daphne answers with in place of an application.
fn page(status: StatusCode, text: &str) -> Response {
    let title = format!(
        "{} {}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default()
    );
    let page = include_str!("http/error.html");
    let page = page.trim_end_matches('\n');
    let page = page.replace("{title}", &title).replace("{text}", text);
    let mut response = Response::new(Body::new(page.into()));
    *response.status_mut() = status;
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, html);
    response
}

/// Answers a request by the application.
pub async fn answer(
    app: &Arc<App>,
    host: &Arc<Host>,
    request: Request<Incoming>,
    trail: &Trail,
) -> Response {
    let mut record = RequestRecord::begin(&app.metrics);
    let method = request.method().clone();
    let answered = ask(app, host, request).await;
    let answered = answered.and_then(|(head, asked)| Ok((respond(head)?, asked)));
    let response = match answered {
        Ok((head, asked)) => send(host, &method, head, asked, record),
        Err(failure) => {
            record.outcome = failure.outcome();
            let path = trail.path();
            tracing::warn!(%failure, %method, path = &*path, "a hosted request was not answered");
            failure.answer()
        }
    };
    tracing::debug!(
        target: ACCESS,
        %method,
        route = "hosted",
        status = response.status().as_u16(),
        client = trail.client.map(tracing::field::display),
        path = &*trail.path(),
        "answered"
    );
    response
}

/// Asks a worker, and waits for the head of the answer.
async fn ask(
    app: &App,
    host: &Arc<Host>,
    request: Request<Incoming>,
) -> Result<(ResponseHead, AskedRequest), HostedFailure> {
    let patience = host.call_timeout();
    let (mut head, body) = request.into_parts();
    to_origin_form(&mut head);
    let target = head.uri.path_and_query();
    if !target.is_none_or(|target| target.as_str().is_ascii()) {
        return Err(HostedFailure::Target);
    }
    let scope = scope::of_http(
        &Request::from_parts(head, ()),
        &host.trust,
        &app.config.server,
    );
    let entered = timeout(patience, enter(host)).await;
    let mut asked = entered.ok().flatten().ok_or(HostedFailure::Lost)?;
    let (link, number) = (Arc::clone(&asked.link), asked.number);
    link.send_when_read(Down::Request, number, &scope).await;
    if body.is_end_stream() {
        link.send(Down::BodyEnd, number, b"");
    } else {
        let exchange = Arc::clone(&asked.exchange);
        tokio::spawn(upload(link, number, exchange, body));
    }
    loop {
        let deadline = asked.exchange.sent_at() + patience;
        match timeout_at(deadline.into(), asked.replies.recv()).await {
            // A part of the body may have been sent meanwhile.
            Err(_) if asked.exchange.sent_at() + patience > Instant::now() => {}
            Err(_) => return Err(HostedFailure::Late),
            Ok(Some(ExchangeReply::Head(head))) => return Ok((head, asked)),
            Ok(Some(ExchangeReply::Stalled)) => return Err(HostedFailure::Stalled),
            Ok(Some(ExchangeReply::Malformed)) => return Err(HostedFailure::Malformed),
            Ok(Some(ExchangeReply::Lost) | None) => return Err(HostedFailure::Lost),
            Ok(Some(ExchangeReply::Part(_) | ExchangeReply::End | ExchangeReply::Ended)) => {
                return Err(HostedFailure::Failed);
            }
        }
    }
}

/// Waits for a worker with a slot. `None` if there is no worker.
async fn enter(host: &Host) -> Option<AskedRequest> {
    loop {
        let link = host.worker_for_request()?;
        // One that is gone is not chosen again.
        let Some(slot) = link.exchanges.slot().await else {
            continue;
        };
        let number = host.number();
        if let Some((exchange, replies)) = link.exchanges.begin(number, slot) {
            return Some(AskedRequest {
                link,
                number,
                exchange,
                replies,
                whole: false,
            });
        }
    }
}

/// Passes the body of a request on as the application takes it.
async fn upload(link: Arc<WorkerLink>, number: u64, exchange: Arc<Exchange>, mut body: Incoming) {
    loop {
        let next = tokio::select! {
            next = timeout(BODY_PATIENCE, body.frame()) => next,
            () = exchange.over() => return,
        };
        let mut data = match next {
            Err(_) => return exchange.reply(ExchangeReply::Stalled),
            Ok(Some(Err(_))) => return exchange.reply(ExchangeReply::Malformed),
            Ok(None) => return link.send(Down::BodyEnd, number, b""),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        };
        let is_last = body.is_end_stream();
        while !data.is_empty() {
            let part = data.split_to(data.len().min(MAX_PART));
            if !exchange.room_for(part.len()).await {
                return;
            }
            let kind = if is_last && data.is_empty() {
                Down::BodyEnd
            } else {
                Down::Body
            };
            link.send_when_read(kind, number, &part).await;
            if kind == Down::BodyEnd {
                return;
            }
        }
    }
}

/// Makes the head of an answer from that of the application.
fn respond(head: ResponseHead) -> Result<Response, HostedFailure> {
    let status = StatusCode::from_u16(head.status).ok();
    let status = status.filter(|status| !status.is_informational());
    let mut headers = HeaderMap::new();
    for (name, value) in head.headers {
        let name = HeaderName::from_bytes(&name);
        let value = HeaderValue::from_maybe_shared(Bytes::from(value));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(HostedFailure::Unsendable);
        };
        headers.append(name, value);
    }
    let closes = headers.get_all(CONNECTION).iter().any(says_close);
    strip_hop_by_hop(&mut headers);
    let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
    if lengths > 1 || lengths == 1 && length(&headers).is_none() {
        return Err(HostedFailure::Unsendable);
    }
    let mut response = Response::new(Body::default());
    *response.status_mut() = status.ok_or(HostedFailure::Unsendable)?;
    *response.headers_mut() = headers;
    if closes {
        reply::close(&mut response);
    }
    Ok(response)
}

fn says_close(value: &HeaderValue) -> bool {
    let mut words = value.as_bytes().split(|&byte| byte == b',');
    words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"))
}

fn length(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(CONTENT_LENGTH)?.to_str().ok()?;
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Gives an answer its body. One that has none is not sent, and its application is listened to
/// nevertheless, as it has not left its client.
fn send(
    host: &Host,
    method: &Method,
    mut response: Response,
    asked: AskedRequest,
    record: RequestRecord,
) -> Response {
    let mut body = HostedBody {
        left: length(response.headers()),
        asked,
        record,
    };
    let status = response.status();
    if *method == Method::HEAD
        || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status)
    {
        body.left = None;
        let patience = host.call_timeout();
        tokio::spawn(async move {
            let rest = async { while let Some(Ok(_)) = body.frame().await {} };
            let _ = timeout(patience, rest).await;
        });
    } else {
        *response.body_mut() = Body::passed(body);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, lines: &[(&[u8], &[u8])]) -> ResponseHead {
        let own = |(name, value): &(&[u8], &[u8])| (name.to_vec(), value.to_vec());
        ResponseHead {
            status,
            headers: lines.iter().map(own).collect(),
        }
    }

    #[test]
    fn what_is_about_one_connection_is_ours_to_say() {
        let lines: [(&[u8], &[u8]); 5] = [
            (b"Connection", b"x-mine, Close"),
            (b"Transfer-Encoding", b"chunked"),
            (b"X-Mine", b"1"),
            (b"Set-Cookie", b"a=1"),
            (b"Set-Cookie", b"b=2"),
        ];
        let response = respond(head(201, &lines)).unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        let headers = response.headers();
        assert_eq!(headers.len(), 3);
        assert_eq!(headers[CONNECTION], "close");
        assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
    }

    #[test]
    fn a_head_that_cannot_be_sent_is_a_failure() {
        let two: [(&[u8], &[u8]); 2] = [(b"content-length", b"1"), (b"content-length", b"1")];
        for refused in [
            head(101, &[]),
            head(100, &[]),
            head(99, &[]),
            head(1000, &[]),
            head(200, &[(b"a b", b"1")]),
            head(200, &[(b"x-a", b"1\r\nx-b: 2")]),
            head(200, &[(b"content-length", b"+1")]),
            head(200, &two),
        ] {
            assert_eq!(
                respond(refused.clone()).err(),
                Some(HostedFailure::Unsendable),
                "{refused:?}"
            );
        }
    }
}
