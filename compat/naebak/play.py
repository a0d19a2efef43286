"""Plays every row of the contract against the reference and Chatferry, and compares; then both together, Chatferry with
itself, and the usual clients.

    python compat/naebak/play.py --binary target/release/chatferry --redis redis://… [--node node]
"""

import argparse
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import jwt
import redis
import socketio
from player import Player, normal
import systems  # noqa: I001
from systems import PATIENCE, QUIET, SECRET, compare, expect, free_port, running

HERE = Path(__file__).resolve().parent

#: Answers of ours that differ on purpose; each is a row of src/dialect/naebak/STATUS.md.
DIFFERENT = {
    "before join", "no object", "no data", "recipient is a number", "a long content", "another generation joins",
    "a method of its own", "a large payload", "binary event",
}  # fmt: skip


@contextlib.contextmanager
def reference(url):
    port = free_port()
    with running((sys.executable, "reference.py"), port, HERE, REDIS_URL=url, PORT=str(port)) as server:
        yield server


@contextlib.contextmanager
def chatferry(binary, url, **settings):
    with systems.chatferry(binary, "naebak", REDIS=url, **settings) as server:
        yield server


def web(p):
    """What is asked by HTTP."""
    for method, path in (
        ("GET", "/health"), ("HEAD", "/health"), ("OPTIONS", "/health"), ("POST", "/health"), ("DELETE", "/health"),
        ("GET", "/health/"), ("GET", "/nope"), ("POST", "/nope"), ("GET", "/"), ("GET", "/socket.io"),
    ):  # fmt: skip
        yield f"{method} {path}", p.ask(method, path)[0]
    page = {"Origin": "http://x.example"}
    yield "health for a page", p.ask("GET", "/health", headers=page)[0]
    for query in (
        "EIO=4&transport=polling&user_id=u1", "EIO=3&transport=polling&user_id=u1", "transport=polling", "EIO=4",
        "EIO=4&transport=junk", "EIO=4&transport=websocket", "EIO=4&transport=polling&sid=bogus", "EIO=3&transport=junk", "",
    ):  # fmt: skip
        yield f"open by {query}", p.ask("GET", f"/socket.io/?{query}")[0]
    yield "open for a page", p.ask("GET", "/socket.io/?EIO=4&transport=polling&user_id=u1", headers=page)[0]
    yield "open below", p.ask("GET", "/socket.io/x/?EIO=4&transport=polling&user_id=u1")[0]
    yield "post to nobody", p.ask("POST", "/socket.io/?EIO=4&transport=polling&sid=bogus", b"40")[0]
    yield "post without a session", p.ask("POST", "/socket.io/?EIO=4&transport=polling", b"40")[0]
    yield "preflight", p.ask("OPTIONS", "/socket.io/?EIO=4&transport=polling", headers=page)[0]
    yield "a method of its own", p.ask("DELETE", "/socket.io/?EIO=4&transport=polling")[0]


def polling(p):
    """A session by polling."""
    opened = json.loads(p.poll("user_id=pol")[1][1:])
    query = f"user_id=pol&sid={opened['sid']}"
    yield "connect", (p.poll(query, b"40")[0], p.poll(query)[0])
    yield "join", (p.poll(query, b'42["join_chat",{"chat_partner_id":"pol"}]')[0], p.poll(query)[0])
    both = b'42["typing_start",{"recipient_id":"pol"}]\x1e421["typing_stop",{"recipient_id":"pol"}]'
    posted, came = p.poll(query, both)[0], []
    while sum(part.count("4") > 0 for part in came) < 3 and len(came) < 4:
        came += p.poll(query)[1].split("\x1e")
        if len(came) >= 3:
            break
    yield "two packets in one payload", (posted, sorted(came))
    yield "garbage in a payload", p.poll(query, b"garbage")[0]
    yield "nothing in a payload", p.poll(query, b"")[0]
    yield "bytes in a payload", p.poll(query, b"\xff\xfe")[0]
    yield "many packets in a payload", p.poll(query, b"\x1e".join([b"3"] * 17))[0]
    yield "a pong", p.poll(query, b"3")[0]
    yield "closed", (p.poll(query, b"1")[0], p.poll(query)[0][0])
    opened = json.loads(p.poll("user_id=")[1][1:])
    query = f"sid={opened['sid']}"
    yield "nobody", (p.poll(query, b"40")[0], p.poll(query)[0])
    opened = json.loads(p.poll("user_id=big")[1][1:])
    yield "a large payload", big(p, opened["sid"])


