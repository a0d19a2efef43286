//! Answers of the form `{"detail": "…"}`.

use super::Language;
use crate::value::Value;

/// A model that `get_object_or_404` may not find an object of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    Conversation,
    Message,
}

/// Why DRF refuses a request: the subclasses of its `APIException`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// 404: an unknown `?format=`.
    NotFound,
    /// 404: no such object.
    NoMatch(Model),
    /// 405; holds the method as it was sent.
    MethodNotAllowed(String),
    /// 406
    NotAcceptable,
    /// 415; holds the `Content-Type` as it was sent.
    UnsupportedMediaType(String),
    /// 400; the text is Python's, in English.
    ParseError(String),
    /// 401 or 403, as the first of the authentication classes has it: the caller is not known.
    NotAuthenticated,
    /// 401: what should say who is asking is not good.
    AuthenticationFailed,
    /// 403
    PermissionDenied,
    /// 403; the reason is Django's, in English.
    CsrfFailed(String),
    /// 409; holds a text of ours.
    Alike(String),
    /// 429; holds the whole seconds to wait.
    Throttled(u64),
    /// 403: `Basic` and nothing else.
    BasicNoCredentials,
    /// 403
    BasicSpaces,
    /// 403
    BasicNotBase64,
    /// 403
    InvalidPassword,
}

impl Detail {
    /// Returns the HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Detail::ParseError(_) => 400,
            Detail::AuthenticationFailed => 401,
            Detail::NotAuthenticated
            | Detail::PermissionDenied
            | Detail::CsrfFailed(_)
            | Detail::BasicNoCredentials
            | Detail::BasicSpaces
            | Detail::BasicNotBase64
            | Detail::InvalidPassword => 403,
            Detail::NotFound | Detail::NoMatch(_) => 404,
            Detail::MethodNotAllowed(_) => 405,
            Detail::NotAcceptable => 406,
            Detail::Alike(_) => 409,
            Detail::UnsupportedMediaType(_) => 415,
            Detail::Throttled(_) => 429,
        }
    }

    /// Returns the text. What Django raises itself and what Python says is never translated.
    #[must_use]
    pub fn text(&self, language: Language) -> String {
        match self {
            Detail::NoMatch(model) => format!("No {model:?} matches the given query."),
            Detail::ParseError(text) | Detail::Alike(text) => text.clone(),
            Detail::CsrfFailed(reason) => format!("CSRF Failed: {reason}"),
            _ => match language {
                Language::EnUs => self.english(),
                Language::Ko => self.korean(),
            },
        }
    }

    /// Returns the body.
    #[must_use]
    pub fn to_value(&self, language: Language) -> Value {
        Value::Map(vec![("detail".into(), self.text(language).into())])
    }

    fn english(&self) -> String {
        match self {
            Detail::NotFound => "Not found.",
            Detail::NotAuthenticated => "Authentication credentials were not provided.",
            Detail::AuthenticationFailed => "Incorrect authentication credentials.",
            Detail::PermissionDenied => "You do not have permission to perform this action.",
            Detail::NotAcceptable => "Could not satisfy the request Accept header.",
            Detail::BasicNoCredentials => "Invalid basic header. No credentials provided.",
            Detail::BasicSpaces => {
                "Invalid basic header. Credentials string should not contain spaces."
            }
            Detail::BasicNotBase64 => {
                "Invalid basic header. Credentials not correctly base64 encoded."
            }
            Detail::InvalidPassword => "Invalid username/password.",
            Detail::MethodNotAllowed(method) => {
                return format!("Method \"{}\" not allowed.", method.to_uppercase());
            }
            Detail::UnsupportedMediaType(sent) => {
                return format!("Unsupported media type \"{sent}\" in request.");
            }
            Detail::Throttled(seconds) => {
                return format!("Request was throttled. {}", available(*seconds));
            }
            Detail::NoMatch(_)
            | Detail::ParseError(_)
            | Detail::Alike(_)
            | Detail::CsrfFailed(_) => "",
        }
        .to_owned()
    }

    fn korean(&self) -> String {
        match self {
            Detail::NotFound => "찾을 수 없습니다.",
            Detail::NotAuthenticated => {
                "자격 인증데이터(authentication credentials)가 제공되지 않았습니다."
            }
            Detail::AuthenticationFailed => {
                "자격 인증데이터(authentication credentials)가 정확하지 않습니다."
            }
            Detail::PermissionDenied => "이 작업을 수행할 권한(permission)이 없습니다.",
            Detail::NotAcceptable => "Accept header 요청을 만족할 수 없습니다.",
            Detail::BasicNoCredentials => {
                "기본 헤더(basic header)가 유효하지 않습니다. 인증데이터(credentials)가 제공되지 않았습니다."
            }
            Detail::BasicSpaces => {
                "기본 헤더(basic header)가 유효하지 않습니다. 인증데이터(credentials) 문자열은 빈칸(spaces)을 포함하지 않아야 합니다."
            }
            Detail::BasicNotBase64 => {
                "기본 헤더(basic header)가 유효하지 않습니다. 인증데이터(credentials)가 base64로 적절히 부호화(encode)되지 않았습니다."
            }
            Detail::InvalidPassword => "아이디/비밀번호가 유효하지 않습니다.",
            Detail::MethodNotAllowed(method) => {
                return format!("메소드(Method) \"{}\"는 허용되지 않습니다.", method.to_uppercase());
            }
            Detail::UnsupportedMediaType(sent) => {
                return format!("요청된 \"{sent}\"가 지원되지 않는 미디어 형태입니다.");
            }
            Detail::Throttled(seconds) => {
                return format!("요청이 지연(throttled)되었습니다. {}", available(*seconds));
            }
            Detail::NoMatch(_)
            | Detail::ParseError(_)
            | Detail::Alike(_)
            | Detail::CsrfFailed(_) => "",
        }
        .to_owned()
    }
}

/// Returns the half of a throttle's text that has no translation.
fn available(seconds: u64) -> String {
    let plural = if seconds == 1 { "" } else { "s" };
    format!("Expected available in {seconds} second{plural}.")
}
