"""Every frame of `chatferry.v1`, sent and received once, is as the AsyncAPI document of the server says.

BASE_URL   the server
"""

import asyncio
import json
import os
import urllib.request
import uuid

import jsonschema_rs
from websockets.asyncio.client import connect

BASE_URL = os.environ["BASE_URL"].rstrip("/")
# Ends a run in which a frame does not come.
PATIENCE_S = 120


def document():
    with urllib.request.urlopen(f"{BASE_URL}/asyncapi.json") as answer:
        return json.load(answer)


class Frames:
    """What the document says of each frame, and which have been met."""

    def __init__(self, document):
        self.address = document["channels"]["socket"]["address"]
        components = document["components"]
        self.validators = {
            name: jsonschema_rs.Draft202012Validator({**message["payload"], "components": {"schemas": components["schemas"]}})
            for name, message in components["messages"].items()
        }
        self.met = set()

    def check(self, side, frame):
        name = f"{side}_{frame['type']}"
        assert name in self.validators, f"the document has no {name}"
        if error := next(self.validators[name].iter_errors(frame), None):
            raise AssertionError(f"{frame} is no {name}: {error}")
        self.met.add(name)


class Client:
    def __init__(self, frames, socket):
        self.frames, self.socket = frames, socket

    async def send(self, **frame):
        self.frames.check("client", frame)
        await self.socket.send(json.dumps(frame))

    async def next(self, kind):
        """The next frame of a type; every one on the way is checked."""
        while True:
            frame = json.loads(await self.socket.recv())
            self.frames.check("server", frame)
            if frame["type"] == kind:
                return frame

    async def ask(self, answer, /, **frame):
        await self.send(**frame)
        return await self.next(answer)


def conversation_of(one, two):
    pair = json.dumps({"participant1_id": one, "participant2_id": two}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{BASE_URL}/api/chat/conversations/", pair, headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["id"]


async def talk(frames):
    run = uuid.uuid4().hex[:6]
    ann, ben = f"ann-{run}", f"ben-{run}"
    of = {"conversation": conversation_of(ann, ben)}
    address = BASE_URL.replace("http", "ws", 1) + frames.address
    options = {"subprotocols": ["chatferry.v1"], "ping_interval": None}
    async with connect(address, **options) as one, connect(address, **options) as two:
        one, two = Client(frames, one), Client(frames, two)
        await one.next("hello")
        subscribed = await one.ask("subscribed", type="subscribe", ref=1, user=ann, limit=10, **of)
        await two.ask("subscribed", type="subscribe", ref="b", user=ben, after=subscribed["cursor"], **of)
        await one.next("presence")
        sent = [str(uuid.uuid4()) for _ in range(2)]
        for id in sent:
            await one.ask("ack", type="send", id=id, content="안녕", kind="text", sender=ann, **of)
            await two.next("message")
        await one.ask("nack", type="send", id=sent[0], content="not his", sender=ben, **of)
        await two.ask("ok", type="delivered", ref=2, messages=sent, user=ben, **of)
        await one.next("delivered")
        await two.ask("ok", type="read", ref=3, messages=sent[:1], user=ben, **of)
        await one.next("read")
        listed = await two.ask("conversations", type="conversations", ref=9, user=ben, limit=1)
        assert listed["conversations"][0]["unread"] == 1, listed
        await two.ask("conversation", type="open", ref=10, user=ben, **{"with": ann})
        await one.ask("receipts", type="receipts", ref=4, messages=sent, **of)
        await two.ask("unread", type="unread", conversations=[of["conversation"]], user=ben)
        await one.ask("updated", type="edit", ref=5, message=sent[0], content="edited", user=ann, **of)
        await two.next("updated")
        await one.ask("deleted", type="delete", message=sent[1], user=ann, **of)
        await two.next("deleted")
        page = await two.ask("page", type="history", ref=6, limit=1, **of)
        assert page["messages"][0]["content"] == "edited", page
        if page["before"]:
            await two.ask("page", type="history", before=page["before"], **of)
        await two.send(type="typing", is_typing=True, user=ben, **of)
        await one.next("typing")
        await one.ask("pong", type="ping", ref=7)
        await groups((one, ann), (two, ben), f"cat-{run}")
        # Where there is no identity a token is passed over.
        await one.send(type="auth", token="none")
        await one.ask("error", type="subscribe", conversation=str(uuid.uuid4()))
        await two.ask("unsubscribed", type="unsubscribe", ref=8, **of)


async def groups(one, two, other):
    (one, ann), (two, ben) = one, two
    made = await one.ask("conversation", type="create", ref=11, name="trip", members=[ben], key="k", user=ann)
    of = {"conversation": made["conversation"]["id"]}
    assert (await two.next("membership"))["is_member"]
    subscribed = await two.ask("subscribed", type="subscribe", user=ben, **of)
    assert subscribed["group"]["name"] == "trip", subscribed
    await one.ask("group", type="invite", members=[other], user=ann, **of)
    await two.next("group")
    await one.ask("group", type="rename", ref=12, name="travel", user=ann, **of)
    await one.ask("group", type="role", member=ben, role="owner", user=ann, **of)
    await one.ask("group", type="remove", member=other, user=ann, **of)
    await one.ask("error", type="remove", member=ann, user=other, **of)
    await one.ask("ok", type="leave", user=ann, **of)


async def main():
    frames = Frames(document())
    await asyncio.wait_for(talk(frames), PATIENCE_S)
    # `changed` is for events of other processes that have no form.
    missing = frames.validators.keys() - frames.met - {"server_changed"}
    assert not missing, f"not met: {sorted(missing)}"
    print(f"{len(frames.met)} kinds of frames are as the document says")


asyncio.run(main())
