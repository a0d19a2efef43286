"""Plays every row of the contract against the reference and Chatferry, and compares; then both together, and Chatferry
with itself, over shared tables and one Redis.

    python compat/matching/play.py --binary target/release/chatferry --database postgres://… --redis redis://…
"""

import argparse
import asyncio
import contextlib
import json
import sys
import time
import uuid
from pathlib import Path

import asyncpg
import redis
from player import Player  # noqa: I001 (it finds the next)
import systems
from systems import QUIET, compare, databases, expect, uvicorn

HERE = Path(__file__).resolve().parent
#: The token of the service that makes rooms.
SERVICE = "a-token-of-a-service"

#: Answers of ours that differ on purpose; each is a row of src/dialect/matching/STATUS.md.
DIFFERENT = {"blanks", "of the system", "a NUL", "refresh token"}

OPEN, BLIND, CLOSED = (uuid.UUID(int=number) for number in (1, 2, 3))
USERS = ("ann", "ben", "cem", "dan")


@contextlib.contextmanager
def reference(database, url):
    with uvicorn(HERE, DATABASE_URL=database, REDIS_URL=url) as server:
        yield server


@contextlib.contextmanager
def chatferry(binary, database, url, **settings):
    settings = {"DATABASE_URL": database, "REDIS": url, "SERVICE_TOKEN": SERVICE} | settings
    with systems.chatferry(binary, "matching", **settings) as server:
        yield server


async def prepare(url):
    """Users and rooms, as the main application makes them; Chatferry has made the tables."""
    db = await asyncpg.connect(url)
    for name in USERS:
        await db.execute('INSERT INTO "user" VALUES ($1, $2, $3, $4, true)', name, f"{name}@example.com", name.title(), "x")
    for number, (room, mode) in enumerate(((OPEN, "open"), (BLIND, "blind"), (CLOSED, "open"))):
        info = json.dumps({"department": "d", "grade": 2, "member_ids": ["ann"]})
        sql = """INSERT INTO matching_chat_rooms(room_id, proposal_id, room_name, display_mode, group_a_info, group_b_info,
            is_active, created_at) VALUES ($1, $2, $3, $4, $5, $5, $6, '2026-01-01 00:00:00.5')"""
        await db.execute(sql, room, uuid.uuid4(), f"room {number}", mode, info, room != CLOSED)
        for place, user in enumerate(USERS[:3]):
            label, index = "AB"[place % 2], place // 2 + 1
            sql = """INSERT INTO matching_chat_members(room_id, user_id, group_label, member_index, anonymous_name)
                VALUES ($1, $2, $3, $4, $5)"""
            await db.execute(sql, room, user, label, index, f"{label}{index}")
    await db.close()


