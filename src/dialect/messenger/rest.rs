//! The operations of the REST API.

use hyper::StatusCode;

use super::{
    core::Core,
    database::{Changed, NewMessage},
    peers::stamp,
    records::{Chat, Message, User, int},
    routes::{INFO, Operation, ROUTES},
};
use crate::{
    accounts::{
        passwords::PasswordError,
        tokens::{TakenBack, TokenError, TokenPair},
    },
    config::Generation,
    fastapi::{
        arguments::Arguments,
        door::Call,
        error::HttpError,
        invalid::{Invalid, member},
        openapi::document,
        reply,
    },
    http::Response,
    limits::LimitedAction,
    python::pystr::strip_str,
    store::StoreError,
    value::Value,
};

const BAD_CREDENTIALS: &str = "Не удалось проверить учетные данные";
const TAKEN: &str = "Пользователь с таким email или username уже зарегистрирован";
const NO_NAME: &str = "Укажите username или email";
const BAD_LOGIN: &str = "Неверные учетные данные";
const BAD_REFRESH: &str = "Невалидный refresh токен";
const BAD_LOGOUT: &str = "Ошибка выхода";
const NO_MEMBER: &str = "Вы не являетесь участником чата";
pub const NO_MESSAGE: &str = "Сообщение не найдено";
pub const NOT_YOURS: &str = "Сообщение не принадлежит Вам";

/// Settings that answers depend on.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    pub generation: Generation,
    /// Deleted messages are in the list of a chat.
    pub deleted: bool,
}

impl From<StoreError> for HttpError {
    fn from(error: StoreError) -> Self {
        match error {
            // A character that the database does not take.
            StoreError::Refused(why) => {
                tracing::debug!(why, "the database refused a value");
                HttpError::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid text")
            }
            error => {
                tracing::error!(%error, "a request failed");
                unavailable()
            }
        }
    }
}

impl From<TokenError> for HttpError {
    fn from(error: TokenError) -> Self {
        tracing::error!(%error, "a token is not made or looked for");
        unavailable()
    }
}

impl From<PasswordError> for HttpError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => {}
            error => tracing::error!(%error, "a password is not looked at"),
        }
        unavailable()
    }
}

/// What the original answers with an exception: what it needs is away.
fn unavailable() -> HttpError {
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
}

/// Does what a request asks for.
///
/// # Errors
/// The answer that refuses it.
pub async fn perform(
    core: &Core,
    shown: Shown,
    call: &Call<'_, Operation>,
) -> Result<Response, HttpError> {
    let user = match call.token()? {
        Some(token) => Some(caller(core, token).await?),
        None => None,
    };
    if let Some(user) = &user {
        let _ = call.request.user.set(user.id.to_string().into());
    }
    let arguments = call.arguments()?;
    let of_user = |user: Option<User>| user.ok_or_else(|| HttpError::unauthorized(BAD_CREDENTIALS));
    match call.route.handler {
        Operation::Register => register(core, &arguments).await,
        Operation::Login => login(core, &arguments).await,
        Operation::Refresh => refresh(core, &arguments).await,
        Operation::Logout => logout(core, &of_user(user)?, &arguments).await,
        Operation::Me => reply::json(StatusCode::OK, &of_user(user)?.shown()),
        Operation::CreateChat => create_chat(core, &of_user(user)?, &arguments).await,
        Operation::ListChats => list_chats(core, &of_user(user)?).await,
        Operation::SearchUsers => search(core, &of_user(user)?, &arguments).await,
        Operation::SendMessage => {
            let allowed = call.request.meter.allow(LimitedAction::Message);
            if let Err(throttled) = allowed {
                return Err(super::too_many(throttled));
            }
            send(core, &of_user(user)?, &arguments).await
        }
        Operation::ListMessages => list_messages(core, shown, &of_user(user)?, &arguments).await,
        Operation::EditMessage => edit(core, &of_user(user)?, &arguments).await,
        Operation::DeleteMessage => delete(core, &of_user(user)?, &arguments).await,
        Operation::Root => root(),
        Operation::Health => health(core).await,
        Operation::OpenApi => {
            reply::json(StatusCode::OK, &document(&INFO, ROUTES, shown.generation))
        }
    }
}

/// Returns the user whose access token this is.
///
/// # Errors
/// 401 for a token that is not good, and for a user who is not there or not active.
pub async fn caller(core: &Core, token: &str) -> Result<User, HttpError> {
    let id = core.tokens.user(token).and_then(|id| id.parse().ok());
    let user = match id {
        Some(id) => core.database.user(id).await?,
        None => None,
    };
    user.ok_or_else(|| HttpError::unauthorized(BAD_CREDENTIALS))
}

