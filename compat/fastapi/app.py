"""An application that asks FastAPI for everything `src/fastapi` answers, to compare the two.

    python app.py

It listens on a free port of 127.0.0.1 and prints it. `tests/it/fastapi/app.rs` is the same application in Rust. Callers are
known by the word that they send as a token: `u1` is a member of the room, `u2` is none.
"""

import asyncio
import json
import socket
from datetime import datetime, timedelta, timezone
from typing import Annotated, Literal, Optional
from uuid import UUID

import fastapi
import uvicorn
from fastapi import Depends, FastAPI, Form, Header, HTTPException, Path, Query, WebSocket, status
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, OAuth2PasswordBearer
from pydantic import BaseModel, EmailStr, Field
from sse_starlette.sse import EventSourceResponse

ROOM = UUID("990e8400-e29b-41d4-a716-446655440000")
MESSAGE = "00000000-0000-4000-8000-000000000000"
SENT = "2025-12-12T14:00:00.120000"

app = FastAPI(title="matching")
app.add_middleware(
    CORSMiddleware,
    allow_origins=["https://chat.example"],
    allow_credentials=True,
    allow_methods=["*"],
    allow_headers=["*"],
)


def caller(token: Annotated[Optional[HTTPAuthorizationCredentials], Depends(HTTPBearer(auto_error=False))]):
    challenge = {"WWW-Authenticate": "Bearer"}
    if token is None:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "Not authenticated", challenge)
    if token.credentials not in ("u1", "u2"):
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "Could not validate credentials", challenge)
    return token.credentials


Caller = Annotated[str, Depends(caller)]


def check(room_id, user):
    if room_id != ROOM:
        raise HTTPException(404, "Room not found")
    if user != "u1":
        raise HTTPException(403, "방 멤버가 아닙니다")


class NewMessage(BaseModel):
    content: str = Field(min_length=1, max_length=2000)
    message_type: str = Field("text", pattern="^(text|image|system)$")
    attachments: Optional[list[str]] = None


class Read(BaseModel):
    last_read_message_id: UUID


class ReadBatch(BaseModel):
    message_ids: list[UUID] = Field(min_length=1, max_length=100)


class Typed(BaseModel):
    text: Optional[str] = Field(None, min_length=2, max_length=4)
    count: Optional[int] = None
    bounded: Annotated[Optional[int], Field(gt=0, le=100)] = None
    ratio: Optional[float] = None
    flag: Optional[bool] = None
    uid: Optional[UUID] = None
    mail: Optional[EmailStr] = None
    time: Optional[datetime] = None
    word: Optional[Literal["a", "b", "c"]] = None
    numbers: Annotated[Optional[list[int]], Field(min_length=1, max_length=3)] = None
    texts: Optional[list[Annotated[str, Field(max_length=3)]]] = None
    required: Annotated[int, Field(ge=1, le=9)]


class Address(BaseModel):
    street: str = Field(min_length=1)
    number: Optional[int]


class Person(BaseModel):
    name: str
    address: Address
    others: list[Address]


@app.post("/matching/chats/{room_id}/messages", status_code=201)
async def send(room_id: UUID, body: NewMessage, user: Caller):
    check(room_id, user)
    return {
        "message_id": MESSAGE,
        "room_id": str(room_id),
        "sender_id": user,
        "message_type": body.message_type,
        "content": body.content,
        "attachments": body.attachments,
        "created_at": SENT,
        "deleted_at": None,
    }


@app.get("/matching/chats/{room_id}/messages")
async def messages(
    room_id: UUID,
    user: Caller,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    before_message_id: Optional[UUID] = None,
):
    check(room_id, user)
    return {"messages": [], "total": 0, "has_more": False}


@app.post("/matching/chats/{room_id}/read")
async def read(room_id: UUID, body: Read, user: Caller):
    check(room_id, user)
    return {"unread_count": 0}


@app.post("/matching/chats/{room_id}/read-batch")
async def read_batch(room_id: UUID, body: ReadBatch, user: Caller):
    check(room_id, user)
    return {"unread_count": 0}


@app.get("/boom")
async def boom():
    raise RuntimeError("boom")


@app.get("/http-dict")
async def http_dict():
    raise HTTPException(404, {"error": "resource_not_found", "message": "User not found"})


@app.get("/strict")
async def strict(_: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]):
    return {}


@app.get("/oauth")
async def oauth(_: Annotated[str, Depends(OAuth2PasswordBearer(tokenUrl="token"))]):
    return {}


class Dates(BaseModel):
    naive_us: datetime = datetime(2025, 12, 12, 14, 0, 0, 120000)
    naive_s: datetime = datetime(2025, 12, 12, 14, 0, 0)
    utc: datetime = datetime(2025, 12, 12, 14, 0, 0, 120000, timezone.utc)
    seoul: datetime = datetime(2025, 12, 12, 14, 0, 0, 120000, timezone(timedelta(hours=9)))
    ms: datetime = datetime(2025, 12, 12, 14, 0, 0, 1000)


@app.get("/dates")
async def dates():
    return {"pydantic": Dates(), "isoformat": {name: time.isoformat() for name, time in Dates()}}


@app.get("/coerce")
async def coerce(
    b: bool = False,
    i: int = 0,
    f: float = 0.0,
    l: Literal["a", "b"] = "a",  # noqa: E741
    e: Optional[EmailStr] = None,
    d: Optional[datetime] = None,
    xs: Annotated[list[int], Query()] = [],  # noqa: B006
):
    return {"b": b, "i": i, "f": f, "l": l, "e": e, "d": d.isoformat() if d else None, "xs": xs}


@app.post("/typed")
async def typed(body: Typed):
    values = body.model_dump()
    values["uid"] = str(body.uid) if body.uid else None
    values["time"] = body.time.isoformat() if body.time else None
    return values


@app.post("/items/{item_id}/")
async def items(
    item_id: Annotated[int, Path(gt=0)],
    body: Read,
    q: Annotated[str, Query(min_length=2)],
    x_count: Annotated[int, Header()],
):
    return {"item_id": item_id, "q": q, "x_count": x_count}


@app.delete("/items/{item_id}/", status_code=204)
async def delete_item(item_id: int):
    return None


@app.post("/people", response_model=Person, tags=["people"])
async def add_person(body: Person):
    return body


@app.get("/people", response_model=list[Person], tags=["people"])
async def list_people():
    return []


@app.post("/login")
async def login(
    username: Annotated[str, Form(min_length=2)],
    password: Annotated[str, Form()],
    scope: Annotated[str, Form()] = "",
):
    return {"username": username, "password": password, "scope": scope}


@app.get("/sse")
async def sse():
    async def events():
        yield {"event": "connected", "data": json.dumps({"room_id": 1, "text": "한글\nline2"})}
        yield {"data": "line1\nline2"}
        yield {"event": "x", "data": "raw a\r\nraw b", "id": "7", "retry": 3000}
        yield {"data": "plain string"}

    return EventSourceResponse(events())


@app.websocket("/ws/matching/chats/{room_id}")
async def ws(websocket: WebSocket, room_id: UUID, token: str = ""):
    if token != "u1" or room_id != ROOM:
        await websocket.close(1008)
        return
    await websocket.accept()
    await websocket.close()


async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    print(fastapi.__version__, listener.getsockname()[1], flush=True)
    await uvicorn.Server(uvicorn.Config(app, log_level="critical")).serve([listener])


if __name__ == "__main__":
    asyncio.run(main())
