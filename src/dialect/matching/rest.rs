//! The operations of the REST API. Who is asking is found out before the request is validated, and
//! whether he is a member after that.

use hyper::{StatusCode, header::HeaderName};
use uuid::Uuid;

use super::{
    core::{Core, TooMany},
    database::{Membership, Message, NewMessage, NewRoom, NoMember},
    routes::{INFO, Operation, ROUTES},
    shown::{int, listed},
};
use crate::{
    config::{Generation, MatchingOrder, Secret},
    fastapi::{
        arguments::Arguments,
        door::Call,
        error::HttpError,
        invalid::{Invalid, member},
        openapi::document,
        reply,
        times::zulu,
    },
    http::Response,
    python::{
        json::{Constants, loads, write_raw},
        pystr::strip_str,
    },
    store::StoreError,
    value::Value,
};

const MISSING: &str = "Not authenticated";
const UNKNOWN: &str = "Could not validate credentials";
const NO_MEMBER: &str = "방 멤버가 아닙니다";
const NO_ROOM: &str = "Room not found";
const NO_MESSAGE: &str = "Message not found";
const CLOSED: &str = "Room is not active";
const SYSTEM: &str = "system messages are made by the server";
const TOO_MANY: &str = "Too many requests";
const LEFT: &str = "메시지방에서 나갔습니다.";

/// Members of a room.
const MEMBERS: std::ops::RangeInclusive<usize> = 2..=16;

/// Settings that answers depend on.
#[derive(Clone, Debug)]
pub struct Rules {
    pub generation: Generation,
    pub order: MatchingOrder,
    /// Rooms that do not exist are as those of others.
    pub hides_rooms: bool,
    /// Token of the service that makes rooms.
    pub service: Option<Secret>,
}

/// A request of a user.
struct Asked<'a> {
    core: &'a Core,
    rules: &'a Rules,
    user: &'a str,
    arguments: Arguments,
}

/// Makes the answer to a failure of the database. What the original answers with an exception is a
/// 503 here.
#[must_use]
pub fn failed(error: &StoreError) -> HttpError {
    if let StoreError::Refused(why) = error {
        tracing::debug!(why, "the database refused a value");
        return HttpError::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid value");
    }
    tracing::error!(%error, "a request failed");
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
}

/// Does what a request asks for.
///
/// # Errors
/// The answer that refuses it.
pub async fn perform(
    core: &Core,
    rules: &Rules,
    call: &Call<'_, Operation>,
) -> Result<Response, HttpError> {
    if call.route.handler == Operation::OpenApi {
        let document = document(&INFO, ROUTES, rules.generation);
        return reply::json(StatusCode::OK, &document);
    }
    // The original answers 401 where its framework says 403.
    let token = call.token().map_err(|_| HttpError::unauthorized(MISSING))?;
    let token = token.unwrap_or_default();
    if call.route.handler == Operation::CreateRoom {
        is_service(rules, token)?;
        return create_room(core, call).await;
    }
    let unknown = || HttpError::unauthorized(UNKNOWN);
    let user = core.user(token).ok_or_else(unknown)?;
    let _ = call.request.user.set(user.as_str().into());
    let asked = Asked {
        core,
        rules,
        user: &user,
        arguments: call.arguments()?,
    };
    match call.route.handler {
        Operation::ListRooms => asked.list_rooms().await,
        Operation::ShowRoom => asked.show_room().await,
        Operation::Leave => asked.leave().await,
        Operation::Send => asked.send().await,
        Operation::ListMessages => asked.list_messages().await,
        Operation::Read => asked.read().await,
        Operation::CreateRoom | Operation::OpenApi => Err(HttpError::internal()),
    }
}

/// Returns the place of a user in a room.
///
/// # Errors
/// 403 or 404 if there is none.
pub async fn place(
    core: &Core,
    rules: &Rules,
    room: Uuid,
    user: &str,
) -> Result<Membership, HttpError> {
    let found = core
        .member(room, user)
        .await
        .map_err(|error| failed(&error))?;
    found.map_err(|why| match why {
        NoMember::NoRoom if !rules.hides_rooms => HttpError::new(StatusCode::NOT_FOUND, NO_ROOM),
        NoMember::NoRoom | NoMember::NotThere => HttpError::new(StatusCode::FORBIDDEN, NO_MEMBER),
    })
}