def big(p, sid):
    try:
        return p.poll(f"sid={sid}", b"4" + b"x" * 1_000_001)[0]
    except OSError as error:
        return type(error).__name__


def sockets(p):
    """What is said on a WebSocket."""
    for name, query in {"nobody": "", "an empty name": "user_id="}.items():
        socket = p.socket(query)
        opened = socket.shown()
        socket.say("40")
        yield f"socket of {name}", (opened, socket.shown())
        socket.close()
    socket = p.socket("user_id=alice")
    yield "opened", socket.shown()
    socket.event("send_message", {"recipient_id": "bob", "content": "early"})
    yield "an event before the connect", socket.silent()
    socket.say("40/chat,")
    yield "another namespace", socket.shown()
    socket.say('40{"token":"x"}')
    yield "connected", socket.shown()
    socket.event("send_message", {"recipient_id": "bob", "content": "hi"})
    yield "before join", socket.silent()
    socket.event("join_chat", {"chat_partner_id": "bob"})
    yield "join", socket.shown()
    for name, data in {
        "no partner": {}, "an empty partner": {"chat_partner_id": ""}, "a partner of null": {"chat_partner_id": None},
        "another generation joins": {"chat_id": 5},
    }.items():  # fmt: skip
        socket.event("join_chat", data)
        yield name, socket.silent()
    errors = {
        "no content": {"recipient_id": "bob"}, "no recipient": {"content": "x"}, "empty content": {"recipient_id": "bob", "content": ""},
        "content of zero": {"recipient_id": "bob", "content": 0}, "content of nothing": {"recipient_id": "bob", "content": []},
        "recipient of null": {"recipient_id": None, "content": "x"}, "nothing": {},
    }  # fmt: skip
    for name, data in errors.items():
        socket.event("send_message", data)
        yield name, socket.shown()
    for name, content in {
        "text": "after join", "unicode": "مرحبا 👋\u2028\u007f<", "a number": 7, "a float": 1.5, "an object": {"a": [1, None]},
        "two thousand": "й" * 2000,
    }.items():  # fmt: skip
        socket.event("send_message", {"recipient_id": "bob", "content": content})
        yield f"content: {name}", socket.shown()
    socket.event("send_message", {"recipient_id": "bob", "content": "with ack"}, ack="7")
    yield "acknowledged", sorted([socket.shown(), socket.shown()])
    socket.event("send_message", {"recipient_id": "bob"}, ack="8")
    yield "acknowledged though refused", sorted([socket.shown(), socket.shown()])
    for name, said in {
        "unknown": '42["unknown_event",{}]', "unknown with ack": '428["unknown_event",{}]', "no name": "42[]", "a number for a name": "42[5]",
        "no list": '42{"a":1}', "an answer": "437[]", "a pong": "3", "a probe": "2probe", "a noop": "6", "an error": "44x",
        "of another namespace": '42/chat,["join_chat",{"chat_partner_id":"bob"}]', "a second connect's junk": "40x",
    }.items():  # fmt: skip
        socket.say(said)
        yield f"said: {name}", socket.silent()
    for name, said in {
        "no object": '42["send_message","not a dict"]', "no data": '42["send_message"]',
        "recipient is a number": '42["send_message",{"recipient_id":5,"content":"x"}]',
        "a long content": json.dumps(["send_message", {"recipient_id": "bob", "content": "x" * 2001}]),
    }.items():  # fmt: skip
        socket.say(said if said.startswith("42") else f"42{said}")
        yield name, socket.shown(QUIET)
    socket.say('451-["send_message",{"recipient_id":"bob","content":{"_placeholder":true,"num":0}}]')
    socket.say(b"\x01\x02")
    yield "binary event", socket.silent()
    socket.close()
    socket = p.joined("alice")
    socket.event("typing_start", {"recipient_id": "alice"})
    socket.event("join_chat", {"chat_partner_id": "alice"})
    while (frame := socket.silent()) is not None and "previous" not in frame:
        pass
    socket.event("typing_stop", {"recipient_id": "alice"})
    yield "typing to oneself", socket.shown()
    socket.say("41")
    socket.event("typing_stop", {"recipient_id": "alice"})
    yield "after leaving", socket.silent()
    socket.say("garbage")
    yield "garbage", socket.shown()
    socket = p.joined("alice")
    socket.say("1")
    yield "closed by the client", socket.shown() in (1005, 1006)
    socket = p.socket("user_id=alice")
    socket.next()
    socket.say("4" + "x" * 1_000_001)
    yield "a large frame", socket.shown()
    for query in ("EIO=4&transport=websocket&sid=bogus", "EIO=3&transport=websocket"):
        yield f"socket by {query}", p.socket_by(query).shown()
    ann, ben = p.joined("ann"), p.joined("ben")
    ben.event("join_chat", {"chat_partner_id": "ann"})
    yield "two: nothing so far", ben.shown()
    ann.event("send_message", {"recipient_id": "ben", "content": "مرحبا"})
    yield "two: a message", ben.shown()
    ann.event("typing_start", {"recipient_id": "ben"})
    yield "two: typing", ben.shown()
    ann.event("typing_stop", {"recipient_id": "ben"})
    yield "two: typing no more", ben.shown()
    second = p.joined("ben")
    second.event("join_chat", {"chat_partner_id": "ann"})
    yield "two: so far", second.shown()
    ann.event("send_message", {"recipient_id": "ben", "content": "to both"})
    yield "two: on each socket", (ben.shown(), second.shown())
    for socket in (ann, ben, second):
        socket.close()


