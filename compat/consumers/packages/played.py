"""What is played for each package. Each returns what was seen."""

import asyncio
import json
import re
from urllib.parse import quote

from http_client import ask

PLAYED = {}

USERS = {"alice": "00000000-0000-0000-0000-000000000001", "bob": "00000000-0000-0000-0000-000000000002"}


def played(function):
    PLAYED[function.__name__] = function
    return function


def cookie(name):
    return [("cookie", f"sessionid={name * 4}")]


async def say(socket, *messages):
    await socket.send(*map(json.dumps, messages))


async def hear(socket, count=1):
    """The next messages, in JSON where they are."""
    return [json.loads(text) if text.startswith("{") else text for text in await socket.read(count)]


def in_any_order(messages):
    """Messages of several senders."""
    return sorted(messages, key=lambda it: json.dumps(it, sort_keys=True))


@played
async def tutorial(player):
    seen = []
    for path, group in (("/ws/chat/lobby/", "chat_lobby"), ("/ws/sync-chat/hall/", "chat_hall")):
        one, two = await player.open(path), await player.open(path)
        for number in range(10):
            await say(one, {"message": f"{number} 안녕"})
        seen += [await hear(one, 10), await hear(two, 10)]
        await player.rest(2)
        await player.layer.group_send(group, {"type": "chat.message", "message": "from a view"})
        seen += [await hear(one), await hear(two)]
        await say(two, {"message": "last"})
        seen += [await hear(one), await hear(two), await two.close()]
        await one.send("no json")
        seen += [await one.all()]
        # After an exception nobody takes the socket out of its group.
    return seen


@played
async def rest_framework(player):
    one, two = await player.open("/ws/notes/"), await player.open("/ws/notes/")
    seen = []

    async def act(socket, action, count=1, **more):
        await say(socket, {"action": action, "request_id": action, **more})
        seen.append([action, in_any_order(await hear(socket, count))])

    await act(one, "subscribe_to_notes")
    await act(one, "create", 2, data={"title": "first"})
    await act(two, "list")
    await act(two, "subscribe_instance", pk=1)
    await act(one, "patch", 2, pk=1, data={"title": "second"})
    seen.append(await hear(two))
    await act(one, "patch", pk=1, data={"title": "x" * 51})
    await act(two, "patch", pk=7, data={})
    await act(two, "count")
    await say(two, {"action": "later", "request_id": 5, "text": "a"}, {"action": "count", "request_id": 6})
    seen.append(await hear(two, 2))
    await act(one, "unsubscribe_from_notes")
    await act(one, "delete", pk=1)
    seen.append(await hear(two))
    await act(two, "nothing")
    await say(two, {"request_id": 9})
    seen += [await hear(two), await two.close(4000)]
    await say(one, {"action": "fail", "request_id": 8})
    seen.append(await one.all())
    stranger = await player.open("/ws/private/")
    known = await player.open("/ws/private/", headers=cookie("alice"))
    await act(stranger, "who")
    await act(known, "who")
    plain = {"action": "update", "request_id": 1, "query": {"a": ["1", "2"]}, "parameters": {"b": "3"}}
    return [*seen, await player.talk("/ws/plain/", json.dumps(plain))]


@played
async def private_chat(player):
    alice, bob = [await player.open("/chat_ws", headers=cookie(name)) for name in USERS]
    to_bob, to_alice = USERS["bob"], USERS["alice"]
    seen = [await player.talk("/chat_ws", count=1)]
    await say(alice, {"msg_type": 3, "text": "hello", "user_pk": to_bob, "random_id": -1})
    seen += [await hear(alice), in_any_order(await hear(bob, 3))]
    await player.rest(2)
    await say(bob, {"msg_type": 3, "text": "안녕", "user_pk": to_alice, "random_id": -2})
    seen += [await hear(bob), in_any_order(await hear(alice, 3))]
    await say(bob, {"msg_type": 5})
    seen += [await hear(alice)]
    await say(alice, {"msg_type": 6, "user_pk": to_bob, "message_id": 2})
    seen += [in_any_order(await hear(bob)), in_any_order(await hear(alice))]
    for wrong in ({}, {"msg_type": "3"}, {"msg_type": 99}, {"msg_type": 3, "text": ""}, {"msg_type": 3, "text": "a"}):
        await say(alice, wrong)
        seen += [await hear(alice)]
    await alice.send("no json")
    seen += [await hear(alice), await bob.close(), await hear(alice)]
    # A group that no name may have ends the socket.
    await say(alice, {"msg_type": 3, "text": "a", "user_pk": "no such user", "random_id": -3})
    seen += [await alice.all()]
    for path in (f"/chat/messages/{to_bob}/", "/chat/dialogs/"):
        answer = await ask(player.address, "GET", path, headers=cookie("alice"))
        seen += [answer["status"], re.sub(r"\b1[0-9]{9}\b", "a time", answer["body"])]
    return seen


def said(room):
    return {"query": f'subscription {{ said(room: "{room}") }}'}


