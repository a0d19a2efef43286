"""Plays every row of the contract against the reference and Chatferry, and compares; then both together, and Chatferry
with itself, over shared tables and one Redis.

    python compat/messenger/play.py --binary target/release/chatferry --database postgres://… --redis redis://…
"""

import argparse
import contextlib
import sys
import time
from pathlib import Path

from player import Player  # noqa: I001 (it finds the next)
import systems
from systems import QUIET, databases, expect, uvicorn

HERE = Path(__file__).resolve().parent

#: Answers of ours that differ on purpose; each is a row of src/dialect/messenger/STATUS.md.
DIFFERENT = {
    "self": (400, '{"detail":"SELF_CHAT"}'),
    "chat with bool": (400, '{"detail":"SELF_CHAT"}'),
    "chat with nobody": (404, '{"detail":"USER_NOT_FOUND"}'),
    "messages that waited": None,
    "sub is no number": (401, '{"detail":"Не удалось проверить учетные данные"}'),
    "send NUL": (422, None),
    "health": (200, None),
    "number too large": (404, '{"detail":"Сообщение не найдено"}'),
    "list after delete": (200, None),
    "send blanks": (422, None),
    "list after blanks": (200, None),
    "token in the query": None,
    "refresh token": None,
    "no object": None,
    "edit nothing": None,
    "edit another's": None,
    "content is a number": None,
}


@contextlib.contextmanager
def reference(database, redis):
    with uvicorn(HERE, DATABASE_URL=database, REDIS_URL=redis) as server:
        yield server


@contextlib.contextmanager
def chatferry(binary, database, redis):
    settings = {"DATABASE_URL": database, "REDIS": redis, "ALLOWED_ORIGINS": "http://localhost:3000"}
    with systems.chatferry(binary, "messenger", **settings) as server:
        yield server