def upgrade(p):
    """From polling to a WebSocket."""
    sid = json.loads(p.poll("user_id=upg")[1][1:])["sid"]
    yield "connect", (p.poll(f"sid={sid}", b"40")[0], p.poll(f"sid={sid}")[0])
    socket = p.socket(f"sid={sid}")
    socket.say("2probe")
    yield "probed", socket.shown()
    yield "polling meanwhile", p.poll(f"sid={sid}")[0]
    socket.say("5")
    socket.event("join_chat", {"chat_partner_id": "x"})
    yield "upgraded", socket.shown()
    yield "polling afterwards", p.poll(f"sid={sid}")[0]
    socket.close()


def story(one, other):
    """Two users at two processes on one Redis."""
    ann, ben = one.joined("ann"), other.joined("ben")
    for socket, partner in ((ann, "ben"), (ben, "ann")):
        socket.event("join_chat", {"chat_partner_id": partner})
        expect(socket.next(), '"messages":[]')
    time.sleep(QUIET)
    for number in range(20):
        speaker, hearer = ((ann, "ben"), (ben, "ann"))[number % 2]
        speaker.event("send_message", {"recipient_id": hearer, "content": f"n{number}"})
        got = sorted([ann.next(), ben.next()])
        expect(got[0], "message_sent")
        expect(got[1], f'"content":"n{number}"')
    ben.close()
    time.sleep(QUIET)
    for number in range(20, 25):
        ann.event("send_message", {"recipient_id": "ben", "content": f"n{number}"})
        expect(ann.next(), "message_sent")
    ben = one.joined("ben")
    ben.event("join_chat", {"chat_partner_id": "ann"})
    kept = json.loads(ben.next()[2:])[1]["messages"]
    assert [message["content"] for message in kept] == [f"n{number}" for number in range(25)], kept
    for socket in (ann, ben):
        socket.close()