@played
async def graphql(player):
    seen = []
    for protocol, begin, data in (("graphql-transport-ws", "subscribe", "next"), ("graphql-ws", "start", "data")):
        room, is_new = protocol.replace("-", "_"), begin == "subscribe"
        one, two = [await player.open("/graphql", subprotocols=[protocol, "other"]) for _ in range(2)]
        for socket in (one, two):
            await say(socket, {"type": "connection_init"})
            seen += [socket.subprotocol, await hear(socket)]
            await say(socket, {"id": "s", "type": begin, "payload": said(room)})
            seen += await hear(socket)
        await say(one, {"id": "c", "type": begin, "payload": {"query": "subscription { count(to: 3) }"}})
        seen += [await hear(one, 4)]
        mutation = {"query": f'mutation {{ say(room: "{room}", text: "안녕") }}'}
        await say(one, {"id": "m", "type": begin, "payload": mutation})
        # The older protocol allows none.
        seen += [in_any_order(await hear(one, 3 if is_new else 1)), await hear(two, 1 if is_new else 0)]
        answer = await ask(
            player.address,
            "POST",
            "/graphql",
            headers=[("content-type", "application/json")],
            body=json.dumps({"query": f'mutation {{ say(room: "{room}", text: "by http") }}'}).encode(),
        )
        seen += [answer, await hear(one), await hear(two)]
        await say(one, {"id": "s", "type": "complete" if is_new else "stop"})
        await say(one, {"id": "w", "type": begin, "payload": {"query": "{ nothing }"}})
        seen += [in_any_order(await hear(one, 1 if is_new else 2)), await one.close()]
        await two.send("no json")
        seen += [await two.all() if is_new else [await two.close()]]
    seen += [await player.talk("/graphql", subprotocols=["other"], count=1), await player.talk("/graphql", count=1)]
    query = quote('{ hello(name: "a") }')
    return [*seen, await ask(player.address, "GET", f"/graphql?query={query}", headers=[("accept", "application/json")])]


@played
async def presence(player):
    seen = []
    alice = await player.open("/ws/presence/hall/", headers=cookie("alice"))
    seen += await hear(alice)
    strangers = []
    for _ in range(2):
        strangers.append(await player.open("/ws/presence/hall/"))
        seen += [await hear(socket) for socket in (alice, *strangers)]
    await strangers[0].send("hello")
    seen += [await hear(socket) for socket in (alice, *strangers)]
    await player.rest(3)
    await alice.send('"heartbeat"', "after")
    seen += [await hear(socket) for socket in (alice, *strangers)]
    seen += [await strangers[0].close(), await hear(alice), await hear(strangers[1])]
    await strangers[1].drop()
    return [*seen, await hear(alice), await alice.close()]


def without_times(messages):
    text = json.dumps(messages)
    text = re.sub(r'"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)"', '"a time"', text)
    return re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "an id", text)


@played
async def notifications(player):
    alice, tab = [await player.open("/ws/notification/", headers=cookie("alice")) for _ in range(2)]
    bob = await player.open("/ws/notification/", headers=cookie("bob"))
    seen = [await player.talk("/ws/notification/", count=1)]

    async def notify(name, text):
        return (await ask(player.address, "GET", f"/notify/{name}/?text={text}"))["body"]

    seen += [await notify("alice", "one"), await hear(alice), await hear(tab), await notify("bob", "two"), await hear(bob)]
    [[told]] = [message for message in seen if isinstance(message, list) and "notification_count" in message[0]][:1]
    await player.rest(3)
    await say(tab, {"type": "notification", "notification_id": told["notification"]["id"]})
    seen += [await hear(alice), await hear(tab)]
    # A storm: the consumer counts in its scope.
    for number in range(9):
        seen += [await notify("alice", f"storm{number}"), await hear(alice), await hear(tab)]
    await alice.send("no json")
    await say(alice, {"type": "notification"}, {"other": 1})
    return without_times([*seen, await alice.close(), await tab.close(4001), await bob.close()])


@played
async def live_view(player):
    sockets = [await player.open("/ws/live/", headers=cookie("alice")), await player.open("/ws/live/")]
    seen = []
    for socket in sockets:
        seen += await hear(socket)
        await say(socket, {"type": "mount", "view": "project.live.Counter", "params": {}, "url": "/live/"})
        seen += await hear(socket)
    for number in range(5):
        for socket in sockets:
            await say(socket, {"type": "event", "event": "add", "params": {"by": number}})
            seen += await hear(socket)
    await say(sockets[0], {"type": "event", "event": "nothing", "params": {}}, {"type": "ping"}, {"type": "unknown"})
    seen += await hear(sockets[0], 3)
    await sockets[1].send("no json")
    seen += [await hear(sockets[1]), await sockets[0].close(), await sockets[1].close(4001)]
    page = await ask(player.address, "GET", "/live/", headers=cookie("bob"))
    return [without_times(without_timing(seen)), page["status"], 'id="who">bob' in page["body"]]


def without_timing(messages):
    """Without what djust measures."""
    return [
        {key: value for key, value in it.items() if key not in ("timing", "performance")} if isinstance(it, dict) else it
        for it in messages
    ]