def rest(p):
    """Each operation, its refusals and its edges."""
    for name in ("anna", "bob", "carl"):
        yield f"register {name}", p.register(name)
    yield "duplicate", p.ask("POST", "/auth/register", {"username": "anna", "email": "x@example.com", "password": "password1"})[0]
    both = {"username": "anna", "email": "bob@example.com", "password": "password1"}
    yield "name and address of two", p.ask("POST", "/auth/register", both)[0]
    bad_users = [
        {},
        [],
        None,
        {"username": 1, "email": 2, "password": None},
        {"username": "ab", "email": "a@b", "password": "short"},
        {"username": "x" * 51, "email": "Name <c@example.com>", "password": "y" * 73},
    ]
    for place, body in enumerate(bad_users):
        yield f"register badly {place}", p.ask("POST", "/auth/register", body, raw=b"" if body is None else None)[0]
    for place, raw in enumerate((b'{"username":', b"username=zed", b"\xff\xff", b"null", b'{"a":1}x')):
        yield f"register by junk {place}", p.ask("POST", "/auth/register", raw=raw)[0]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    yield "register by a form", p.ask("POST", "/auth/register", raw=b"username=zed", headers=form)[0]
    logins = [
        {"username": "anna", "password": "password1"},
        {"email": "anna@example.com", "password": "password1"},
        {"email": "anna@EXAMPLE.com", "password": "password1"},
        {"username": "anna@example.com", "password": "password1"},
        {"username": "", "email": "anna@example.com", "password": "password1"},
        {"username": "anna", "password": "password9"},
        {"username": "nobody", "password": "password9"},
        {"password": "password9"},
        {"username": "anna", "password": "p"},
        {"email": "junk", "password": "password1"},
    ]
    for place, body in enumerate(logins):
        yield f"login {place}", p.ask("POST", "/auth/login", body)[0]
    _, fresh = p.ask("POST", "/auth/login", logins[0])
    for name, token in (("refresh", fresh["refresh_token"]), ("refresh again", fresh["refresh_token"])):
        yield name, p.ask("POST", "/auth/refresh", {"refresh_token": token})[0]
    for name, token in (("refresh by access", fresh["access_token"]), ("refresh by junk", "junk")):
        yield name, p.ask("POST", "/auth/refresh", {"refresh_token": token})[0]
    _, other = p.ask("POST", "/auth/login", logins[0])
    leave = {"refresh_token": other["refresh_token"]}
    yield "logout of another", p.ask("POST", "/auth/logout", leave, user="bob")[0]
    yield "logout without a token", p.ask("POST", "/auth/logout", leave)[0]
    yield "logout", p.ask("POST", "/auth/logout", leave, user="anna")[0]
    yield "logout again", p.ask("POST", "/auth/logout", leave, user="anna")[0]
    yield "refresh after logout", p.ask("POST", "/auth/refresh", leave)[0]
    for name, header in {
        "none": None,
        "another scheme": "Token abc",
        "empty": "Bearer ",
        "scheme alone": "Bearer",
        "junk": "Bearer junk",
        "lower case": f"bearer {p.users['anna']['access_token']}",
        "refresh": f"Bearer {p.users['anna']['refresh_token']}",
        "expired": f"Bearer {p.signed(sub='1', exp=1, type='access')}",
        "unknown user": f"Bearer {p.signed(sub='999', type='access')}",
    }.items():
        yield f"me by {name}", p.ask("GET", "/users/me", headers={"Authorization": header} if header else {})[0]
    sub = {"Authorization": f"Bearer {p.signed(sub='x', type='access')}"}
    yield "sub is no number", p.ask("GET", "/users/me", headers=sub)[0]
    yield "no chats", p.ask("GET", "/chats/", user="anna")[0]
    for name, body in {
        "create": {"second_user_id": 2, "name": "ignored"},
        "create again": {"second_user_id": 2},
        "create by text": {"second_user_id": "2"},
        "create by a float": {"second_user_id": 2.0},
        "create by junk": {"second_user_id": "x"},
        "create by a fraction": {"second_user_id": 2.5},
        "create by zero": {"second_user_id": 0},
        "create by null": {"second_user_id": None},
        "create by a long name": {"second_user_id": 2, "name": "n" * 101},
        "create by nothing": {},
    }.items():
        yield name, p.ask("POST", "/chats/", body, user="anna")[0]
    yield "create from the other side", p.ask("POST", "/chats/", {"second_user_id": 1}, user="bob")[0]
    yield "chats", p.ask("GET", "/chats/", user="anna")[0]
    yield "chats without a slash", p.ask("GET", "/chats?x=1", user="anna")[0]
    yield "create without a slash", p.ask("POST", "/chats", {"second_user_id": 2}, user="anna")[0]
    for query in ("q=bo", "q=BO", "q=b", "", "q=bo&limit=x", "q=bo&limit=0", "q=bo&limit=101", "q=a%25a", "q=%25%25", "q=__b", "q=an&q=ca", "q=zz"):
        yield f"search {query}", p.ask("GET", f"/chats/search?{query}", user="anna")[0]
    yield "search with a slash", p.ask("GET", "/chats/search/?q=bo", user="anna")[0]
    for name, body in {
        "send": {"chat_id": 1, "content": "Привет 👋"},
        "send padded": {"chat_id": 1, "content": "  padded \n"},
        "send separators": {"chat_id": 1, "content": "a\u2028b\u2029</script>\u007f"},
        "send empty": {"chat_id": 1, "content": ""},
        "send nothing": {},
        "send a number": {"chat_id": 1, "content": 5},
        "send long": {"chat_id": 1, "content": "й" * 2000},
        "send too long": {"chat_id": 1, "content": "й" * 2001},
        "send to zero": {"chat_id": 0, "content": "x"},
        "send to nobody": {"chat_id": 999, "content": "x"},
    }.items():
        yield name, p.ask("POST", "/messages/", body, user="anna")[0]
    yield "send to others", p.ask("POST", "/messages/", {"chat_id": 1, "content": "x"}, user="carl")[0]
    for query in ("chat_id=1", "chat_id=1&limit=1&offset=1", "chat_id=1&offset=9", "", "chat_id=x", "chat_id=1&limit=101&offset=-1", "chat_id=999"):
        yield f"list {query}", p.ask("GET", f"/messages/?{query}", user="bob")[0]
    yield "list of others", p.ask("GET", "/messages/?chat_id=1", user="carl")[0]
    yield "edit", p.ask("PATCH", "/messages/1/edit", {"content": "new"}, user="anna")[0]
    yield "edit of another", p.ask("PATCH", "/messages/1/edit", {"content": "new"}, user="bob")[0]
    yield "edit of nothing", p.ask("PATCH", "/messages/999/edit", {"content": "new"}, user="anna")[0]
    yield "edit by junk", p.ask("PATCH", "/messages/x/edit", {"content": ""}, user="anna")[0]
    yield "delete of another", p.ask("DELETE", "/messages/2/delete", user="bob")[0]
    yield "delete", p.ask("DELETE", "/messages/2/delete", user="anna")[0]
    yield "delete again", p.ask("DELETE", "/messages/2/delete", user="anna")[0]
    yield "edit what is deleted", p.ask("PATCH", "/messages/2/edit", {"content": "new"}, user="anna")[0]
    for method, path in (("GET", "/"), ("HEAD", "/"), ("GET", "/nope"), ("GET", "/ws"), ("DELETE", "/users/me"), ("OPTIONS", "/users/me"), ("PUT", "/chats/"), ("GET", "/messages/1/edit"), ("POST", "/auth/register/"), ("GET", "//"), ("GET", "/users/me/")):
        yield f"{method} {path}", p.ask(method, path)[0]
    origin = {"Origin": "http://localhost:3000"}
    foreign = {"Origin": "http://evil.example"}
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for name, headers in (("own", origin), ("foreign", foreign)):
        yield f"preflight of {name} page", p.ask("OPTIONS", "/chats/", headers=headers | asks)[0]
        yield f"answer to {name} page", p.ask("GET", "/", headers=headers)[0]
        yield f"refusal to {name} page", p.ask("GET", "/users/me", headers=headers)[0]


