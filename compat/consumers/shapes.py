"""What is played for each shape of a consumer. Each returns what was seen."""

import asyncio
import json

SHAPES = {}


def shape(function):
    SHAPES[function.__name__] = function
    return function


@shape
async def echo(player):
    return await player.talk("/ws/echo/", "a", "안녕", "", "b" * 60_000, "c", count=4)


@shape
async def sync_echo(player):
    return await player.talk("/ws/sync-echo/", "a", "안녕", b"\x00\xff", "c")


@shape
async def many_frames_in_order(player):
    numbers = [str(number) for number in range(300)]
    return [await player.talk(path, *numbers) for path in ("/ws/echo/", "/ws/sync-echo/")]


@shape
async def json_and_a_missing_key(player):
    seen = []
    for path in ("/ws/json/", "/ws/sync-json/"):
        seen.append(await player.talk(path, '{"message": 1, "x": [null]}'))
        for wrong in ('{"other": 1}', "no json", b"bytes", "[1]"):
            seen.append(await player.talk(path, '{"message": 1}', wrong))
    return seen


@shape
async def scope(player):
    headers = [("x-b", "1"), ("x-a", "2"), ("x-b", "3"), ("cookie", "one=1; two=2")]
    seen = []
    for path in ("/ws/scope/", "/ws/scope/?a=%20&b=%ED%99%8D&c"):
        (text, end) = await player.talk(path, headers=headers, count=1)
        seen += [json.loads(text), end]
    return seen


@shape
async def arguments_of_the_path(player):
    id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
    return [
        await player.talk(f"/ws/kwargs/7/{id}/a-slug/", count=1),
        await player.talk(f"/ws/kwargs/x/{id}/a-slug/", count=1),
        await player.talk("/ws/initkwargs/", "you"),
    ]


@shape
async def no_such_path(player):
    return await player.talk("/ws/nothing/")


@shape
async def origins(player):
    return [
        await player.talk("/ws/echo/", "a", headers=[("origin", origin)]) for origin in ("http://example.com", "null")
    ]


@shape
async def close_codes(player):
    seen = []
    for wanted in ({}, {"code": 4000, "send_first": 1}, {"code": 1000}, {"code": 4999}, {"code": 3000}):
        seen.append(await player.talk("/ws/close/", json.dumps(wanted), count=3))
    for wrong in (1001, 999, 5000, "4000"):
        seen.append(await player.talk("/ws/close/", json.dumps({"code": wrong}), count=3))
    return seen


@shape
async def denied(player):
    seen = [await player.talk(f"/ws/deny/{how}/", "a") for how in ("deny", "close", "accept")]
    return [*seen, sorted(json.loads(await player.notes("denied", 3)))]


@shape
async def exceptions(player):
    seen = [await player.talk("/ws/raise/connect/", "a"), await player.talk("/ws/raise/accepted/", count=2)]
    socket = await player.open("/ws/raise/receive/")
    await socket.send("a", "b")
    seen.append(await socket.all())
    return [*seen, await player.notes("raised", 0)]


@shape
async def subprotocols(player):
    seen = []
    for which, offered in (("a", ["a", "b"]), ("b", ["a", "b"]), ("none", ["a"]), ("none", None)):
        socket = await player.open(f"/ws/subprotocol/{which}/", subprotocols=offered)
        if isinstance(socket, str):
            seen.append(socket)
        else:
            seen.append([socket.subprotocol, await socket.read(), await socket.close()])
    return seen


@shape
async def binary(player):
    return await player.talk("/ws/binary/", b"\x00\x01\xff", "text", b"x" * 60_000, count=3)


@shape
async def much_at_once(player):
    return await player.talk("/ws/talkative/", count=20)


@shape
async def strange_messages(player):
    seen = [await player.talk(f"/ws/strange/{what}/", count=2) for what in ("early", "twice", "code", "both")]
    seen.append(await player.talk("/ws/strange/unknown/", "a", count=2))
    seen.append(await player.talk("/ws/strange/none/", "nothing", count=2))
    return seen


