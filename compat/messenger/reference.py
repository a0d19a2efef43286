"""Messenger Core as its contract has it, on the framework that it pins: what Chatferry's dialect is compared with.

    DATABASE_URL=postgres://… REDIS_URL=redis://… SECRET_KEY=… python -m uvicorn reference:app --port 8000

The faults of the original are here too, where they cost little: `play.py` names each that Chatferry does not share.
"""

import asyncio
import datetime
import json
import os
import time
import uuid
from contextlib import asynccontextmanager

import asyncpg
import bcrypt
import redis.asyncio as redis
from fastapi import Depends, FastAPI, HTTPException, Query, WebSocket, WebSocketDisconnect
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import OAuth2PasswordBearer
from jose import JWTError, jwt
from pydantic import BaseModel, EmailStr, Field, field_validator

SECRET = os.environ["SECRET_KEY"]
ACCESS, REFRESH = datetime.timedelta(minutes=15), datetime.timedelta(days=7)
#: Seconds: of `online:`, between pings; entries of `offline:`.
ONLINE, SILENCE, KEPT = 90, 25, 300
BAD_TOKEN = HTTPException(401, "Не удалось проверить учетные данные", {"WWW-Authenticate": "Bearer"})
USER = "u.id, u.username, u.email, u.is_active, u.created_at"

TABLES = """
CREATE TABLE IF NOT EXISTS users(id serial PRIMARY KEY, username varchar(50) NOT NULL UNIQUE,
    email varchar(255) NOT NULL UNIQUE, hashed_password varchar(255) NOT NULL, is_active boolean,
    created_at timestamptz DEFAULT now());
CREATE TABLE IF NOT EXISTS chat_rooms(id serial PRIMARY KEY, name varchar(100), is_group boolean,
    created_at timestamptz DEFAULT now());
CREATE TABLE IF NOT EXISTS participants(user_id int REFERENCES users, chat_id int REFERENCES chat_rooms,
    PRIMARY KEY(user_id, chat_id));
CREATE TABLE IF NOT EXISTS messages(id serial PRIMARY KEY, chat_id int REFERENCES chat_rooms,
    sender_id int REFERENCES users, content varchar(2000) NOT NULL, read_at timestamptz,
    created_at timestamptz DEFAULT now(), is_deleted boolean NOT NULL DEFAULT false,
    is_edited boolean NOT NULL DEFAULT false);
CREATE TABLE IF NOT EXISTS message_deliveries(id serial PRIMARY KEY, message_id int NOT NULL REFERENCES messages,
    user_id int NOT NULL REFERENCES users, delivered_at timestamptz,
    CONSTRAINT uix_message_delivery_user UNIQUE(message_id, user_id));
CREATE TABLE IF NOT EXISTS message_reads(id serial PRIMARY KEY, message_id int NOT NULL REFERENCES messages,
    user_id int NOT NULL REFERENCES users, read_at timestamp, CONSTRAINT uix_message_user UNIQUE(message_id, user_id));
CREATE TABLE IF NOT EXISTS message_edits(id serial PRIMARY KEY, message_id int NOT NULL REFERENCES messages,
    user_id int NOT NULL REFERENCES users, old_content varchar(2000) NOT NULL, new_content varchar(2000) NOT NULL,
    edited_at timestamp);
"""


class UserCreate(BaseModel):
    username: str = Field(min_length=3, max_length=50)
    email: EmailStr
    password: str = Field(min_length=8, max_length=72)


class UserLogin(BaseModel):
    username: str | None = None
    email: EmailStr | None = None
    password: str = Field(min_length=8)


class RefreshToken(BaseModel):
    refresh_token: str


class ChatCreate(BaseModel):
    second_user_id: int = Field(gt=0)
    name: str | None = Field(None, max_length=100)


class MessageBase(BaseModel):
    content: str = Field(min_length=1, max_length=2000)


class MessageCreate(MessageBase):
    chat_id: int = Field(gt=0)


class MessageShown(MessageBase):
    """The validator of the parent runs on what is shown, too: blanks alone cannot be shown."""

    chat_id: int
    id: int
    sender_id: int
    created_at: datetime.datetime
    delivered_at: datetime.datetime | None = None
    read_at: datetime.datetime | None = None
    is_delete: bool = False

    @field_validator("content")
    @classmethod
    def trimmed(cls, content):
        if not content.strip():
            raise ValueError("blank")
        return content.strip()


class UserShown(BaseModel):
    id: int
    username: str
    email: str
    is_active: bool
    created_at: datetime.datetime


class ChatShown(BaseModel):
    name: str | None = None
    id: int
    is_group: bool
    created_at: datetime.datetime
    participants: list[UserShown]


