"""Python's `websockets` and `httpx` against a running server: what Django's own neighbours would use.

BASE_URL   the server (default http://127.0.0.1:8000)
CLIENTS    how many talk at once (default 200)
SLOW=1     also run the slow-consumer check; the server must have been started with a small queue
           (CHATFERRY__WS__QUEUE_BYTES=65536)

Closes with `N passed, N failed`; exits non-zero on a failure.
"""

import asyncio
import itertools
import json
import os
import secrets
import sys
import time
import traceback
import uuid

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

BASE_URL = os.environ.get("BASE_URL", "http://127.0.0.1:8000").rstrip("/")
CLIENTS = int(os.environ.get("CLIENTS", "200"))
# Nothing is expected to take as long as these: they end a check that failed, on a machine that is busy.
LONGEST_S = 900
PATIENCE_S = 180
CHECKS = []
RUN, COUNTER = secrets.token_hex(3), itertools.count(1)


def check(sentence, enabled=True):
    """Registers a coroutine function as a check; the sentence says what holds when it returns."""

    def register(function):
        if enabled:
            CHECKS.append((sentence, function))
        return function

    return register


def person(name):
    """A name nobody else uses, so that runs against one server do not meet."""
    return f"{name}-{RUN}-{next(COUNTER)}"


async def new_conversation(rest):
    answer = await rest.post("conversations/", json={"participant1_id": person("python"), "participant2_id": person("python")})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def join(conversation, **options):
    """A connection whose first frame, the history, is still to be received."""
    address = BASE_URL.replace("http", "ws", 1) + f"/ws/chat/{conversation}/"
    # A client that gives up by itself would not hear why the server does.
    return connect(address, max_size=None, compression=None, open_timeout=PATIENCE_S, ping_interval=None, **options)


async def receive(socket, kind, longest_s=PATIENCE_S):
    frame = json.loads(await asyncio.wait_for(socket.recv(), longest_s))
    found = "error" if "error" in frame else frame["type"]
    assert found == kind, f"{found} instead of {kind}: {str(frame)[:200]}"
    return frame


def chat(content, sender="python", **more):
    return json.dumps({"type": "chat_message", "sender_id": sender, "content": content, **more})


async def messages(rest, conversation):
    return (await rest.get(f"conversations/{conversation}/messages/")).json()


async def metric(rest, name):
    """The value of a metric of the server; 0 while there is none."""
    lines = (await rest.get(f"{BASE_URL}/metrics")).text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0)


@check("a message makes the round trip and is the same on the socket, over REST and in the next history")
async def round_trip(rest):
    conversation = await new_conversation(rest)
    async with join(conversation) as socket:
        assert await receive(socket, "conversation_history") == {"type": "conversation_history", "messages": []}
        await socket.send(chat("안녕하세요 😀\u2028\x7f", message_type="image"))
        message = (await receive(socket, "chat_message"))["message"]
    assert message["content"] == "안녕하세요 😀\u2028\x7f" and message["message_type"] == "image"
    assert await messages(rest, conversation) == [message]
    async with join(conversation) as socket:
        assert (await receive(socket, "conversation_history"))["messages"] == [message]


@check("a history of many pages arrives as one message, is spelt like any other, and is the list over REST")
async def long_history(rest):
    conversation = await new_conversation(rest)
    contents = [f"{number} {'홍' * 50_000}" for number in range(12)]
    async with join(conversation) as socket:
        await receive(socket, "conversation_history")
        for content in contents:
            await socket.send(chat(content))
            await receive(socket, "chat_message")
    async with join(conversation) as socket:
        first = await socket.recv()
        assert first == json.dumps(json.loads(first))
        history = json.loads(first)["messages"]
        assert [message["content"] for message in history] == contents
        await socket.send(chat("after it"))
        await receive(socket, "chat_message")
    assert (await messages(rest, conversation))[:12] == history


@check("frames are spelt as Python's json.dumps spells them")
async def spelling(rest):
    async with join(await new_conversation(rest)) as socket:
        first = await socket.recv()
        assert first == json.dumps(json.loads(first))
        await socket.send(chat("é \"quoted\" \\ / 홍 😀 \x00 \x7f"))
        frame = await socket.recv()
        assert frame == json.dumps(json.loads(frame)) and "\\u00e9" in frame and "\\ud83d\\ude00" in frame and "\\u007f" in frame
        await socket.send('{"type": "typing", "user_id": [1.0, 1e22, {"ü": null}], "is_typing": "yes"}')
        assert await socket.recv() == '{"type": "typing_status", "user_id": [1.0, 1e+22, {"\\u00fc": null}], "is_typing": "yes"}'


