"""The matching chat as its contract has it, on the framework of the original: what Chatferry's dialect is compared with.

    DATABASE_URL=postgres://… REDIS_URL=redis://… SECRET_KEY=… python -m uvicorn reference:app --port 8000
"""

import asyncio
import datetime
import json
import os
import uuid
from contextlib import asynccontextmanager
from typing import Literal

import asyncpg
import redis.asyncio as redis
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from jose import JWTError, jwt
from pydantic import BaseModel, Field, ValidationError

SECRET = os.environ["SECRET_KEY"]
NO_MEMBER = "방 멤버가 아닙니다"
FIELDS = "message_id, room_id, sender_id, sender_name, message_type, content, attachments, created_at, updated_at, deleted_at"
MESSAGES = """(SELECT m.*, CASE WHEN r.display_mode = 'blind' THEN s.anonymous_name ELSE u.username END AS sender_name
    FROM matching_messages m JOIN matching_chat_rooms r USING (room_id)
    JOIN matching_chat_members s ON s.room_id = m.room_id AND s.user_id = m.sender_id
    JOIN "user" u ON u.id = m.sender_id WHERE m.deleted_at IS NULL) m"""


class MessageCreate(BaseModel):
    content: str = Field(min_length=1, max_length=2000)
    message_type: Literal["text", "image", "system"] = "text"
    attachments: list[str] | None = None


class ReadRequest(BaseModel):
    last_read_message_id: uuid.UUID | None = None
    message_id: uuid.UUID | None = None
    message_ids: list[uuid.UUID] | None = Field(None, min_length=1, max_length=100)


class State:
    db: asyncpg.Pool
    redis: redis.Redis


state, rooms = State(), {}


@asynccontextmanager
async def lifespan(_):
    state.db = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=10)
    state.redis = redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
    listening = asyncio.create_task(listen())
    yield
    listening.cancel()


async def listen():
    subscription = state.redis.pubsub()
    await subscription.psubscribe("matching:chat:*")
    async for message in subscription.listen():
        if message["type"] == "pmessage":
            frame = json.loads(message["data"])
            await send(message["channel"].split(":")[2], frame)


async def send(room, frame):
    for user, socket in list(rooms.get(room, [])):
        if frame["type"] == "typing" and frame["user_id"] == user:
            continue
        await socket.send_text(compact(frame))


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


app, router = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None), APIRouter()


def user_of(token):
    try:
        return jwt.decode(token, SECRET, ["HS256"])["sub"]
    except (JWTError, KeyError):
        return None


async def caller(authorization: str | None = Header(None)):
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise HTTPException(401, "Not authenticated", {"WWW-Authenticate": "Bearer"})
    user = user_of(token)
    if user is None:
        raise HTTPException(401, "Could not validate credentials", {"WWW-Authenticate": "Bearer"})
    return user


async def member(room, user):
    """The member and the room. Raises HTTPException."""
    about = await state.db.fetchrow("SELECT * FROM matching_chat_rooms WHERE room_id = $1", room)
    if about is None:
        raise HTTPException(404, "Room not found")
    sql = """SELECT m.*, u.username FROM matching_chat_members m JOIN "user" u ON u.id = m.user_id
        WHERE room_id = $1 AND user_id = $2 AND m.is_active"""
    place = await state.db.fetchrow(sql, room, user)
    if place is None:
        raise HTTPException(403, NO_MEMBER)
    return place, about


def time(value):
    text = value.isoformat()
    return f"{text}Z"


def shown(row):
    found = {name: row[name] for name in FIELDS.split(", ")}
    return found | {
        "message_id": str(row["message_id"]),
        "room_id": str(row["room_id"]),
        "created_at": time(row["created_at"]),
        "updated_at": time(row["updated_at"]),
    }


def now():
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


async def store(room, user, data):
    place, about = await member(room, user)
    if not about["is_active"]:
        raise HTTPException(403, "Room is not active")
    sql = """INSERT INTO matching_messages(room_id, sender_id, message_type, content, attachments, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $6) RETURNING *"""
    row = dict(await state.db.fetchrow(sql, room, user, data.message_type, data.content, data.attachments, now()))
    row["sender_name"] = place["anonymous_name"] if about["display_mode"] == "blind" else place["username"]
    message = shown(row)
    await publish(room, {"type": "new_message", "message": message})
    return message


async def publish(room, frame):
    await state.redis.publish(f"matching:chat:{room}", json.dumps(frame))