@shape
async def disconnect_codes(player):
    async def leave(key, how):
        socket = await player.open(f"/ws/goodbye/{key}/")
        return [await how(socket), await player.notes(key, 1)]

    async def coded(socket):
        return await socket.close(4001)

    async def by_server(socket):
        await socket.send("4002")
        return await socket.end()

    return [
        await leave("normal", lambda socket: socket.close()),
        await leave("coded", coded),
        await leave("without", lambda socket: socket.close_without_code()),
        await leave("dropped", lambda socket: socket.drop()),
        await leave("server", by_server),
    ]


@shape
async def frames_before_a_close_are_heard(player):
    socket = await player.open("/ws/goodbye/heard/")
    await socket.send("slow", "a", "b")
    await socket.close()
    return await player.notes("heard", 4)


@shape
async def a_task_of_its_own(player):
    return await player.talk("/ws/task/", count=3)


@shape
async def the_base_classes(player):
    seen = [await player.talk(path, "a", b"b") for path in ("/ws/raw/", "/ws/sync-raw/")]
    return [*seen, await player.notes("raw", 1)]


@shape
async def a_call_of_its_own(player):
    return await player.talk("/ws/own-call/", "a")


@shape
async def a_function(player):
    return [await player.talk("/ws/function/", "a", "b"), await player.notes("function", 1)]


@shape
async def database(player):
    return [await player.talk(path, "a", "b") for path in ("/ws/database/", "/ws/sync-database/")]


@shape
async def session_and_state(player):
    return await player.talk("/ws/session/", "1", "2", "3")


@shape
async def variables_of_the_context(player):
    paths = ("/ws/in-context/", "/ws/sync-in-context/")
    return [await player.talk(path, "a", "b", "c") for path in paths for _ in range(2)]


@shape
async def a_layer_that_was_asked_for_early(player):
    return await player.talk("/ws/early/", "a", "b")


@shape
async def middleware(player):
    return [
        await player.talk("/ws/shouting/", "aä"),
        await player.talk("/ws/listening/", "abc"),
        await player.talk("/ws/counting/", "a"),
        await player.notes("counted", 1),
        await player.talk("/ws/token/?token=alice", count=1),
        await player.talk("/ws/token/", count=1),
    ]


async def chat(player, path, group):
    one, two = await player.open(path), await player.open(path)
    seen = [await player.members(group)]
    for number in range(20):
        await one.send(json.dumps({"message": f"one {number}"}))
    seen += [await one.read(20), await two.read(20)]
    await two.send(json.dumps({"message": "two"}))
    seen += [await one.read(), await two.read()]
    await player.layer.group_send(group, {"type": "chat.message", "message": {"from": "another process"}})
    seen += [await one.read(), await two.read(), await two.close()]
    await one.send(json.dumps({"message": "alone"}))
    seen += [await one.read(), await one.close()]
    await player.until_no_members(group)
    await player.layer.group_send(group, {"type": "chat.message", "message": "nobody"})
    return seen


@shape
async def room(player):
    return await chat(player, "/ws/room/lobby/", "chat_lobby")


@shape
async def sync_room(player):
    return await chat(player, "/ws/sync-room/sync/", "chat_sync")


@shape
async def room_with_middleware_that_sends(player):
    return await chat(player, "/ws/shouted-room/loud/", "chat_loud")


@shape
async def rooms_of_two_classes(player):
    paths = ("/ws/room/mixed/", "/ws/sync-room/mixed/", "/ws/shouted-room/mixed/")
    sockets = [await player.open(path) for path in paths]
    await sockets[0].send(json.dumps({"message": "a"}))
    return [await socket.read() for socket in sockets]


@shape
async def all_but_the_sender(player):
    refused = await player.talk("/ws/others/no%20group/")
    path = "/ws/others/plain/"
    one, two, three = [await player.open(path) for _ in range(3)]
    await one.send('"a"')
    await two.send('"b"')
    seen = [await three.read(2), await one.read(), await two.read()]
    return [refused, [sorted(seen[0]), *seen[1:]]]