def sockets(p):
    """What is said on a socket, and how it is opened and closed."""
    for name, options in {
        "no token": {},
        "bad token": {"token": "junk"},
        "unknown user": {"token": p.signed(sub="999", type="access")},
        "wrong path": {"user": "anna", "path": "/ws/"},
        "another path": {"user": "anna", "path": "/nope"},
    }.items():
        yield name, p.socket(**options).shown()
    anna, bob = p.socket("anna"), p.socket("bob")
    yield "greeting", anna.shown()
    # What was sent by REST while nobody was there.
    yield "own messages", [anna.shown() for _ in range(4)]
    yield "greeting of another", bob.shown()
    yield "messages that waited", [bob.shown() for _ in range(3)]
    # The reference delivers the one that was deleted, too.
    while bob.silent():
        pass
    frames = {
        "a message": {"type": "message", "chat_id": 1, "content": " ws hi "},
        "a long message": {"type": "message", "chat_id": 1, "content": "й" * 2000},
    }
    for name, frame in frames.items():
        anna.say(frame)
        yield name, (anna.shown(), bob.shown())
    errors = {
        "no content": {"type": "message", "chat_id": 1},
        "no chat": {"type": "message", "content": "x"},
        "blanks": {"type": "message", "chat_id": 1, "content": " \n\t"},
        "chat zero": {"type": "message", "chat_id": 0, "content": "x"},
        "no member": {"type": "message", "chat_id": 999, "content": "x"},
    }
    for name, frame in errors.items():
        anna.say(frame)
        yield name, anna.shown()
    for name, frame in {
        "read": {"type": "read", "message_ids": [1, 5, "x"]},
        "pong": {"type": "pong"},
        "unknown": {"type": "nope"},
        "no type": {},
        "type is a number": {"type": 5},
    }.items():
        bob.say(frame)
        yield name, bob.silent()
    yield "is read", p.ask("GET", "/messages/?chat_id=1&limit=2", user="anna")[0]
    anna.say({"type": "edit_message", "message_id": 5, "chat_id": 1, "content": "edited"})
    yield "an edit", (anna.shown(), bob.shown())
    p.ask("POST", "/messages/", {"chat_id": 1, "content": "by rest"}, user="bob")
    yield "a message by REST", (anna.shown(), bob.shown())
    again = p.socket("anna")
    yield "a second socket", (again.shown(), anna.shown())
    bob.say({"type": "message", "chat_id": 1, "content": "to the second"})
    yield "to the second", (again.shown(), bob.shown())
    for number in range(10):
        bob.say({"type": "message", "chat_id": 1, "content": f"before {number}"})
        before = (again.shown(), bob.shown())
        again = p.socket("anna")
        greeting = again.shown()
        bob.say({"type": "message", "chat_id": 1, "content": f"after {number}"})
        # The message before was delivered to the socket before.
        yield f"one socket after another {number}", (before, greeting, again.shown(), bob.shown())
    again.close()
    bob.close()
    # Those who have left are known to be away once their sockets have ended.
    time.sleep(QUIET)
    for number in range(3):
        p.ask("POST", "/messages/", {"chat_id": 1, "content": f"offline {number}"}, user="anna")
    bob = p.socket("bob")
    yield "offline", [bob.shown() for _ in range(4)]
    yield "and no more", bob.silent()
    bob.close()
    time.sleep(QUIET)
    bob = p.socket("bob")
    yield "not again", (bob.shown(), bob.silent())
    # The last, as an id is lost with it.
    bob.say({"type": "message", "chat_id": 1, "content": "й" * 2001})
    yield "too long", bob.shown()
    bob.close()