def rest(p):
    """Each operation, its refusals and its edges."""
    messages = f"/matching/chats/{OPEN}/messages"
    for name, options in {
        "no token": {}, "junk": {"token": "junk"}, "expired": {"token": p.token("ann", exp=1)}, "no sub": {"token": p.token(None)},
        "another scheme": {"headers": {"Authorization": "Token x"}}, "refresh token": {"token": p.token("ann", token_type="refresh")},
    }.items():  # fmt: skip
        yield name, p.ask("GET", messages, **options)[0]
    yield "before validation", p.ask("POST", messages, {})[0]
    bodies = {
        "fine": {"content": "안녕하세요 👋"}, "image": {"content": "x", "message_type": "image", "attachments": ["a", "b"]},
        "padded": {"content": "  x \n"}, "null attachments": {"content": "x", "attachments": None}, "no attachments": {"content": "x", "attachments": []},
        "two thousand": {"content": "가" * 2000}, "too long": {"content": "가" * 2001}, "empty": {"content": ""}, "missing": {}, "null": {"content": None},
        "number": {"content": 5}, "bad type": {"content": "x", "message_type": "video"}, "bad attachments": {"content": "x", "attachments": "a"},
        "bad attachment": {"content": "x", "attachments": [1]}, "more": {"content": "x", "other": 1}, "a list": [], "separators": {"content": "a\u2028b</script>"},
    }  # fmt: skip
    for name, body in bodies.items():
        yield name, p.ask("POST", messages, body, user="ann")[0]
    yield "blanks", p.ask("POST", messages, {"content": " \t"}, user="cem")[0]
    yield "of the system", p.ask("POST", messages, {"content": "x", "message_type": "system"}, user="cem")[0]
    yield "a NUL", p.ask("POST", messages, {"content": "a\0b"}, user="cem")[0]
    asyncio.run(clean(p.database))
    p.names = {}
    yield "by junk", p.ask("POST", messages, raw=b"{", user="ann")[0]
    yield "by nothing", p.ask("POST", messages, raw=b"", user="ann")[0]
    for name, path in {
        "of others": (f"/matching/chats/{OPEN}/messages", "dan"), "no room": (f"/matching/chats/{uuid.UUID(int=99)}/messages", "ann"),
        "a bad id": ("/matching/chats/nope/messages", "ann"), "a short id": ("/matching/chats/123/messages", "ann"),
        "an undashed id": (f"/matching/chats/{OPEN.hex}/messages", "ann"), "a closed room": (f"/matching/chats/{CLOSED}/messages", "ann"),
        "below api": (f"/api/v1/matching/chats/{OPEN}/messages", "ben"), "a slash more": (f"/matching/chats/{OPEN}/messages/", "ann"),
    }.items():  # fmt: skip
        yield f"send to {name}", p.ask("POST", path[0], {"content": "x"}, user=path[1])[0]
        yield f"list {name}", p.ask("GET", f"{path[0]}?limit=2", user=path[1])[0]
    sent = [p.ask("POST", f"/matching/chats/{BLIND}/messages", {"content": f"b{n}"}, user="ben")[1]["message_id"] for n in range(7)]
    blind = f"/matching/chats/{BLIND}/messages"
    for number, query in enumerate(("", "limit=3", "limit=7", "limit=0", "limit=101", "limit=x", f"before={sent[3]}", f"before_message_id={sent[3]}&before={sent[1]}",
                  f"before={sent[0]}", f"limit=2&before={sent[5].upper()}", "before=nope", f"before={uuid.UUID(int=9)}")):  # fmt: skip
        yield f"page {number}", p.ask("GET", f"{blind}?{query}", user="ann")[0]
    read = f"/matching/chats/{BLIND}/read"
    for name, body in {
        "read one": {"last_read_message_id": sent[2]}, "read it again": {"last_read_message_id": sent[2]}, "read an older": {"message_id": sent[0]},
        "read many": {"message_ids": [sent[4], sent[1]]}, "read nothing": {}, "read no list": {"message_ids": []}, "read junk": {"message_id": "x"},
        "read nobody's": {"message_id": str(uuid.UUID(int=9))}, "read some of nobody": {"message_ids": [sent[0], str(uuid.UUID(int=9))]},
    }.items():  # fmt: skip
        yield name, p.ask("POST", read, body, user="ann")[0]
    yield "read of others", p.ask("POST", read, {"message_id": sent[0]}, user="dan")[0]
    yield "read in another room", p.ask("POST", f"/matching/chats/{OPEN}/read", {"message_id": sent[0]}, user="ann")[0]
    for query in ("", "?is_active=true", "?is_active=false", "?is_active=all", "?is_active=1"):
        yield f"rooms {query}", p.ask("GET", f"/matching/chats{query}", user="ann")[0]
    yield "rooms of nobody", p.ask("GET", "/matching/chats", user="dan")[0]
    for room in (OPEN, BLIND, CLOSED):
        yield f"room {room}", p.ask("GET", f"/matching/chats/{room}", user="ben")[0]
    yield "room of others", p.ask("GET", f"/matching/chats/{OPEN}", user="dan")[0]
    yield "nothing there", p.ask("GET", "/nope")[0]
    yield "another method", p.ask("PUT", f"/matching/chats/{OPEN}/read", user="ann")[0]