class Hub:
    """The sockets of this process, and Redis."""

    def __init__(self):
        self.sockets = {}

    async def listen(self):
        subscription = state.redis.pubsub()
        await subscription.psubscribe("chat:*")
        async for message in subscription.listen():
            if message["type"] == "pmessage":
                chat = message["channel"].split(":")[1]
                await self.send(chat, json.loads(message["data"]))

    async def send(self, chat, payload):
        for user in sorted(await state.redis.smembers(f"chat_members:{chat}"), key=int):
            socket = self.sockets.get(int(user))
            if socket is None:
                await state.redis.rpush(f"offline:{user}", json.dumps(payload))
                await state.redis.ltrim(f"offline:{user}", -KEPT, -1)
            else:
                await socket.send_text(compact(payload))
                await self.delivered(payload, int(user))

    async def delivered(self, payload, user):
        if "id" in payload:
            statement = "UPDATE message_deliveries SET delivered_at = now() WHERE message_id = $1 AND user_id = $2"
            await state.db.execute(f"{statement} AND delivered_at IS NULL", payload["id"], user)


class State:
    db: asyncpg.Pool
    redis: redis.Redis


state, hub = State(), Hub()


@asynccontextmanager
async def lifespan(_):
    state.db = await asyncpg.create_pool(os.environ["DATABASE_URL"].replace("+asyncpg", ""), min_size=1, max_size=10)
    state.redis = redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
    await state.db.execute(f"SELECT pg_advisory_lock(2037148276); {TABLES} SELECT pg_advisory_unlock(2037148276)")
    listening = asyncio.create_task(hub.listen())
    yield
    listening.cancel()


app = FastAPI(
    title="Messenger API",
    description="Приложение для обмена сообщениями в режиме реального времени",
    version="1.0.0",
    lifespan=lifespan,
    docs_url=None,
    redoc_url=None,
)
app.add_middleware(
    CORSMiddleware,
    allow_origins=["http://localhost:3000"],
    allow_credentials=True,
    allow_methods=["*"],
    allow_headers=["*"],
)
bearer = OAuth2PasswordBearer(tokenUrl="auth/login")


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def stamp():
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat()


def signed(user, kind, life):
    name = str(uuid.uuid4())
    claims = {"sub": str(user), "exp": int(time.time() + life.total_seconds()), "jti": name, "type": kind}
    return jwt.encode(claims, SECRET, "HS256"), name


async def tokens(user):
    access, _ = signed(user, "access", ACCESS)
    refresh, name = signed(user, "refresh", REFRESH)
    await state.redis.set(f"refresh_jti:{name}", user, ex=int(REFRESH.total_seconds()))
    return {"access_token": access, "refresh_token": refresh, "token_type": "bearer"}


def claims_of(token, kind):
    try:
        claims = jwt.decode(token, SECRET, ["HS256"])
    except JWTError:
        return None
    return claims if kind in (None, claims.get("type")) else None


async def user_of(token, kind="access"):
    claims = claims_of(token, kind)
    if claims is None:
        raise BAD_TOKEN
    user = await state.db.fetchrow(f"SELECT {USER} FROM users u WHERE id = $1", int(claims["sub"]))
    if user is None or not user["is_active"]:
        raise BAD_TOKEN
    return dict(user)


async def caller(token: str = Depends(bearer)):
    return await user_of(token)


@app.post("/auth/register", status_code=201, tags=["auth"])
async def register(data: UserCreate):
    taken = await state.db.fetch("SELECT 1 FROM users WHERE username = $1 OR email = $2", data.username, data.email)
    if taken:
        raise HTTPException(400, "Пользователь с таким email или username уже зарегистрирован")
    hashed = bcrypt.hashpw(data.password.encode()[:72], bcrypt.gensalt()).decode()
    sql = "INSERT INTO users(username, email, hashed_password, is_active) VALUES ($1, $2, $3, true) RETURNING id"
    return await tokens(await state.db.fetchval(sql, data.username, data.email, hashed))


@app.post("/auth/login", tags=["auth"])
async def login(data: UserLogin):
    name = data.username or data.email
    if not name:
        raise HTTPException(400, "Укажите username или email")
    user = await state.db.fetchrow("SELECT * FROM users WHERE username = $1 OR email = $1", name)
    if user is None or not bcrypt.checkpw(data.password.encode()[:72], user["hashed_password"].encode()):
        raise HTTPException(401, "Неверные учетные данные")
    return await tokens(user["id"])


@app.post("/auth/refresh", tags=["auth"])
async def refresh_token(data: RefreshToken):
    claims = claims_of(data.refresh_token, "refresh")
    if claims is None or not await state.redis.delete(f"refresh_jti:{claims['jti']}"):
        raise HTTPException(401, "Невалидный refresh токен")
    return await tokens(int(claims["sub"]))