@router.post("/matching/chats/{room_id}/messages", status_code=201)
async def send_message(room_id: uuid.UUID, data: MessageCreate, user=Depends(caller)):
    return await store(room_id, user, data)


@router.get("/matching/chats/{room_id}/messages")
async def get_messages(
    room_id: uuid.UUID,
    limit: int = Query(50, ge=1, le=100),
    before_message_id: uuid.UUID | None = None,
    before: uuid.UUID | None = None,
    user=Depends(caller),
):
    await member(room_id, user)
    cursor, values = before_message_id or before, [room_id, limit + 1]
    sql = f"SELECT {FIELDS} FROM {MESSAGES} WHERE room_id = $1"
    if cursor:
        found = await state.db.fetchrow(f"SELECT * FROM {MESSAGES} WHERE room_id = $1 AND message_id = $2", room_id, cursor)
        if found is None:
            raise HTTPException(404, "Message not found")
        sql += " AND (created_at, message_id) < ($3, $4)"
        values += [found["created_at"], cursor]
    rows = await state.db.fetch(f"{sql} ORDER BY created_at DESC, message_id DESC LIMIT $2", *values)
    page = [shown(row) for row in reversed(rows[:limit])]
    next_cursor = page[0]["message_id"] if page else None
    return {"messages": page, "total": len(page), "has_more": len(rows) > limit, "next_cursor": next_cursor}


async def mark(room, user, ids):
    place, _ = await member(room, user)
    sql = f"SELECT {FIELDS} FROM {MESSAGES} WHERE room_id = $1 AND message_id = ANY($2) ORDER BY created_at DESC, message_id DESC"
    rows = await state.db.fetch(sql, room, ids)
    if len(rows) < len(set(ids)):
        raise HTTPException(404, "Message not found")
    newest = rows[0]
    sql = """INSERT INTO matching_message_reads(message_id, user_id, read_at) SELECT message_id, $2::varchar, $5
        FROM matching_messages WHERE room_id = $1 AND sender_id <> $2 AND (created_at, message_id) <= ($3, $4) ON CONFLICT DO NOTHING"""
    await state.db.execute(sql, room, user, newest["created_at"], newest["message_id"], now())
    sql = """UPDATE matching_chat_members SET last_read_at = greatest(last_read_at, $2) WHERE member_id = $1
        RETURNING last_read_at"""
    at = await state.db.fetchval(sql, place["member_id"], newest["created_at"])
    sql = "SELECT count(*) FROM matching_messages WHERE room_id = $1 AND sender_id <> $2 AND created_at > $3 AND deleted_at IS NULL"
    unread = await state.db.fetchval(sql, room, user, at)
    await state.redis.set(f"matching:chat:{room}:read:{user}", str(newest["message_id"]), ex=86400)
    frame = {"type": "read", "room_id": str(room), "user_id": user, "last_read_message_id": str(newest["message_id"])}
    await publish(room, frame | {"read_at": time(now())})
    return {"unread_count": unread, "last_read_at": time(at)}


@router.post("/matching/chats/{room_id}/read")
async def mark_as_read(room_id: uuid.UUID, data: ReadRequest, user=Depends(caller)):
    ids = [data.last_read_message_id or data.message_id] if data.last_read_message_id or data.message_id else data.message_ids
    if not ids:
        error = {"type": "missing", "loc": ("body", "last_read_message_id"), "msg": "Field required", "input": {}}
        raise RequestValidationError([error])
    return await mark(room_id, user, ids)


@router.get("/matching/chats")
async def list_chats(is_active: Literal["true", "false", "all"] = "true", user=Depends(caller)):
    sql = """SELECT r.*, me.last_read_at FROM matching_chat_members me JOIN matching_chat_rooms r USING (room_id)
        WHERE me.user_id = $1 AND me.is_active ORDER BY r.created_at"""
    found = []
    for room in await state.db.fetch(sql, user):
        if is_active != "all" and room["is_active"] != (is_active == "true"):
            continue
        sql = f"SELECT {FIELDS} FROM {MESSAGES} WHERE room_id = $1 ORDER BY created_at DESC, message_id DESC"
        rows = await state.db.fetch(sql, room["room_id"])
        read = room["last_read_at"] or datetime.datetime.min
        count = "SELECT count(*) FROM matching_chat_members WHERE room_id = $1 AND is_active"
        last = rows and {name: rows[0][name] for name in ("content", "sender_name")} | {"created_at": time(rows[0]["created_at"])}
        found.append((rows[0]["created_at"] if rows else room["created_at"], {
            "room_id": str(room["room_id"]),
            "room_name": room["room_name"],
            "display_mode": room["display_mode"],
            "members_count": await state.db.fetchval(count, room["room_id"]),
            "unread_count": sum(row["sender_id"] != user and row["created_at"] > read for row in rows),
            "last_message": last or None,
            "created_at": time(room["created_at"]),
        }))
    found.sort(key=lambda pair: pair[0], reverse=True)
    return {"chat_rooms": [room for _, room in found], "total": len(found)}