@check("a read mark reaches everyone; the receipt is there over REST and keeps its time")
async def read_mark(rest):
    conversation = await new_conversation(rest)
    async with join(conversation) as one, join(conversation) as two:
        for socket in (one, two):
            await receive(socket, "conversation_history")
        await one.send(chat("read me"))
        message = (await receive(one, "chat_message"))["message"]
        await receive(two, "chat_message")
        await two.send(json.dumps({"type": "mark_as_read", "message_id": message["id"], "user_id": "reader"}))
        for socket in (one, two):
            assert await receive(socket, "message_read") == {"type": "message_read", "message_id": message["id"], "user_id": "reader"}
    receipts = [(await rest.put(f"messages/{message['id']}/read/", json={"user_id": "reader"})).json() for _ in range(2)]
    assert receipts[0] == receipts[1] and receipts[0]["status"] == "read", receipts


@check("bad frames are answered to the sender alone and cost nobody the connection")
async def bad_frames(rest):
    conversation = await new_conversation(rest)
    async with join(conversation) as one, join(conversation) as two:
        for socket in (one, two):
            await receive(socket, "conversation_history")
        for bad in ("", "{", "\ufeff{}", "{'type': 1}", chat(""), chat("x", sender="")):
            await one.send(bad)
            await receive(one, "error")
        await one.send(chat("after all that"))
        for socket in (one, two):
            assert (await receive(socket, "chat_message"))["message"]["content"] == "after all that"


@check("where Django crashes with 1011 an error comes and the socket stays open")
async def former_crashes(rest):
    async with join(await new_conversation(rest)) as socket:
        await receive(socket, "conversation_history")
        for bad in (b"\x00\xff", b"", "[]", "null", "1", "[" * 100_000, chat("x", sender="y" * 256), chat("x", message_type=None),
                    json.dumps({"type": "mark_as_read", "message_id": -1, "user_id": "a"}), '{"type": "typing", "user_id": "\\ud800"}',
                    '{"type": "typing", "user_id": 18446744073709551616}'):
            await socket.send(bad)
            await receive(socket, "error")
        await socket.send(chat("still here"))
        await receive(socket, "chat_message")


@check("fragments are put together, a ping between them is answered")
async def fragments(rest):
    async with join(await new_conversation(rest)) as socket:
        await receive(socket, "conversation_history")
        text = chat("fragment " * 500)

        async def parts():
            for start in range(0, len(text), 100):
                yield text[start : start + 100]

        pong = await socket.ping("payload")
        await socket.send(parts())
        await asyncio.wait_for(pong, PATIENCE_S)
        assert (await receive(socket, "chat_message"))["message"]["content"] == "fragment " * 500


@check("an unknown conversation is refused with 403, without a wait")
async def refused(_rest):
    quick = False
    while not quick:  # Daphne waits every time, a busy machine does not
        began = time.monotonic()
        try:
            async with join(uuid.uuid4()):
                raise AssertionError("was accepted")
        except InvalidStatus as refusal:
            assert refusal.response.status_code == 403
        quick = time.monotonic() - began < 0.5


@check("a close is answered with 1000 whatever code it has")
async def close_codes(rest):
    conversation = await new_conversation(rest)
    for code in (1000, 1001, 4321):
        async with join(conversation) as socket:
            await socket.close(code, "bye")
            assert socket.protocol.close_rcvd.code == 1000


@check("someone who joins during traffic misses nothing: what the history lacks comes live")
async def no_gap(rest):
    conversation, count = await new_conversation(rest), 300
    async with join(conversation) as writer:
        await receive(writer, "conversation_history")

        async def write():
            for number in range(count):
                await writer.send(chat(str(number)))
                await receive(writer, "chat_message")

        async def join_late(delay):
            await asyncio.sleep(delay)
            async with join(conversation) as socket:
                seen = {int(message["content"]) for message in (await receive(socket, "conversation_history"))["messages"]}
                while len(seen) < count:
                    seen.add(int((await receive(socket, "chat_message"))["message"]["content"]))
                return seen

        results = await asyncio.gather(write(), *(join_late(i / 50) for i in range(20)))
        assert all(seen == set(range(count)) for seen in results[1:])