def differences(p):
    """What ours does otherwise; the reference's faults come last, as some spoil a chat."""
    yield "self", p.ask("POST", "/chats/", {"second_user_id": 1}, user="anna")[0]
    yield "chat with bool", p.ask("POST", "/chats/", {"second_user_id": True}, user="anna")[0]
    yield "chat with nobody", p.ask("POST", "/chats/", {"second_user_id": 999}, user="anna")[0]
    yield "send NUL", p.ask("POST", "/messages/", {"chat_id": 1, "content": "a\0b"}, user="anna")[0]
    yield "health", p.ask("GET", "/health")[0]
    yield "number too large", p.ask("DELETE", "/messages/99999999999/delete", user="anna")[0]
    yield "list after delete", p.ask("GET", "/messages/?chat_id=1", user="anna")[0]
    yield "send blanks", p.ask("POST", "/messages/", {"chat_id": 1, "content": "  "}, user="anna")[0]
    yield "list after blanks", p.ask("GET", "/messages/?chat_id=1", user="anna")[0]
    time.sleep(QUIET)
    yield "token in the query", p.socket(path=f"/ws?token={p.users['carl']['access_token']}").shown()
    yield "refresh token", p.socket(token=p.users["carl"]["refresh_token"]).shown()
    for name, said in {
        "no object": "hello",
        "edit nothing": {"type": "edit_message", "message_id": 999, "chat_id": 1, "content": "x"},
        "edit another's": {"type": "edit_message", "message_id": 1, "chat_id": 1, "content": "x"},
        "content is a number": {"type": "message", "chat_id": 1, "content": 5},
    }.items():
        socket = p.socket("carl")
        greeting = socket.shown()
        socket.say(said)
        yield name, (greeting, socket.shown())
        socket.close()


