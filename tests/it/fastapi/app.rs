//! The application of `compat/fastapi/app.py`.

mod models;
mod routes;

use std::sync::Arc;

use async_trait::async_trait;
use chatferry::{
    app::App,
    config::{CorsOrigin, Generation, Prefix},
    dialect::Dialect,
    fastapi::{
        arguments::BodyInput,
        cors::CorsRules,
        door::{Call, Door},
        error::HttpError,
        invalid::member,
        openapi::document,
        reply,
        sse::{ServerEvent, stream},
    },
    http::{Response, extract, ops::Probe, serve::Answered},
    hub::frames::Encode,
    limits::Throttled,
    telemetry::request::Trail,
    value::Value,
};
use hyper::{StatusCode, body::Incoming};

use self::routes::{INFO, Operation, ROUTES};

const ROOM: &str = "990e8400-e29b-41d4-a716-446655440000";
const MESSAGE: &str = "00000000-0000-4000-8000-000000000000";
const SENT: &str = "2025-12-12T14:00:00.120000";

pub struct Application {
    prefix: Prefix,
    door: Door,
}

impl Application {
    pub fn new(generation: Generation) -> Self {
        let origins = vec![CorsOrigin::Exact("https://chat.example".to_owned())];
        Application {
            prefix: "/".to_owned().try_into().unwrap(),
            door: Door {
                generation,
                cors: Some(CorsRules {
                    origins,
                    generation,
                }),
                is_secure: false,
            },
        }
    }
}

fn perform(call: &Call<'_, Operation>) -> Result<Response, HttpError> {
    let user = match call.route.handler {
        Operation::Send | Operation::Messages | Operation::Read => caller(call)?,
        _ => call.token()?.unwrap_or_default(),
    };
    let arguments = call.arguments()?;
    if let Some(room) = arguments.text("room_id") {
        check(room, user)?;
    }
    let copied = |names: &[&'static str]| {
        let names = names.iter();
        let members = names.map(|name| member(name, arguments.value(name).clone()));
        Value::Map(members.collect())
    };
    let answer = match call.route.handler {
        Operation::Send => {
            let sent = Value::Map(vec![
                member("message_id", MESSAGE.into()),
                member("room_id", arguments.value("room_id").clone()),
                member("sender_id", user.into()),
                member("message_type", arguments.value("message_type").clone()),
                member("content", arguments.value("content").clone()),
                member("attachments", arguments.value("attachments").clone()),
                member("created_at", SENT.into()),
                member("deleted_at", Value::Null),
            ]);
            return reply::json(StatusCode::CREATED, &sent);
        }
        Operation::Messages => Value::Map(vec![
            member("messages", Value::List(Vec::new())),
            member("total", Value::Int(0)),
            member("has_more", false.into()),
        ]),
        Operation::Read => Value::Map(vec![member("unread_count", Value::Int(0))]),
        Operation::Boom => return Err(HttpError::internal()),
        Operation::HttpDict => {
            let detail = Value::Map(vec![
                member("error", "resource_not_found".into()),
                member("message", "User not found".into()),
            ]);
            return Err(HttpError::new(StatusCode::NOT_FOUND, detail));
        }
        Operation::Strict | Operation::OAuth => Value::Map(Vec::new()),
        Operation::Dates => dates(),
        Operation::Echo => {
            let fields = match call.route.inputs.body {
                BodyInput::Json(model) | BodyInput::Form(model) => model.fields,
                BodyInput::Nothing => call.route.inputs.query,
            };
            copied(&fields.iter().map(|field| field.name).collect::<Vec<_>>())
        }
        Operation::Item => {
            let count = arguments.value("x-count").clone();
            let Value::Map(mut members) = copied(&["item_id", "q"]) else {
                panic!("an object");
            };
            members.push(member("x_count", count));
            Value::Map(members)
        }
        Operation::People => Value::List(Vec::new()),
        Operation::DeleteItem => return Ok(reply::no_content()),
        Operation::Events => return Ok(events()),
    };
    reply::json(StatusCode::OK, &answer)
}

/// The caller: a token that is missing is not one that is unknown.
fn caller<'a>(call: &'a Call<'_, Operation>) -> Result<&'a str, HttpError> {
    let token = call.token();
    let token = token.map_err(|_| HttpError::unauthorized("Not authenticated"))?;
    let known = token.filter(|token| ["u1", "u2"].contains(token));
    known.ok_or_else(|| HttpError::unauthorized("Could not validate credentials"))
}

fn check(room: &str, user: &str) -> Result<(), HttpError> {
    if room != ROOM {
        return Err(HttpError::new(StatusCode::NOT_FOUND, "Room not found"));
    }
    if user != "u1" {
        let text = "방 멤버가 아닙니다";
        return Err(HttpError::new(StatusCode::FORBIDDEN, text));
    }
    Ok(())
}

/// The times of the answer that was once captured.
fn dates() -> Value {
    use chatferry::{
        fastapi::times::{naive, with_offset, zulu},
        python::datetime::{Zone, from_sqlite, to_wire},
    };
    let at = |text| from_sqlite(text).unwrap();
    let time = at("2025-12-12 14:00:00.12");
    let seoul = Zone::named("Asia/Seoul").unwrap();
    let seoul = to_wire(at("2025-12-12 05:00:00.12"), &seoul);
    let times = |utc: String| {
        Value::Map(vec![
            member("naive_us", naive(time).into()),
            member("naive_s", naive(at("2025-12-12 14:00:00")).into()),
            member("utc", utc.into()),
            member("seoul", seoul.clone().into()),
            member("ms", naive(at("2025-12-12 14:00:00.001")).into()),
        ])
    };
    Value::Map(vec![
        member("pydantic", times(zulu(time))),
        member("isoformat", times(with_offset(time))),
    ])
}

fn events() -> Response {
    let data = |data| ServerEvent {
        data: Some(data),
        ..ServerEvent::default()
    };
    let connected = ServerEvent {
        event: Some("connected"),
        ..data(r#"{"room_id": 1, "text": "\ud55c\uae00\nline2"}"#)
    };
    let named = ServerEvent {
        id: Some("7"),
        event: Some("x"),
        retry: Some(3000),
        ..data("raw a\r\nraw b")
    };
    let all = [connected, data("line1\nline2"), named, data("plain string")];
    stream(futures_util::stream::iter(all.map(|event| event.frame())))
}

#[async_trait]
impl Dialect for Application {
    fn serves(&self, _: &str) -> bool {
        true
    }

    fn shared(&self) -> &Prefix {
        &self.prefix
    }

    fn encode(&self) -> Encode {
        Box::new(|_, _| bytes::Bytes::new())
    }

    async fn answer(&self, _: &Arc<App>, _: &[Probe], request: &extract::Request) -> Answered {
        if request.path == "/openapi.json" {
            let document = document(&INFO, ROUTES, self.door.generation);
            let response = reply::json(StatusCode::OK, &document);
            return ("document", self.door.answer(&request.headers, response));
        }
        match self.door.admit(ROUTES, request, "") {
            Ok(call) => {
                let done = perform(&call);
                (call.route.label, self.door.answer(&request.headers, done))
            }
            Err(early) => {
                let (label, response) = *early;
                (label.unwrap_or("unknown"), response)
            }
        }
    }

    async fn open(&self, _: &Arc<App>, _: hyper::Request<Incoming>, _: &Trail) -> Response {
        reply::refused_socket(self.door.generation)
    }

    fn throttled(&self, _: Throttled) -> Response {
        reply::text(StatusCode::TOO_MANY_REQUESTS, "later")
    }
}