@check(f"{CLIENTS} clients in {CLIENTS // 10} conversations talk at once; each hears everything of its own, in one order, and nothing else")
async def many(rest):
    rooms = [await new_conversation(rest) for _ in range(CLIENTS // 10)]
    ready = asyncio.Barrier(10 * len(rooms))

    async def client(room, number):
        async with join(room) as socket:
            await receive(socket, "conversation_history")
            await ready.wait()
            for turn in range(5):
                await socket.send(chat(f"{room} {number} {turn}"))
            return [(await receive(socket, "chat_message"))["message"]["content"] for _ in range(50)]

    heard = await asyncio.gather(*(client(room, number) for room in rooms for number in range(10)))
    for index, room in enumerate(rooms):
        first, *others = heard[index * 10 : index * 10 + 10]
        assert all(other == first for other in others), "the orders differ"
        assert sorted(first) == sorted(f"{room} {number} {turn}" for number in range(10) for turn in range(5))
        for number in range(10):
            own = [content for content in first if content.split()[1] == str(number)]
            assert own == sorted(own), "one client's messages changed their order"
        assert sorted(message["content"] for message in await messages(rest, room)) == sorted(first), "the store holds something else"


@check("the order heard live is the order the history has, also when many write into one conversation at once")
async def one_order(rest):
    conversation, writers, turns = await new_conversation(rest), 10, 20

    async def write(number):
        async with join(conversation) as socket:
            await receive(socket, "conversation_history")
            for turn in range(turns):
                await socket.send(chat(f"{number} {turn}"))
                await asyncio.sleep(0)
            await asyncio.sleep(1)

    async with join(conversation) as listener:
        await receive(listener, "conversation_history")
        writing = asyncio.gather(*(write(number) for number in range(writers)))
        heard = [(await receive(listener, "chat_message"))["message"] for _ in range(writers * turns)]
        await writing
    stored = await messages(rest, conversation)
    moved = sum(one["id"] != two["id"] for one, two in zip(heard, stored, strict=True))
    assert not moved, f"{moved} of {len(heard)} messages are in another place"


@check("many who leave without a word do not disturb the others")
async def churn(rest):
    conversation = await new_conversation(rest)
    async with join(conversation) as steady, join(conversation) as writer:
        for socket in (steady, writer):
            await receive(socket, "conversation_history")
        done = asyncio.Event()

        async def come_and_go():
            while not done.is_set():
                async with join(conversation) as socket:
                    await socket.recv()
                    socket.transport.abort()

        async def write():
            for number in range(200):
                await writer.send(chat(str(number)))
                await receive(writer, "chat_message")
            done.set()

        await asyncio.gather(write(), *(come_and_go() for _ in range(5)))
        heard = [(await receive(steady, "chat_message"))["message"]["content"] for _ in range(200)]
        assert heard == [str(number) for number in range(200)]


@check("who stops reading is closed with 1013; a neighbour hears everything", enabled=bool(os.environ.get("SLOW")))
async def slow_consumer(rest):
    conversation, text = await new_conversation(rest), "x" * 20_000
    async with join(conversation, max_queue=1) as slow, join(conversation) as quick:
        for socket in (slow, quick):
            await receive(socket, "conversation_history")
        slow.transport.pause_reading()
        said = 0
        # Until the kernel's buffers and the server's queue are full, however much they hold.
        while said % 50 or not await metric(rest, "chatferry_ws_dropped_events_total"):
            await quick.send(chat(text))
            await receive(quick, "chat_message")
            said += 1
        slow.transport.resume_reading()
        try:
            while True:
                await asyncio.wait_for(slow.recv(), PATIENCE_S)
        except ConnectionClosed as closed:
            assert closed.rcvd and closed.rcvd.code == 1013, f"closed with {closed.rcvd}"
    while not await metric(rest, 'chatferry_ws_closed_total{code="1013"}'):
        await asyncio.sleep(0.05)
    async with join(conversation) as again:
        assert len((await receive(again, "conversation_history"))["messages"]) == said


async def run_checks():
    passed = failed = 0
    async with httpx.AsyncClient(base_url=f"{BASE_URL}/api/chat/", timeout=PATIENCE_S) as rest:
        for sentence, function in CHECKS:
            try:
                await asyncio.wait_for(function(rest), LONGEST_S)
                passed += 1
                print(f"ok    {sentence}", flush=True)
            except Exception:
                failed += 1
                print(f"FAIL  {sentence}\n{traceback.format_exc()}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(run_checks()))