/// Sends a message of a member.
///
/// # Errors
/// The answer that refuses it.
pub async fn send(
    core: &Core,
    (place, user): (&Membership, &str),
    arguments: &Arguments,
) -> Result<Message, HttpError> {
    let kind = arguments.text("message_type").unwrap_or("text");
    if kind == "system" {
        return Err(HttpError::new(StatusCode::FORBIDDEN, SYSTEM));
    }
    let content = arguments.text("content").unwrap_or_default();
    let attachments = match arguments.value("attachments") {
        Value::List(all) => Some(
            all.iter()
                .filter_map(|it| it.as_str().map(str::to_owned))
                .collect(),
        ),
        _ => None,
    };
    let attachments: Option<Vec<String>> = attachments;
    if strip_str(content).is_empty() {
        let least = vec![("min_length", int(1))];
        let text = "String should have at least 1 character";
        return Err(invalid(
            "string_too_short",
            "content",
            text,
            arguments,
            least,
        ));
    }
    if content.contains('\0') {
        let text = "Input should be a valid string";
        return Err(invalid(
            "string_type",
            "content",
            text,
            arguments,
            Vec::new(),
        ));
    }
    let closed = || HttpError::new(StatusCode::FORBIDDEN, CLOSED);
    if !place.is_open {
        return Err(closed());
    }
    core.count(place.room, user).map_err(too_many)?;
    let new = NewMessage {
        room: place.room,
        sender: user.to_owned(),
        kind: kind.to_owned(),
        content: content.to_owned(),
        attachments,
    };
    let sent = core.send(new).await.map_err(|error| failed(&error))?;
    // The room was closed, or the member has left, in between.
    sent.ok_or_else(closed)
}

/// Marks messages of a room as read, up to the newest of these.
///
/// # Errors
/// The answer that refuses it.
pub async fn mark(
    core: &Core,
    (place, user): (&Membership, &str),
    ids: &[Uuid],
) -> Result<Value, HttpError> {
    let newest = core.database.newest(place.room, ids).await;
    let newest = newest.map_err(|error| failed(&error))?;
    let missing = || HttpError::new(StatusCode::NOT_FOUND, NO_MESSAGE);
    let newest = newest.ok_or_else(missing)?;
    let read = core.read((place, user), &newest).await;
    let (at, unread) = read.map_err(|error| failed(&error))?;
    Ok(Value::Map(vec![
        member("unread_count", int(unread)),
        member("last_read_at", zulu(at).into()),
    ]))
}

impl Asked<'_> {
    async fn place(&self) -> Result<Membership, HttpError> {
        let room = self.arguments.uuid("room_id").unwrap_or_default();
        place(self.core, self.rules, room, self.user).await
    }

    async fn list_rooms(&self) -> Result<Response, HttpError> {
        let active = match self.arguments.text("is_active") {
            Some("all") => None,
            Some("false") => Some(false),
            _ => Some(true),
        };
        let rooms = self.core.database.rooms(self.user, active).await;
        let rooms = rooms.map_err(|error| failed(&error))?;
        let total = i64::try_from(rooms.len()).unwrap_or(i64::MAX);
        let answer = Value::Map(vec![
            member(
                "chat_rooms",
                Value::List(rooms.iter().map(listed).collect()),
            ),
            member("total", int(total)),
        ]);
        reply::json(StatusCode::OK, &answer)
    }

    async fn show_room(&self) -> Result<Response, HttpError> {
        let place = self.place().await?;
        let room = self.core.database.room(place.room).await;
        let room = room.map_err(|error| failed(&error))?;
        let missing = || HttpError::new(StatusCode::NOT_FOUND, NO_ROOM);
        let shown = self.core.forms.room(&room.ok_or_else(missing)?, self.user);
        reply::json(StatusCode::OK, &shown)
    }

    async fn leave(&self) -> Result<Response, HttpError> {
        let place = self.place().await?;
        let left = self.core.leave(&place, self.user).await;
        left.map_err(|error| failed(&error))?;
        let answer = Value::Map(vec![member("message", LEFT.into())]);
        reply::json(StatusCode::OK, &answer)
    }

    async fn send(&self) -> Result<Response, HttpError> {
        let place = self.place().await?;
        let sent = send(self.core, (&place, self.user), &self.arguments).await?;
        reply::json(StatusCode::CREATED, &self.core.forms.message(&sent))
    }

    async fn list_messages(&self) -> Result<Response, HttpError> {
        let place = self.place().await?;
        let named = |name| self.arguments.uuid(name);
        let database = &self.core.database;
        let before = match named("before_message_id").or_else(|| named("before")) {
            Some(id) => {
                let found = database.message(place.room, id).await;
                let found = found.map_err(|error| failed(&error))?;
                let missing = || HttpError::new(StatusCode::NOT_FOUND, NO_MESSAGE);
                Some(found.ok_or_else(missing)?)
            }
            None => None,
        };
        let limit = self.arguments.int("limit").unwrap_or_default();
        let limit = usize::try_from(limit).unwrap_or_default();
        let page = database.page(place.room, before.as_ref(), limit).await;
        let page = page.map_err(|error| failed(&error))?;
        let cursor = page
            .messages
            .first()
            .map_or(Value::Null, |it| it.id.to_string().into());
        let forms = self.core.forms;
        let mut messages: Vec<_> = page.messages.iter().map(|it| forms.message(it)).collect();
        if self.rules.order == MatchingOrder::Descending {
            messages.reverse();
        }
        let total = i64::try_from(messages.len()).unwrap_or(i64::MAX);
        let answer = Value::Map(vec![
            member("messages", Value::List(messages)),
            member("total", int(total)),
            member("has_more", page.has_more.into()),
            member("next_cursor", cursor),
        ]);
        reply::json(StatusCode::OK, &answer)
    }

    async fn read(&self) -> Result<Response, HttpError> {
        let one = |name| self.arguments.uuid(name);
        let ids = match (
            one("last_read_message_id").or_else(|| one("message_id")),
            self.arguments.value("message_ids"),
        ) {
            (Some(id), _) => vec![id],
            (None, Value::List(all)) => all
                .iter()
                .filter_map(|id| Uuid::try_parse(id.as_str()?).ok())
                .collect(),
            (None, _) => {
                let text = "Field required";
                let name = "last_read_message_id";
                return Err(missing(name, text, &self.arguments));
            }
        };
        let place = self.place().await?;
        let answer = mark(self.core, (&place, self.user), &ids).await?;
        reply::json(StatusCode::OK, &answer)
    }
}