@app.post("/auth/logout", status_code=204, tags=["auth"])
async def logout(data: RefreshToken, user=Depends(caller)):
    claims = claims_of(data.refresh_token, "refresh")
    if claims is not None and claims["sub"] != str(user["id"]):
        raise HTTPException(403, "Ошибка выхода")
    if claims is None or not await state.redis.delete(f"refresh_jti:{claims['jti']}"):
        raise HTTPException(401, "Ошибка выхода")


@app.get("/users/me", response_model=UserShown, tags=["users"])
async def get_me(user=Depends(caller)):
    return user


@app.post("/chats/", response_model=ChatShown, tags=["chats"])
async def create_chat(data: ChatCreate, user=Depends(caller)):
    pair = "SELECT a.chat_id FROM participants a JOIN participants b USING (chat_id) WHERE a.user_id = $1 AND b.user_id = $2"
    chat = await state.db.fetchval(f"{pair} ORDER BY 1", user["id"], data.second_user_id)
    if chat is None:
        async with state.db.acquire() as db, db.transaction():
            chat = await db.fetchval("INSERT INTO chat_rooms(is_group) VALUES (false) RETURNING id")
            members = [(user["id"], chat), (data.second_user_id, chat)]
            await db.executemany("INSERT INTO participants(user_id, chat_id) VALUES ($1, $2)", members)
        await state.redis.sadd(f"chat_members:{chat}", user["id"], data.second_user_id)
    if user["id"] == data.second_user_id:
        raise RuntimeError("SELF_CHAT")
    room = dict(await state.db.fetchrow("SELECT * FROM chat_rooms WHERE id = $1", chat))
    members = f"SELECT {USER} FROM users u JOIN participants p ON p.user_id = u.id WHERE p.chat_id = $1 ORDER BY u.id"
    return room | {"participants": [dict(row) for row in await state.db.fetch(members, chat)]}


@app.get("/chats/", tags=["chats"])
async def get_chats(user=Depends(caller)):
    rows = await state.db.fetch("SELECT chat_id FROM participants WHERE user_id = $1 ORDER BY 1", user["id"])
    return [{"id": row["chat_id"]} for row in rows]


@app.get("/chats/search", response_model=list[UserShown], tags=["chats"])
async def search_users(q: str = Query(min_length=2), limit: int = Query(20, ge=1, le=100), user=Depends(caller)):
    sql = f"SELECT {USER} FROM users u WHERE username ILIKE $1 AND id <> $2 AND is_active ORDER BY id LIMIT $3"
    return [dict(row) for row in await state.db.fetch(sql, f"%{q}%", user["id"], limit)]


async def is_member(chat, user):
    sql = "SELECT 1 FROM participants WHERE chat_id = $1 AND user_id = $2"
    return await state.db.fetchval(sql, chat, user) is not None


async def store(chat, user, content):
    async with state.db.acquire() as db, db.transaction():
        sql = "INSERT INTO messages(chat_id, sender_id, content) VALUES ($1, $2, $3) RETURNING *"
        row = dict(await db.fetchrow(sql, chat, user, content))
        sql = "INSERT INTO message_deliveries(message_id, user_id) SELECT $1, user_id FROM participants"
        await db.execute(f"{sql} WHERE chat_id = $2 AND user_id <> $3", row["id"], chat, user)
    live = {key: row[key] for key in ("id", "chat_id", "sender_id", "content")}
    live["created_at"] = row["created_at"].isoformat()
    await state.redis.publish(f"chat:{chat}", json.dumps(live))
    return row


@app.post("/messages/", response_model=MessageShown, tags=["messages"])
async def send_message(data: MessageCreate, user=Depends(caller)):
    if not await is_member(data.chat_id, user["id"]):
        raise HTTPException(403, "FORBIDDEN")
    try:
        return await store(data.chat_id, user["id"], data.content)
    except asyncpg.PostgresError:
        raise HTTPException(500, "MESSAGE_CREATE_FAILED") from None


@app.get("/messages/", response_model=list[MessageShown], tags=["messages"])
async def get_messages(
    chat_id: int, limit: int = Query(50, ge=1, le=100), offset: int = Query(0, ge=0), user=Depends(caller)
):
    if not await is_member(chat_id, user["id"]):
        raise HTTPException(403, "Вы не являетесь участником чата")
    sql = "SELECT * FROM messages WHERE chat_id = $1 ORDER BY id DESC LIMIT $2 OFFSET $3"
    return [dict(row) for row in await state.db.fetch(sql, chat_id, limit, offset)]