def sockets(p):
    """What is said on a socket, and how it is opened and closed."""
    path = f"/ws/matching/chats/{OPEN}"
    for name, options in {
        "no token": {"path": path}, "bad token": {"path": path, "token": "junk"}, "socket of others": {"path": path, "user": "dan"},
        "bad room": {"path": "/ws/matching/chats/nope", "user": "ann"}, "no such room": {"path": f"/ws/matching/chats/{uuid.UUID(int=9)}", "user": "ann"},
        "another path": {"path": "/ws/nope", "user": "ann"},
    }.items():  # fmt: skip
        yield name, p.socket(**options).shown()
    ann, ben = p.socket(path, "ann"), p.socket(path, "ben")
    time.sleep(QUIET)
    for name, frame in {
        "typing": {"type": "typing"}, "typing no more": {"type": "typing", "is_typing": False},
    }.items():  # fmt: skip
        ann.say(frame)
        yield name, (ben.shown(), ann.silent())
    for name, frame in {
        "message": {"type": "message", "content": "hi 한"}, "an image": {"type": "message", "content": "x", "message_type": "image", "attachments": ["a"]},
    }.items():  # fmt: skip
        ann.say(frame)
        yield name, (ann.shown(), ben.shown())
    for name, frame in {
        "ping": {"type": "ping"}, "no JSON": "nope", "a list": "[1]", "a number": "5", "no type": "{}", "unknown": {"type": "nope"},
        "no content": {"type": "message"}, "too long a message": {"type": "message", "content": "x" * 2001}, "bad kind": {"type": "message", "content": "x", "message_type": "v"},
        "read of nobody": {"type": "read", "last_read_message_id": str(uuid.UUID(int=9))},
    }.items():  # fmt: skip
        ann.say(frame)
        yield name, ann.shown()
    ann.say({"type": "pong"})
    yield "pong", ann.silent()
    sent = p.ask("POST", f"/matching/chats/{OPEN}/messages", {"content": "by rest"}, user="ben")[1]["message_id"]
    yield "by rest", (ann.shown(), ben.shown())
    ann.say({"type": "read", "last_read_message_id": sent})
    yield "read", (ann.shown(), ben.shown())
    p.ask("POST", f"/matching/chats/{OPEN}/read", {"message_id": sent}, user="ben")
    yield "read by rest", (ann.shown(), ben.shown())
    second = p.socket(f"/ws/matching/chats/{BLIND}", "ann")
    time.sleep(QUIET)
    p.ask("POST", f"/matching/chats/{BLIND}/messages", {"content": "blind"}, user="ben")
    yield "blind", (second.shown(), ann.silent())
    yield "leave", p.ask("POST", f"/matching/chats/{OPEN}/leave", user="ben")[0]
    yield "who left", (ben.shown(), ann.shown())
    yield "leave again", p.ask("POST", f"/matching/chats/{OPEN}/leave", user="ben")[0]
    for user in ("ann", "cem"):
        p.ask("POST", f"/matching/chats/{OPEN}/leave", user=user)
    yield "all left", (ann.shown(), p.ask("GET", "/matching/chats?is_active=all", user="ann")[0])


async def clean(url):
    """What only the reference has stored."""
    db = await asyncpg.connect(url)
    await db.execute("DELETE FROM matching_messages WHERE sender_id = 'cem'")
    await db.close()


def story(one, other):
    """Two members at two processes that share tables and Redis."""
    path = f"/ws/matching/chats/{BLIND}"
    ann, ben = one.socket(path, "ann"), other.socket(path, "ben")
    time.sleep(QUIET)
    for number in range(20):
        (ann, ben)[number % 2].say({"type": "message", "content": f"n{number}"})
        for socket in (ann, ben):
            expect(socket.next(), f'"content":"n{number}"')
    for p in (one, other):
        assert p.ask("POST", f"/matching/chats/{BLIND}/messages", {"content": "rest"}, user="cem")[0][0] == 201
        for socket in (ann, ben):
            expect(socket.next(), '"content":"rest"')
    ann.say({"type": "typing"})
    expect(ben.next(), '"user_name":"A1"')
    assert other.ask("POST", f"/matching/chats/{BLIND}/leave", user="ann")[0][0] == 200
    expect(ben.next(), "member_left")
    assert ben.silent() is None
    for socket in (ann, ben):
        socket.close()