@router.get("/matching/chats/{room_id}")
async def get_chat(room_id: uuid.UUID, user=Depends(caller)):
    _, about = await member(room_id, user)
    sql = """SELECT m.*, u.username FROM matching_chat_members m JOIN "user" u ON u.id = m.user_id
        WHERE room_id = $1 AND m.is_active ORDER BY group_label, member_index"""
    groups = {}
    for label, name in (("A", "group_a"), ("B", "group_b")):
        info = {key: value for key, value in json.loads(about[f"{name}_info"]).items() if key != "member_ids"}
        members = [row for row in await state.db.fetch(sql, room_id) if row["group_label"] == label]
        groups[name] = info | {"members": [{
            "user_id": row["user_id"],
            "display_name": row["anonymous_name"] if about["display_mode"] == "blind" else row["username"],
            "is_me": row["user_id"] == user,
        } for row in members]}
    head = {"room_id": str(room_id), "room_name": about["room_name"], "display_mode": about["display_mode"]}
    return head | groups | {"created_at": time(about["created_at"])}


@router.post("/matching/chats/{room_id}/leave")
async def leave_chat(room_id: uuid.UUID, user=Depends(caller)):
    place, _ = await member(room_id, user)
    sql = "UPDATE matching_chat_members SET is_active = false, left_at = $2 WHERE member_id = $1"
    await state.db.execute(sql, place["member_id"], now())
    sql = """UPDATE matching_chat_rooms r SET is_active = false WHERE room_id = $1
        AND NOT EXISTS (SELECT 1 FROM matching_chat_members m WHERE m.room_id = r.room_id AND m.is_active)"""
    await state.db.execute(sql, room_id)
    for pair in [pair for pair in rooms.get(str(room_id), []) if pair[0] == user]:
        rooms[str(room_id)].remove(pair)
        await pair[1].close(1000)
    await publish(room_id, {"type": "member_left", "room_id": str(room_id), "user_id": user})
    return {"message": "메시지방에서 나갔습니다."}


@app.websocket("/ws/matching/chats/{room_id}")
async def chat(socket: WebSocket, room_id: uuid.UUID, token: str | None = None):
    user = user_of(token or "")
    try:
        if user is None:
            raise HTTPException(401)
        place, about = await member(room_id, user)
    except HTTPException:
        return await socket.close(1008)
    await socket.accept()
    here = rooms.setdefault(str(room_id), [])
    here.append((user, socket))
    try:
        while True:
            await answer(socket, room_id, user, (place, about), await socket.receive_text())
    except (WebSocketDisconnect, RuntimeError):
        pass
    finally:
        if (user, socket) in here:
            here.remove((user, socket))


async def answer(socket, room, user, found, text):
    try:
        frame = json.loads(text)
    except ValueError:
        return await socket.send_text('{"type":"error","message":"Invalid JSON format"}')
    kind = frame.get("type") if isinstance(frame, dict) else None
    try:
        if kind == "ping":
            await socket.send_text('{"type":"pong"}')
        elif kind == "typing":
            place, about = found
            name = place["anonymous_name"] if about["display_mode"] == "blind" else place["username"]
            typing = {"type": "typing", "user_id": user, "user_name": name, "is_typing": frame.get("is_typing", True)}
            await publish(room, typing)
        elif kind == "message":
            await store(room, user, MessageCreate(**{key: value for key, value in frame.items() if key != "type"}))
        elif kind == "read":
            await mark(room, user, [uuid.UUID(frame["last_read_message_id"])])
        elif kind != "pong":
            await socket.send_text('{"type":"error","message":"Unknown message type"}')
    except HTTPException as error:
        await socket.send_text(compact({"type": "error", "message": error.detail}))
    except ValidationError as error:
        await socket.send_text(compact({"type": "error", "message": error.errors()[0]["msg"]}))


app.include_router(router)
app.include_router(router, prefix="/api/v1")