@shape
async def several_groups(player):
    one, two = await player.open("/ws/query/?red&blue"), await player.open("/ws/query/?blue")
    seen = []
    for content in ({"to": "red", "leave": False}, {"to": "blue", "leave": False}, {"to": "red", "leave": True}):
        await one.send(json.dumps(content))
        seen.append(sorted(await one.read(1 if content["leave"] else 2)))
    return [*seen, await two.read(), [await player.members(group) for group in ("red", "blue")]]


@shape
async def groups_of_the_class(player):
    one, two = await player.open("/ws/groups/"), await player.open("/ws/groups/")
    members = [await player.members(group) for group in ("everybody", "staff")]
    await one.send("1")
    seen = [members, await one.read(), await two.read()]
    await one.send('"wrong"')
    seen += [await one.all(), await two.all()]
    await player.talk("/ws/groups/")
    return seen


@shape
async def presence(player):
    one = await player.open("/ws/presence/?one")
    seen = [await one.read()]
    two = await player.open("/ws/presence/?two")
    seen += [await one.read(), await two.read(), await two.close(), await one.read(), await one.close()]
    await player.until_no_members("presence")
    return seen


@shape
async def history(player):
    one = await player.open("/ws/history/")
    seen = [await one.read()]
    await one.send('"a"', '"b"')
    seen.append(await one.read(2))
    return [*seen, await player.talk("/ws/history/", count=1)]


@shape
async def direct_sends(player):
    one, two = await player.open("/ws/direct/"), await player.open("/ws/direct/")
    [mine], [other] = await one.read(), await two.read()
    other = json.loads(other)["me"]
    await one.send(json.dumps({"text": "to me"}), json.dumps({"to": other, "text": "to you"}))
    seen = [await one.read(), await two.read()]
    await player.layer.send(other, {"type": "direct", "text": "from another process"})
    seen.append(await two.read())
    own = await player.layer.new_channel()
    await one.send(json.dumps({"to": own, "text": "to another process"}))
    seen.append((await player.layer.receive(own))["text"])
    await player.layer.group_add("kept", other)
    await player.layer.group_send("kept", {"type": "direct", "text": "by a kept name"})
    seen.append(await two.read())
    await player.layer.group_discard("kept", other)
    await one.send(json.dumps({"to": "specific.nobody!x", "text": "to nobody"}), json.dumps({"text": "still here"}))
    seen.append(await one.read())
    await one.send(json.dumps({"to": "no name!!", "text": "x"}))
    return [*seen, await one.all()]


@shape
async def channels_of_its_own(player):
    return await player.talk("/ws/ask/", "1", "5")


@shape
async def from_a_thread(player):
    one, two = await player.open("/ws/thread/a/"), await player.open("/ws/thread/a/")
    await one.send("1")
    return [await one.read(), await two.read()]


@shape
async def other_layers(player):
    # One group by its name, and three layers.
    layers = [[await player.open(f"/ws/{layer}/") for _ in range(2)] for layer in ("other-layer", "their-layer", "same-group")]
    for number, (one, _) in enumerate(layers):
        await one.send(str(number), f'"more {number}"')
    return [await socket.read(2) for layer in layers for socket in layer]


@shape
async def many_events_in_order(player):
    sockets = [await player.open("/ws/burst/a/") for _ in range(5)]
    await sockets[0].send("60")
    return [await socket.read(60) for socket in sockets]


@shape
async def a_crowd(player):
    """Every member hears all of everybody, and each sender in its order."""
    sockets = [await player.open("/ws/room/crowd/") for _ in range(20)]
    for number in range(5):
        await asyncio.gather(
            *(
                socket.send(json.dumps({"message": [place, number]}))
                for place, socket in enumerate(sockets)
            )
        )
    seen = set()
    for socket in sockets:
        heard = [tuple(json.loads(text)["message"]) for text in await socket.read(100)]
        by_sender = {place: [number for of, number in heard if of == place] for place in range(20)}
        seen.add(json.dumps(by_sender))
    return sorted(seen)
