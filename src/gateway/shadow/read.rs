//! One read of the chat, asked of both sides.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::Body,
    header::{
        ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION, REFERRER_POLICY, SET_COOKIE,
        VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
    http::request::Parts,
};
use tokio::time::sleep;

use super::{SETTLE, Verdict, diff, is_drawn};
use crate::{
    app::App,
    config::Identity,
    dialect::django::{middleware, routes::Route},
    gateway::{Gateway, body::Outgoing, decision::route, headers, target::RequestTarget},
    http::extract::Request as Whole,
    net::Peer,
    python::urls::decode_path,
    ws::handshake,
};

/// Most bytes of an answer that is compared.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

/// Number of attempts before two sides count as not comparable, because what
/// they answer changes all the time.
const ATTEMPTS: usize = 4;

/// Headers that a client or a browser goes by, compared to the byte.
const EXACT: [HeaderName; 8] = [
    CONTENT_TYPE,
    LOCATION,
    VARY,
    WWW_AUTHENTICATE,
    X_FRAME_OPTIONS,
    X_CONTENT_TYPE_OPTIONS,
    REFERRER_POLICY,
    HeaderName::from_static("cross-origin-opener-policy"),
];

/// A read that both sides will be asked.
pub struct Question {
    gateway: Arc<Gateway>,
    head: Parts,
    /// The name of the route, which tells nothing about people.
    label: &'static str,
}

/// Parts of one side's answer that are compared.
#[derive(Debug, PartialEq, Eq)]
struct ComparedAnswer {
    status: StatusCode,
    /// Names and values, in the order of their list.
    headers: Vec<(String, String)>,
    json: Option<Bytes>,
}

impl Question {
    /// Returns a question of this request, if it is a read of the chat and drawn for comparison.
    pub fn of<B: Body>(
        gateway: &Arc<Gateway>,
        app: &App,
        request: &Request<B>,
    ) -> Option<Question> {
        let percent = gateway.shadow.percent();
        if percent == 0 {
            return None;
        }
        let reads = [Method::GET, Method::HEAD, Method::OPTIONS];
        let is_read = reads.contains(request.method())
            && request.body().is_end_stream()
            && RequestTarget::of(request.uri()).is_plain()
            && !handshake::wants_upgrade(request.headers());
        if !is_read || !is_drawn(percent) {
            return None;
        }
        let route = route(&decode_path(request.uri().path()), &app.config)?;
        let Route::Api(_) = route else { return None };
        let mut head = Request::new(()).into_parts().0;
        request.method().clone_into(&mut head.method);
        request.uri().clone_into(&mut head.uri);
        request.headers().clone_into(&mut head.headers);
        if let Some(peer) = request.extensions().get::<Peer>() {
            head.extensions.insert(*peer);
        }
        let label = route.label();
        Some(Question {
            gateway: Arc::clone(gateway),
            head,
            label,
        })
    }

    /// Asks both sides in the background, unless too much is being asked already.
    pub fn ask(question: Option<Self>, app: &Arc<App>) {
        let Some(question) = question else { return };
        let slots = Arc::clone(&question.gateway.shadow.slots);
        let Ok(slot) = slots.try_acquire_owned() else {
            app.metrics.shadow_skipped();
            return;
        };
        let app = Arc::clone(app);
        tokio::spawn(async move {
            let verdict = question.compare(&app).await;
            let place = format!("{} {}", question.head.method, question.label);
            let shadow = &question.gateway.shadow;
            shadow.conclude(&app.metrics, &place, &verdict);
            drop(slot);
        });
    }