def story(one, other, names):
    """Two users at two processes that share tables and Redis: nobody misses anything, and nothing comes twice."""
    anna, bob = names
    one.register(anna)
    other.users |= one.users
    other.register(bob)
    one.users |= other.users
    found = one.ask("GET", f"/chats/search?q={bob}", user=anna)[1][0]["id"]
    chat = one.ask("POST", "/chats/", {"second_user_id": found}, user=anna)[1]["id"]
    here, there = one.socket(anna), other.socket(bob)
    assert "connected" in here.shown() and "connected" in there.shown()
    for number in range(20):
        speaker = (here, there)[number % 2]
        speaker.say({"type": "message", "chat_id": chat, "content": f"n{number}"})
        for socket in (here, there):
            expect(socket.next(), f'"content":"n{number}"')
    # A Python process keeps what it has no socket for, some time after the socket here was sent it.
    time.sleep(QUIET)
    there.close()
    time.sleep(QUIET)
    for number in range(20, 30):
        here.say({"type": "message", "chat_id": chat, "content": f"n{number}"})
        expect(here.next(), f'"n{number}"')
    # Bob comes back at the other process.
    back = one.socket(bob)
    expect(back.next(), "connected")
    for number in range(20, 30):
        expect(back.next(), f'"n{number}"')
    assert back.silent() is None
    back.close()
    time.sleep(2 * QUIET)
    again = other.socket(bob)
    expect(again.next(), "connected")
    came = again.silent()
    assert came is None, f"comes twice: {came}"
    here.close()
    again.close()


def killed(options, database, redis):
    """What was confirmed before a kill is there after it, once."""
    with chatferry(options.binary, database, redis) as server:
        p = Player(server.base)
        for name in ("kim", "lee"):
            p.register(name)
        second = p.ask("GET", "/chats/search?q=lee", user="kim")[1][0]["id"]
        chat = p.ask("POST", "/chats/", {"second_user_id": second}, user="kim")[1]["id"]
        sent = [p.ask("POST", "/messages/", {"chat_id": chat, "content": f"k{n}"}, user="kim")[1]["id"] for n in range(50)]
        server.kill()
        users = p.users
    with chatferry(options.binary, database, redis) as server:
        p = Player(server.base)
        p.users = users
        lee = p.socket("lee")
        expect(lee.next(), "connected")
        for number in sent:
            expect(lee.next(), f'"id":{number},')
        assert lee.silent() is None
        lee.close()
        time.sleep(QUIET)
        lee = p.socket("lee")
        expect(lee.next(), "connected")
        assert lee.silent() is None, "comes twice"
        lee.close()


def compare(theirs, ours):
    """The number of answers that differ and should not, or should and do not."""
    wrong = 0
    for (name, their), (same, our) in zip(theirs, ours, strict=True):
        assert name == same
        if name not in DIFFERENT:
            is_well = their == our
        elif (wanted := DIFFERENT[name]) is None:
            is_well = their != our
        else:
            is_well = their != our and our[0] == wanted[0] and wanted[1] in (None, our[2])
        if not is_well:
            wrong += 1
            print(f"{name}\n  reference  {their}\n  Chatferry  {our}", flush=True)
    return wrong


def play(server):
    p = Player(server.base)
    return [entry for part in (rest, sockets, differences) for entry in part(p)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True, type=Path)
    parser.add_argument("--database", required=True)
    parser.add_argument("--redis", required=True)
    options = parser.parse_args()
    with databases(options.database, "messenger", 5) as (a, b, c, d, e):
        redis = [f"{options.redis}/{number}" for number in range(5)]
        with reference(a, redis[0]) as server:
            theirs = play(server)
        with chatferry(options.binary, b, redis[1]) as server:
            ours = play(server)
        wrong = compare(theirs, ours)
        print(f"{len(ours)} answers, {wrong} of them wrong, {len(DIFFERENT)} different on purpose", flush=True)
        with reference(c, redis[2]) as theirs, chatferry(options.binary, c, redis[2]) as ours:
            story(Player(theirs.base), Player(ours.base), ("ada", "ben"))
            story(Player(ours.base), Player(theirs.base), ("cyd", "dan"))
        print("a Python process and a Chatferry process: nothing missed, nothing twice", flush=True)
        with chatferry(options.binary, d, redis[3]) as one, chatferry(options.binary, d, redis[3]) as other:
            story(Player(one.base), Player(other.base), ("ada", "ben"))
        print("two Chatferry processes: nothing missed, nothing twice", flush=True)
        killed(options, e, redis[4])
        print("a process that was killed: nothing missed, nothing twice", flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