def chosen(options, database, url):
    """What only Chatferry does: rooms are made, limits, streams, caches, other forms."""
    settings = {"STREAMS": "true", "MESSAGES_PER_MINUTE": "5", "ERRORS": "wrapped",
                "FRAMES": "flat", "ORDER": "desc", "BLIND_IDS": "member", "HIDE_ROOMS": "true"}  # fmt: skip
    with chatferry(options.binary, database, url, **settings) as server:
        asyncio.run(prepare(database))
        p = Player(server.base)
        group = {"member_ids": ["ann"], "department": "d", "extra": [1]}
        room = {"proposal_id": str(uuid.uuid4()), "room_name": "new", "display_mode": "blind", "group_a_info": group, "group_b_info": {"member_ids": ["ben", "cem"]}}
        assert p.ask("POST", "/matching/chats", room, user="ann")[0][0] == 401
        status, made = p.ask("POST", "/matching/chats", room, token=SERVICE)
        assert status[0] == 201 and made["group_a"]["extra"] == [1] and "member_ids" not in made["group_a"], made
        assert [it["display_name"] for it in made["group_b"]["members"]] == ["B1", "B2"], made
        again = p.ask("POST", "/matching/chats", room, token=SERVICE)
        assert again[0][0] == 200 and again[1]["room_id"] == made["room_id"]
        for wrong in ({"group_b_info": {"member_ids": ["ann"]}}, {"group_b_info": {"member_ids": []}}, {"display_mode": "x"}, {"room_name": "x" * 201}):
            assert p.ask("POST", "/matching/chats", room | wrong | {"proposal_id": str(uuid.uuid4())}, token=SERVICE)[0][0] == 422
        nobody = room | {"proposal_id": str(uuid.uuid4()), "group_b_info": {"member_ids": ["nobody"]}}
        assert p.ask("POST", "/matching/chats", nobody, token=SERVICE)[0][0] == 422
        path = f"/matching/chats/{made['room_id']}"
        socket = p.socket(f"/ws{path}", "ben")
        sent = [p.ask("POST", f"{path}/messages", {"content": f"m{n}"}, user="ann")[1] for n in range(5)]
        frame = json.loads(socket.next())
        assert frame["type"] == "message" and frame["message_id"] == sent[0]["message_id"] and frame["sender_id"] != "ann", frame
        status, body = p.ask("POST", f"{path}/messages", {"content": "m5"}, user="ann")
        assert status[0] == 429 and status[1]["x-ratelimit-remaining"] == "0" and body["error"]["code"] == "RATE_LIMITED", status
        page = p.ask("GET", f"{path}/messages?limit=2", user="ben")[1]
        assert [it["content"] for it in page["messages"]] == ["m4", "m3"] and page["next_cursor"] == sent[3]["message_id"], page
        hidden = p.ask("GET", f"/matching/chats/{uuid.UUID(int=9)}", user="ann")
        assert hidden[0][0] == 403 and hidden[1]["error"]["code"] == "FORBIDDEN", hidden
        with redis.from_url(url, decode_responses=True) as db:
            key = f"matching:chat:{made['room_id']}"
            entries = db.xrange(f"{key}:stream")
            assert [fields["content"] for _, fields in entries] == [f"m{n}" for n in range(5)], entries
            assert [group["name"] for group in db.xinfo_groups(f"{key}:stream")] == ["matching-workers"]
            until = time.monotonic() + 20
            while len(json.loads(db.get(f"{key}:messages:recent") or "[]")) < 5:
                assert time.monotonic() < until, db.get(f"{key}:messages:recent")
                time.sleep(0.05)
            assert 0 < db.ttl(f"{key}:messages:recent") <= 300 and json.loads(db.get(f"{key}:meta"))["member_count"] == 3
            p.ask("POST", f"{path}/read", {"message_id": sent[4]["message_id"]}, user="ben")
            assert db.get(f"{key}:read:ben") == sent[4]["message_id"] and db.ttl(f"{key}:read:ben") > 80_000
        socket.close()
        sockets = [p.socket(f"/ws{path}", "cem") for _ in range(50)]
        full = p.socket(f"/ws{path}", "cem")
        assert full.next() == 1008
        for socket in sockets:
            socket.close()


def killed(options, database, url):
    """What was confirmed before a kill is there after it."""
    with chatferry(options.binary, database, url) as server:
        asyncio.run(prepare(database))
        p = Player(server.base)
        sent = [p.ask("POST", f"/matching/chats/{OPEN}/messages", {"content": f"k{n}"}, user="ann")[1]["message_id"] for n in range(50)]
        server.kill()
    with chatferry(options.binary, database, url) as server:
        page = Player(server.base).ask("GET", f"/matching/chats/{OPEN}/messages?limit=100", user="ben")[1]
        assert [message["message_id"] for message in page["messages"]] == sent


def play(server, database):
    p = Player(server.base)
    p.database = database
    return [(f"{part.__name__}: {name}", answer) for part in (rest, sockets) for name, answer in part(p)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True, type=Path)
    parser.add_argument("--database", required=True)
    parser.add_argument("--redis", required=True)
    options = parser.parse_args()
    with databases(options.database, "matching", 6) as names:
        urls = [f"{options.redis}/{number}" for number in range(6)]
        with chatferry(options.binary, names[0], urls[0]):
            asyncio.run(prepare(names[0]))
        with reference(names[0], urls[0]) as server:
            theirs = play(server, names[0])
        with chatferry(options.binary, names[1], urls[1], MESSAGES_PER_MINUTE="0") as server:
            asyncio.run(prepare(names[1]))
            ours = play(server, names[1])
        wrong = compare(theirs, ours, DIFFERENT)
        print(f"{len(ours)} answers, {wrong} of them wrong, {len(DIFFERENT)} different on purpose", flush=True)
        with chatferry(options.binary, names[2], urls[2]) as ours:
            asyncio.run(prepare(names[2]))
            with reference(names[2], urls[2]) as theirs:
                story(Player(theirs.base), Player(ours.base))
        with chatferry(options.binary, names[3], urls[3]) as one, chatferry(options.binary, names[3], urls[3]) as other:
            asyncio.run(prepare(names[3]))
            story(Player(one.base), Player(other.base))
        print("a Python and a Chatferry process, and two of Chatferry: nothing missed, nothing twice", flush=True)
        chosen(options, names[4], urls[4])
        print("rooms, limits, streams, caches and the other forms", flush=True)
        killed(options, names[5], urls[5])
        print("a process that was killed: nothing lost", flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