def tokens(options, url):
    """A token is needed, and says who it is; the usual clients bring it along."""
    signed = jwt.encode({"user_id": "ann", "exp": int(time.time()) + 600}, SECRET, "HS256")
    other = jwt.encode({"user_id": "ann", "exp": int(time.time()) + 600}, SECRET[::-1], "HS256")
    with chatferry(options.binary, url) as server:
        p = Player(server.base)
        for query, auth, is_let_in in (
            ("", {"token": signed}, True), ("user_id=ann", {"token": signed}, True), (f"token={signed}", None, True),
            ("user_id=ann", None, False), ("user_id=ben", {"token": signed}, False), ("", {"token": other}, False), ("", {"token": 5}, False),
        ):  # fmt: skip
            socket = p.socket(query)
            socket.next()
            socket.say("40" + (json.dumps(auth) if auth else ""))
            expect(socket.next(), '40{"sid"' if is_let_in else "44{")
            socket.close()
        for transports in (["polling"], ["websocket"], ["polling", "websocket"]):
            python_client(server.base, signed, transports)
            if options.node:
                mode = ",".join(transports)
                subprocess.run((options.node, "client.js", server.base, signed, mode), cwd=HERE, check=True, timeout=4 * PATIENCE)


def python_client(base, token, transports):
    with socketio.SimpleClient() as client:
        client.connect(base, auth={"token": token}, transports=transports)
        client.emit("join_chat", {"chat_partner_id": "ann"})
        assert client.receive(PATIENCE)[0] == "previous_messages"
        assert client.call("send_message", {"recipient_id": "ann", "content": "héllo"}, timeout=PATIENCE) in ([], None, ())
        got = sorted(client.receive(PATIENCE)[0] for _ in range(2))
        assert got == ["message_sent", "receive_message"], got


def lists(url):
    with redis.from_url(url, decode_responses=True) as db:
        return {name: [normal(entry) for entry in db.lrange(name, 0, -1)] for name in db.keys("chat:*")}


def play(server):
    p = Player(server.base)
    return [(f"{part.__name__}: {name}", answer) for part in (web, polling, sockets, upgrade) for name, answer in part(p)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True, type=Path)
    parser.add_argument("--redis", required=True)
    parser.add_argument("--node")
    options = parser.parse_args()
    urls = [f"{options.redis}/{number}" for number in range(5)]
    for url in urls:
        with redis.from_url(url) as db:
            db.flushdb()
    with reference(urls[0]) as server:
        theirs = play(server)
    with chatferry(options.binary, urls[1], TRUST_USER_ID="true") as server:
        ours = play(server)
    wrong = compare(theirs, ours, DIFFERENT)
    print(f"{len(ours)} answers, {wrong} of them wrong, {len(DIFFERENT)} different on purpose", flush=True)
    one, other = lists(urls[0]), lists(urls[1])
    same = [name for name in one if one[name] == other.get(name)]
    assert {"chat:ann_ben"} <= set(same), (one, other)
    print(f"lists in Redis: {len(same)} of {len(one)} equal", flush=True)
    with reference(urls[2]) as theirs, chatferry(options.binary, urls[2], TRUST_USER_ID="true") as ours:
        story(Player(theirs.base), Player(ours.base))
    with chatferry(options.binary, urls[3], TRUST_USER_ID="true") as one:
        with chatferry(options.binary, urls[3], TRUST_USER_ID="true") as other:
            story(Player(one.base), Player(other.base))
    print("a Python and a Chatferry process, and two of Chatferry: nothing missed", flush=True)
    tokens(options, urls[4])
    print("tokens, and the usual clients by polling, by WebSocket and with the upgrade", flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