async def own(message_id, user):
    row = await state.db.fetchrow("SELECT * FROM messages WHERE id = $1 AND NOT is_deleted", message_id)
    if row is None:
        raise HTTPException(404, "Сообщение не найдено")
    if row["sender_id"] != user["id"]:
        raise HTTPException(403, "Сообщение не принадлежит Вам")
    return row


async def change(message_id, user, content):
    row = await own(message_id, user)
    await state.db.execute("UPDATE messages SET content = $2, is_edited = true WHERE id = $1", message_id, content)
    sql = "INSERT INTO message_edits(message_id, user_id, old_content, new_content, edited_at) VALUES ($1,$2,$3,$4,$5)"
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    await state.db.execute(sql, message_id, user["id"], row["content"], content, now)
    return row["chat_id"], now


@app.patch("/messages/{message_id}/edit", tags=["messages"])
async def edit_message(message_id: int, data: MessageBase, user=Depends(caller)):
    await change(message_id, user, data.content)


@app.delete("/messages/{message_id}/delete", status_code=204, tags=["messages"])
async def delete_message(message_id: int, user=Depends(caller)):
    await own(message_id, user)
    await state.db.execute("UPDATE messages SET is_deleted = true WHERE id = $1", message_id)


@app.get("/")
async def root():
    return {"message": "Messenger API", "docs": "/docs", "health": "/health", "websocket": "/ws"}


@app.get("/health")
async def health_check():
    raise AttributeError("as published")


class Client:
    def __init__(self, socket, user):
        self.socket, self.user, self.pings = socket, user, 0

    async def serve(self):
        while True:
            try:
                text = await asyncio.wait_for(self.socket.receive_text(), SILENCE)
            except TimeoutError:
                self.pings += 1
                await self.socket.send_text('{"type":"ping"}')
                if self.pings >= 3:
                    return
                continue
            await self.answer(json.loads(text))

    async def answer(self, frame):
        kind = frame.get("type")
        if kind == "pong":
            self.pings = 0
        elif kind == "message":
            await self.message(frame.get("chat_id"), (frame.get("content") or "").strip())
        elif kind == "read":
            ids = [item for item in frame.get("message_ids", []) if isinstance(item, int)]
            sql = """UPDATE messages m SET read_at = now() FROM participants p WHERE m.id = ANY($1) AND m.sender_id <> $2
                AND p.chat_id = m.chat_id AND p.user_id = $2"""
            await state.db.execute(sql, ids, self.user["id"])
        elif kind == "edit_message":
            chat, now = await change(frame["message_id"], self.user, frame["content"])
            edit = {"type": "message_edited", "message_id": frame["message_id"], "new_content": frame["content"]}
            await hub.send(chat, edit | {"edited_at": now.isoformat()})

    async def message(self, chat, content):
        if not chat or not content:
            return await self.error("Требуется указать chat_id и непустое содержимое текста")
        if not await is_member(chat, self.user["id"]):
            return await self.error("Вы не являетесь участников чата")
        try:
            await store(chat, self.user["id"], content)
        except asyncpg.PostgresError:
            await self.error("Ошибка при сохранении сообщения")

    async def error(self, text):
        await self.socket.send_text(compact({"type": "error", "message": text, "timestamp": stamp()}))


@app.websocket("/ws")
async def ws(socket: WebSocket):
    await socket.accept()
    scheme, _, token = socket.headers.get("authorization", "").partition(" ")
    try:
        user = await user_of(token if scheme.lower() == "bearer" else "", None)
    except HTTPException:
        return await socket.close(1008)
    number = user["id"]
    if before := hub.sockets.pop(number, None):
        await before.close(1000)
    hub.sockets[number] = socket
    await state.redis.set(f"online:{number}", "1", ex=ONLINE)
    for row in await state.db.fetch("SELECT chat_id FROM participants WHERE user_id = $1", number):
        await state.redis.sadd(f"chat_members:{row['chat_id']}", number)
    await socket.send_text(compact({"type": "connected", "user_id": number, "timestamp": stamp()}))
    async with state.redis.pipeline(transaction=True) as pipe:
        kept, _ = await pipe.lrange(f"offline:{number}", 0, -1).delete(f"offline:{number}").execute()
    for text in kept:
        payload = json.loads(text)
        await socket.send_text(compact(payload))
        await hub.delivered(payload, number)
    try:
        await Client(socket, user).serve()
    except (WebSocketDisconnect, RuntimeError):
        pass
    except Exception:
        await socket.close(1000)
    else:
        await socket.close(1000)
    finally:
        if hub.sockets.get(number) is socket:
            del hub.sockets[number]
            await state.redis.delete(f"online:{number}")
