//! The way of a request to its operation, and of the answer back.

use hyper::{
    HeaderMap, StatusCode,
    header::{ALLOW, HOST, HeaderValue},
};

use super::{
    arguments::{Arguments, BodyInput, Sent},
    body::SentBody,
    cors::CorsRules,
    error::HttpError,
    reply,
    routes::{Captured, Found, Route, absolute, find},
};
use crate::{
    config::Generation,
    http::{Response, extract::Request},
};

/// The settings that all operations of an application share.
#[derive(Clone, Debug)]
pub struct Door {
    pub generation: Generation,
    /// `None` if pages of other sites are not thought of.
    pub cors: Option<CorsRules>,
    /// Clients come by TLS: absolute URLs begin with `https`.
    pub is_secure: bool,
}

/// A request that has found its operation. The caller is not known yet.
pub struct Call<'a, H: 'static> {
    pub route: &'a Route<H>,
    pub request: &'a Request,
    captured: Captured,
    body: SentBody,
    generation: Generation,
}

/// An answer before any operation was asked, with the label of the route, if there is one.
pub type Early = Box<(Option<&'static str>, Response)>;

impl Door {
    /// Finds the operation of a request and reads its body.
    ///
    /// # Errors
    /// The answer, if it is not for an operation to give: to a preflight, for a path or method that
    /// does not exist, or for a body that cannot be read.
    pub fn admit<'a, H>(
        &self,
        routes: &'a [Route<H>],
        request: &'a Request,
        root: &str,
    ) -> Result<Call<'a, H>, Early> {
        let (method, headers) = (request.sent_method.as_str(), &request.headers);
        let cors = self.cors.as_ref();
        if let Some(response) = cors.and_then(|cors| cors.preflight(method, headers)) {
            return Err(Box::new((None, response)));
        }
        let early = |label, error: HttpError| Box::new((label, self.answer(headers, Err(error))));
        let (route, captured) = match find(routes, method, &request.path) {
            Found::Route(route, captured) => (route, captured),
            Found::OtherMethod(route) => return Err(early(Some(route.label), other_method(route))),
            Found::OtherSlash(path) => {
                let host = headers.get(HOST).and_then(|host| host.to_str().ok());
                let query = request.query.as_deref().unwrap_or_default();
                let location = absolute(host, self.is_secure, &format!("{root}{path}"), query);
                let response = self.answer(headers, Ok(reply::redirect(&location)));
                return Err(Box::new((None, response)));
            }
            Found::Nothing => {
                let error = HttpError::new(StatusCode::NOT_FOUND, "Not Found");
                return Err(early(None, error));
            }
        };
        let body = match route.inputs.body {
            BodyInput::Json(_) => SentBody::read(headers, &request.body, self.generation),
            BodyInput::Form(_) => Ok(SentBody::read_form(headers, &request.body)),
            BodyInput::Nothing => Ok(SentBody::Nothing),
        };
        Ok(Call {
            route,
            request,
            captured,
            body: body.map_err(|error| early(Some(route.label), error))?,
            generation: self.generation,
        })
    }

    /// Makes the answer of an operation.
    #[must_use]
    pub fn answer(&self, request: &HeaderMap, done: Result<Response, HttpError>) -> Response {
        let is_internal = done.as_ref().is_err_and(HttpError::is_internal);
        let mut response = done.unwrap_or_else(HttpError::response);
        if let Some(cors) = self.cors.as_ref().filter(|_| !is_internal) {
            cors.mark(request, response.headers_mut());
        }
        response
    }
}

fn other_method<H>(route: &Route<H>) -> HttpError {
    let error = HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    error.with(ALLOW, HeaderValue::from_static(route.method))
}

impl<H> Call<'_, H> {
    /// Returns the token of the caller; `None` if the operation asks for none.
    ///
    /// # Errors
    /// The refusal of a request without a token.
    pub fn token(&self) -> Result<Option<&str>, HttpError> {
        let headers = &self.request.headers;
        let scheme = self.route.scheme;
        scheme
            .map(|scheme| scheme.token(headers, self.generation))
            .transpose()
    }

    /// Validates the values that the operation asks for. To be called once the caller is known.
    ///
    /// # Errors
    /// 422 with all mistakes.
    pub fn arguments(&self) -> Result<Arguments, HttpError> {
        let sent = Sent {
            captured: &self.captured,
            query: self.request.query.as_deref(),
            headers: &self.request.headers,
            body: &self.body,
        };
        self.route.inputs.read(&sent, self.generation)
    }
}