async fn register(core: &Core, arguments: &Arguments) -> Result<Response, HttpError> {
    let (name, email) = (text(arguments, "username"), text(arguments, "email"));
    let taken = || HttpError::new(StatusCode::BAD_REQUEST, TAKEN);
    // Before the work of hashing.
    if core.database.is_taken(name, email).await? {
        return Err(taken());
    }
    let hash = core.passwords.hash(text(arguments, "password")).await?;
    let id = core.database.add_user(name, email, &hash).await?;
    let tokens = core
        .tokens
        .issue(&id.ok_or_else(taken)?.to_string())
        .await?;
    reply::json(StatusCode::CREATED, &shown_tokens(tokens))
}

async fn login(core: &Core, arguments: &Arguments) -> Result<Response, HttpError> {
    let given = |name| arguments.text(name).filter(|text| !text.is_empty());
    let Some(name) = given("username").or_else(|| given("email")) else {
        return Err(HttpError::new(StatusCode::BAD_REQUEST, NO_NAME));
    };
    let found = core.database.login(name).await?;
    let hash = found.as_ref().map(|(_, hash, _)| hash.as_str());
    let is_right = core
        .passwords
        .verify(text(arguments, "password"), hash)
        .await?;
    match found {
        Some((id, _, true)) if is_right => {
            let tokens = core.tokens.issue(&id.to_string()).await?;
            reply::json(StatusCode::OK, &shown_tokens(tokens))
        }
        _ => Err(HttpError::new(StatusCode::UNAUTHORIZED, BAD_LOGIN)),
    }
}

async fn refresh(core: &Core, arguments: &Arguments) -> Result<Response, HttpError> {
    let token = text(arguments, "refresh_token");
    let user = core.tokens.spend(token).await?;
    let id = user.and_then(|id| id.parse().ok());
    let active = match id {
        Some(id) => core.database.user(id).await?,
        None => None,
    };
    let refused = || HttpError::new(StatusCode::UNAUTHORIZED, BAD_REFRESH);
    let user = active.ok_or_else(refused)?;
    let tokens = core.tokens.issue(&user.id.to_string()).await?;
    reply::json(StatusCode::OK, &shown_tokens(tokens))
}

async fn logout(core: &Core, user: &User, arguments: &Arguments) -> Result<Response, HttpError> {
    let token = text(arguments, "refresh_token");
    let status = match core.tokens.take_back(token, &user.id.to_string()).await? {
        TakenBack::Done => return Ok(reply::no_content()),
        TakenBack::Unknown => StatusCode::UNAUTHORIZED,
        TakenBack::OfAnother => StatusCode::FORBIDDEN,
    };
    Err(HttpError::new(status, BAD_LOGOUT))
}

async fn create_chat(
    core: &Core,
    user: &User,
    arguments: &Arguments,
) -> Result<Response, HttpError> {
    let other = arguments.int("second_user_id").unwrap_or_default();
    if other == user.id {
        return Err(HttpError::new(StatusCode::BAD_REQUEST, "SELF_CHAT"));
    }
    let chat = core.database.chat_of(user.id, other).await?;
    let missing = || HttpError::new(StatusCode::NOT_FOUND, "USER_NOT_FOUND");
    let chat = chat.ok_or_else(missing)?;
    let members: Vec<i64> = chat.members.iter().map(|member| member.id).collect();
    let noted = core.fan_out.peers.are_members(&[chat.id], &members).await;
    if let Err(error) = noted {
        // Python processes note it when a member connects.
        tracing::warn!(%error, "the members of a chat are not noted in Redis");
    }
    reply::json(StatusCode::OK, &Chat::shown(&chat))
}

async fn list_chats(core: &Core, user: &User) -> Result<Response, HttpError> {
    let chats = core.database.chats(user.id).await?;
    let shown = |id| Value::Map(vec![member("id", int(id))]);
    let chats = chats.into_iter().map(shown).collect();
    reply::json(StatusCode::OK, &Value::List(chats))
}

async fn search(core: &Core, user: &User, arguments: &Arguments) -> Result<Response, HttpError> {
    let like = format!("%{}%", text(arguments, "q"));
    let most = arguments.int("limit").unwrap_or_default();
    let found = core.database.search(&like, user.id, most).await?;
    let found = found.iter().map(User::shown).collect();
    reply::json(StatusCode::OK, &Value::List(found))
}