    /// Asks us, Django, and us again: Django's answer must be one of ours. If ours changed in
    /// between, it proves nothing; a difference must be seen twice.
    async fn compare(&self, app: &App) -> Verdict {
        let mut seen = None;
        for _ in 0..ATTEMPTS {
            let before = self.ours(app).await;
            // Whom our policy refuses is not to reach Django, not even unseen.
            if app.config.auth.identity != Identity::None
                && !before.as_ref().is_some_and(|it| it.status.is_success())
            {
                return Verdict::Unknown;
            }
            let django = self.django().await;
            let after = self.ours(app).await;
            let (Some(before), Some(django), Some(after)) = (before, django, after) else {
                return Verdict::Unknown;
            };
            let verdict = self.judge(&django, &after);
            if verdict == Verdict::Same || self.judge(&django, &before) == Verdict::Same {
                return Verdict::Same;
            }
            if before == after && seen.replace(verdict.clone()).is_some() {
                return verdict;
            }
            sleep(SETTLE).await;
        }
        Verdict::Unknown
    }

    fn judge(&self, django: &ComparedAnswer, ours: &ComparedAnswer) -> Verdict {
        if django.status != ours.status {
            let text = format!("Django has {}, Chatferry {}", django.status, ours.status);
            return Verdict::of("status", Some(text));
        }
        let headers = django.headers.iter().zip(&ours.headers);
        if let Some(((name, theirs), (_, ours))) = headers.into_iter().find(|(a, b)| a != b) {
            let text = format!("{name}: Django has {theirs:?}, Chatferry {ours:?}");
            return Verdict::of("header", Some(text));
        }
        match (&django.json, &ours.json) {
            (Some(django), Some(ours)) if self.head.method != Method::HEAD => Verdict::of(
                "json",
                diff::difference(django, ours, self.gateway.shadow.tell),
            ),
            _ => Verdict::Same,
        }
    }

    async fn ours(&self, app: &App) -> Option<ComparedAnswer> {
        let request = Whole::without_body(self.head.clone()).ok()?;
        let response = middleware::answer(app, &[], &request).await.1;
        self.answered(response).await
    }

    async fn django(&self) -> Option<ComparedAnswer> {
        let gateway = &self.gateway;
        let mut head = self.head.clone();
        let peer = head.extensions.get::<Peer>().copied().unwrap_or_default();
        headers::prepare(&mut head.headers, peer, &gateway.trust);
        let request = Request::from_parts(head, Outgoing::Empty);
        let response = gateway.upstream.send(request).await.ok()?;
        self.answered(response).await
    }

    /// Only JSON is compared: pages for people may look different.
    async fn answered<B>(&self, response: hyper::Response<B>) -> Option<ComparedAnswer>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = response.into_parts();
        let size = body.size_hint().exact();
        let whole = Limited::new(body, ANSWER_MAX).collect().await.ok()?;
        let is_json = head
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        let mut headers = compared(&head.headers);
        if !is_json {
            // The forms of Django's pages bring a cookie of their own.
            headers.retain(|(name, _)| *name != SET_COOKIE.as_str());
        }
        if self.head.method == Method::HEAD && is_json {
            let said = head.headers.get(CONTENT_LENGTH);
            let said = said.map(|length| String::from_utf8_lossy(length.as_bytes()).into_owned());
            let length = said.or(size.map(|size| size.to_string()));
            headers.push((CONTENT_LENGTH.to_string(), length.unwrap_or_default()));
        }
        Some(ComparedAnswer {
            status: head.status,
            headers,
            json: is_json.then(|| whole.to_bytes()),
        })
    }
}

/// Returns the headers that matter. `Allow` is a set, and of cookies only the names are the same
/// twice.
fn compared(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |name: &HeaderName| {
        let values = headers.get_all(name).iter();
        let values: Vec<_> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        values.join(", ")
    };
    let allow: BTreeSet<String> = text(&ALLOW)
        .split(',')
        .map(|method| method.trim().to_owned())
        .collect();
    let cookies: BTreeSet<String> = headers
        .get_all(SET_COOKIE)
        .iter()
        .filter_map(|cookie| Some(cookie.to_str().ok()?.split_once('=')?.0.to_owned()))
        .collect();
    let joined = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(", ");
    let exact = EXACT.map(|name| (name.to_string(), text(&name)));
    let sets = [(ALLOW, allow), (SET_COOKIE, cookies)];
    let sets = sets.map(|(name, set)| (name.to_string(), joined(set)));
    exact.into_iter().chain(sets).collect()
}
