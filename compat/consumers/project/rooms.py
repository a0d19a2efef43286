"""Consumers with groups and channels, each a shape."""

import json
import threading

from asgiref.sync import async_to_sync
from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer, WebsocketConsumer
from channels.layers import get_channel_layer

#: As many projects have it: asked for when the module is imported.
layer = get_channel_layer()

KIND = "chat"


class Room(AsyncWebsocketConsumer):
    """The tutorial's chat."""

    async def connect(self):
        self.room_name = self.scope["url_route"]["kwargs"]["room_name"]
        self.room_group_name = f"chat_{self.room_name}"
        await self.channel_layer.group_add(self.room_group_name, self.channel_name)
        await self.accept()

    async def disconnect(self, close_code):
        await self.channel_layer.group_discard(self.room_group_name, self.channel_name)

    async def receive(self, text_data=None, bytes_data=None):
        message = json.loads(text_data)["message"]
        await self.channel_layer.group_send(self.room_group_name, {"type": "chat.message", "message": message})

    async def chat_message(self, event):
        message = event["message"]
        await self.send(text_data=json.dumps({"message": message, "kind": KIND}))


class SyncRoom(WebsocketConsumer):
    """The tutorial's first."""

    def connect(self):
        self.room_name = self.scope["url_route"]["kwargs"]["room_name"]
        self.room_group_name = f"chat_{self.room_name}"
        async_to_sync(self.channel_layer.group_add)(self.room_group_name, self.channel_name)
        self.accept()

    def disconnect(self, close_code):
        async_to_sync(self.channel_layer.group_discard)(self.room_group_name, self.channel_name)

    def receive(self, text_data):
        message = json.loads(text_data)["message"]
        async_to_sync(self.channel_layer.group_send)(
            self.room_group_name, {"type": "chat.message", "message": message}
        )

    def chat_message(self, event):
        self.send(text_data=json.dumps({"message": event["message"]}))


class Others(AsyncJsonWebsocketConsumer):
    """All but the sender."""

    async def connect(self):
        self.group = f"others_{self.scope['url_route']['kwargs']['room_name']}"
        await self.channel_layer.group_add(group=self.group, channel=self.channel_name)
        await self.accept()

    async def receive_json(self, content, **kwargs):
        event = {"type": "spread", "content": content, "sender": self.channel_name, "raw": b"\x00\xff"}
        await self.channel_layer.group_send(group=self.group, message=event)

    async def spread(self, event):
        if event["sender"] != self.channel_name:
            await self.send_json([event["content"], event["raw"].hex()])

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.group, self.channel_name)


class ByQuery(AsyncJsonWebsocketConsumer):
    async def connect(self):
        self.rooms = self.scope["query_string"].decode().split("&")
        for room in self.rooms:
            await self.channel_layer.group_add(room, self.channel_name)
        await self.accept()

    async def receive_json(self, content, **kwargs):
        if content["leave"]:
            await self.channel_layer.group_discard(content["to"], self.channel_name)
        await self.channel_layer.group_send(content["to"], {"type": "news", "content": content})
        await self.send_json("sent")

    async def news(self, event):
        await self.send_json(event["content"])


class Groups(AsyncJsonWebsocketConsumer):
    """Groups of the class."""

    groups = ["everybody", "staff"]

    async def receive_json(self, content, **kwargs):
        await self.channel_layer.group_send("everybody", {"type": "wrong.handler" if content == "wrong" else "to.all"})

    async def to_all(self, event):
        await self.send_json(sorted(event.items()))


class Presence(AsyncJsonWebsocketConsumer):
    """Who is here, kept in the process."""

    here = set()

    async def connect(self):
        await self.accept()
        self.name = self.scope["query_string"].decode()
        self.here.add(self.name)
        await self.channel_layer.group_add("presence", self.channel_name)
        await self.tell()

    async def disconnect(self, code):
        self.here.discard(self.name)
        await self.channel_layer.group_discard("presence", self.channel_name)
        await self.tell()

    async def tell(self):
        await self.channel_layer.group_send("presence", {"type": "who", "here": sorted(self.here)})

    async def who(self, event):
        await self.send_json(event["here"])


class History(AsyncJsonWebsocketConsumer):
    """Tells what has been said before."""

    said = []

    async def connect(self):
        await self.channel_layer.group_add("history", self.channel_name)
        await self.accept()
        await self.send_json({"history": self.said})

    async def disconnect(self, code):
        await self.channel_layer.group_discard("history", self.channel_name)

    async def receive_json(self, content, **kwargs):
        self.said.append(content)
        await self.channel_layer.group_send("history", {"type": "say", "content": content})

    async def say(self, event):
        await self.send_json({"new": event["content"]})


class Direct(AsyncJsonWebsocketConsumer):
    """Sends to a channel by its name, its own at first."""

    async def connect(self):
        await self.accept()
        await self.send_json({"me": self.channel_name})

    async def receive_json(self, content, **kwargs):
        await self.channel_layer.send(content.get("to", self.channel_name), {"type": "direct", "text": content["text"]})

    async def direct(self, event):
        await self.send_json({"direct": event["text"]})


class Ask(AsyncJsonWebsocketConsumer):
    """Uses channels that no consumer has."""

    async def receive_json(self, content, **kwargs):
        one = await layer.new_channel()
        await layer.group_add("asked", one)
        await layer.group_send("asked", {"type": "question", "n": content})
        await layer.send(one, {"type": "more", "n": content + 1})
        answers = [(await layer.receive(one))["n"] for _ in range(2)]
        await layer.group_discard("asked", one)
        await self.send_json(answers)


class FromThread(AsyncJsonWebsocketConsumer):
    """Sends from a thread with a loop of its own."""

    async def connect(self):
        self.group = f"thread_{self.scope['url_route']['kwargs']['room_name']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def receive_json(self, content, **kwargs):
        send = async_to_sync(get_channel_layer().group_send)
        event = {"type": "from.thread", "content": content}
        threading.Thread(target=send, args=(self.group, event), daemon=True).start()

    async def from_thread(self, event):
        await self.send_json(event["content"])

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.group, self.channel_name)


class OtherLayer(AsyncJsonWebsocketConsumer):
    channel_layer_alias = "other"

    async def connect(self):
        await self.channel_layer.group_add("other", self.channel_name)
        await self.accept()

    async def receive_json(self, content, **kwargs):
        await self.channel_layer.group_send("other", {"type": "say", "content": content})

    async def say(self, event):
        await self.send_json(event["content"])


class TheirLayer(OtherLayer):
    """A layer in Redis that is not the one of Chatferry."""

    channel_layer_alias = "theirs"


class SameGroup(OtherLayer):
    """The same name of a group as OtherLayer, in another layer."""

    channel_layer_alias = "default"


class Burst(AsyncJsonWebsocketConsumer):
    """Sends many events at once."""

    async def connect(self):
        self.group = f"burst_{self.scope['url_route']['kwargs']['room_name']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def receive_json(self, content, **kwargs):
        for number in range(content):
            await self.channel_layer.group_send(self.group, {"type": "number", "number": number})

    async def number(self, event):
        await self.send_json(event["number"])

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.group, self.channel_name)