/// Makes a room for a proposal that was accepted elsewhere.
async fn create_room(core: &Core, call: &Call<'_, Operation>) -> Result<Response, HttpError> {
    let arguments = call.arguments()?;
    let text = |name| arguments.text(name).unwrap_or_default().to_owned();
    let users = |name| -> Vec<String> {
        match arguments.value(name).get("member_ids") {
            Some(Value::List(all)) => all
                .iter()
                .filter_map(|id| id.as_str().map(str::to_owned))
                .collect(),
            _ => Vec::new(),
        }
    };
    let members = [users("group_a_info"), users("group_b_info")];
    let mut all: Vec<&String> = members.iter().flatten().collect();
    let count = all.len();
    all.sort();
    all.dedup();
    if all.len() < count || !MEMBERS.contains(&count) {
        let text = "members must be 2 to 16, without repeats";
        return Err(HttpError::new(StatusCode::UNPROCESSABLE_ENTITY, text));
    }
    let new = NewRoom {
        proposal: arguments.uuid("proposal_id").unwrap_or_default(),
        name: text("room_name"),
        mode: text("display_mode"),
        groups: infos(&call.request.body),
        members,
    };
    let made = core.database.make_room(&new).await;
    let (id, is_new) = made.map_err(|error| failed(&error))?;
    core.fan_out.peers.is_stale(id);
    let room = core
        .database
        .room(id)
        .await
        .map_err(|error| failed(&error))?;
    let missing = || HttpError::new(StatusCode::NOT_FOUND, NO_ROOM);
    let shown = core.forms.room(&room.ok_or_else(missing)?, "");
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    reply::json(status, &shown)
}

/// Returns what was said of the two groups, as it was sent: other members than ours are kept.
fn infos(body: &[u8]) -> [String; 2] {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let sent = loads(text, Constants::Refuse).unwrap_or(Value::Null);
    ["group_a_info", "group_b_info"].map(|name| {
        let mut info = Vec::new();
        write_raw(&mut info, sent.get(name).unwrap_or(&Value::Null));
        String::from_utf8(info).unwrap_or_default()
    })
}

fn is_service(rules: &Rules, token: &str) -> Result<(), HttpError> {
    let is_it = rules.service.as_ref().is_some_and(|service| {
        let (own, sent) = (service.expose().as_bytes(), token.as_bytes());
        // The time says nothing of how much was right.
        own.len() == sent.len() && own.iter().zip(sent).fold(0, |bits, (a, b)| bits | (a ^ b)) == 0
    });
    is_it
        .then_some(())
        .ok_or_else(|| HttpError::unauthorized(UNKNOWN))
}

fn too_many(too_many: TooMany) -> HttpError {
    let header = |name: &'static str| HeaderName::from_static(name);
    HttpError::new(StatusCode::TOO_MANY_REQUESTS, TOO_MANY)
        .with(header("x-ratelimit-limit"), too_many.limit.into())
        .with(header("x-ratelimit-remaining"), 0.into())
        .with(header("x-ratelimit-reset"), too_many.wait_s.into())
        .with(header("retry-after"), too_many.wait_s.into())
}

fn missing(name: &'static str, text: &'static str, arguments: &Arguments) -> HttpError {
    let names = ["last_read_message_id", "message_id", "message_ids"];
    let sent = names
        .into_iter()
        .filter(|name| *arguments.value(name) != Value::Null);
    let sent = sent.map(|name| member(name, arguments.value(name).clone()));
    HttpError::invalid(vec![Invalid {
        kind: "missing",
        place: vec!["body".into(), name.into()],
        text: text.into(),
        input: Value::Map(sent.collect()),
        context: Vec::new(),
    }])
}

fn invalid(
    kind: &'static str,
    name: &'static str,
    text: &'static str,
    arguments: &Arguments,
    context: Vec<(&'static str, Value)>,
) -> HttpError {
    HttpError::invalid(vec![Invalid {
        kind,
        place: vec!["body".into(), name.into()],
        text: text.into(),
        input: arguments.value(name).clone(),
        context,
    }])
}