async fn send(core: &Core, user: &User, arguments: &Arguments) -> Result<Response, HttpError> {
    let new = NewMessage {
        chat_id: arguments.int("chat_id").unwrap_or_default(),
        sender_id: user.id,
        content: content(arguments)?,
    };
    let sent = core.send(new).await?;
    let forbidden = || HttpError::new(StatusCode::FORBIDDEN, "FORBIDDEN");
    reply::json(StatusCode::OK, &sent.ok_or_else(forbidden)?.shown())
}

async fn list_messages(
    core: &Core,
    shown: Shown,
    user: &User,
    arguments: &Arguments,
) -> Result<Response, HttpError> {
    let number = |name| arguments.int(name).unwrap_or_default();
    let place = (number("chat_id"), user.id);
    let page = (number("limit"), number("offset"));
    let messages = core.database.messages(place, page, shown.deleted).await?;
    let no_member = || HttpError::new(StatusCode::FORBIDDEN, NO_MEMBER);
    let messages = messages.ok_or_else(no_member)?;
    let messages = messages.iter().map(Message::shown).collect();
    reply::json(StatusCode::OK, &Value::List(messages))
}

async fn edit(core: &Core, user: &User, arguments: &Arguments) -> Result<Response, HttpError> {
    let message = arguments.int("message_id").unwrap_or_default();
    let content = content(arguments)?;
    let changed = core.edit((message, user.id), &content).await?;
    done(changed)?;
    reply::json(StatusCode::OK, &Value::Null)
}

async fn delete(core: &Core, user: &User, arguments: &Arguments) -> Result<Response, HttpError> {
    let message = arguments.int("message_id").unwrap_or_default();
    done(core.database.delete(message, user.id).await?)?;
    Ok(reply::no_content())
}

fn done<T>(changed: Changed<T>) -> Result<T, HttpError> {
    match changed {
        Changed::Done(done) => Ok(done),
        Changed::Nothing => Err(HttpError::new(StatusCode::NOT_FOUND, NO_MESSAGE)),
        Changed::OfAnother => Err(HttpError::new(StatusCode::FORBIDDEN, NOT_YOURS)),
    }
}

fn root() -> Result<Response, HttpError> {
    let root = Value::Map(vec![
        member("message", "Messenger API".into()),
        member("docs", "/docs".into()),
        member("health", "/health".into()),
        member("websocket", "/ws".into()),
    ]);
    reply::json(StatusCode::OK, &root)
}

async fn health(core: &Core) -> Result<Response, HttpError> {
    let redis = if core.fan_out.peers.answers().await {
        "подключен"
    } else {
        "ошибка"
    };
    let sockets = i64::try_from(core.fan_out.sockets.count()).unwrap_or(i64::MAX);
    let health = Value::Map(vec![
        member("status", "healthy".into()),
        member("service", "messenger".into()),
        member("timestamp", stamp().into()),
        member("redis", redis.into()),
        member("websocket_connections", int(sockets)),
        member("version", "1.0.0".into()),
    ]);
    reply::json(StatusCode::OK, &health)
}

fn text<'a>(arguments: &'a Arguments, name: &str) -> &'a str {
    arguments.text(name).unwrap_or_default()
}

/// Returns the content of a message as it was sent.
///
/// # Errors
/// 422 for blanks alone, which the original stores and can never show again, and for characters that
/// the database does not take.
fn content(arguments: &Arguments) -> Result<String, HttpError> {
    let content = arguments.text("content").unwrap_or_default();
    if strip_str(content).is_empty() {
        return Err(invalid(
            "string_too_short",
            "String should have at least 1 character",
            arguments,
            vec![("min_length", int(1))],
        ));
    }
    if content.contains('\0') {
        let text = "Input should be a valid string";
        return Err(invalid("string_type", text, arguments, Vec::new()));
    }
    Ok(content.to_owned())
}

fn invalid(
    kind: &'static str,
    text: &'static str,
    arguments: &Arguments,
    context: Vec<(&'static str, Value)>,
) -> HttpError {
    HttpError::invalid(vec![Invalid {
        kind,
        place: vec!["body".into(), "content".into()],
        text: text.into(),
        input: arguments.value("content").clone(),
        context,
    }])
}

fn shown_tokens(tokens: TokenPair) -> Value {
    Value::Map(vec![
        member("access_token", tokens.access.into()),
        member("refresh_token", tokens.refresh.into()),
        member("token_type", "bearer".into()),
    ])
}
