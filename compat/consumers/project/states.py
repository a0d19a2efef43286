"""Consumers whose instances hold something, which is still there after their worker was replaced."""

import asyncio
import datetime
import decimal
import os
import uuid

from asgiref.sync import async_to_sync
from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer
from django.dispatch import Signal

from .consumers import note

#: The worker, of which there are several one after the other.
PROCESS = os.getpid()

signal = Signal()


class Keeper(AsyncJsonWebsocketConsumer):
    """A room whose members count what they hear."""

    async def connect(self):
        self.id = uuid.uuid4()
        self.group = f"keeper_{self.scope['url_route']['kwargs']['room_name']}"
        self.sent = 0
        self.heard = 0
        self.seen = set()
        self.last = {}
        self.kinds = [decimal.Decimal("1.50"), datetime.date(2026, 1, 2), (1, b"\xff", None), 1 << 70]
        self.since = datetime.datetime.now(datetime.timezone.utc)
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        await self.send_json({"id": str(self.id), "since": self.since.isoformat()})

    async def receive_json(self, content, **kwargs):
        self.sent += 1
        self.seen.add(content)
        await self.channel_layer.group_send(
            self.group, {"type": "said", "from": str(self.id), "number": self.sent, "content": content}
        )

    async def said(self, event):
        self.heard += 1
        self.last[event["from"]] = event["number"]
        mine = {"id": str(self.id), "since": self.since.isoformat(), "heard": self.heard, "seen": len(self.seen)}
        await self.send_json({**mine, "event": event, "process": PROCESS, "kinds": repr(self.kinds)})

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.group, self.channel_name)
        note(self.group, f"{self.sent} {len(self.seen)} {code}")


class SyncKeeper(JsonWebsocketConsumer):
    """The same in threads, with the user and the session."""

    def connect(self):
        self.count = 0
        self.user = self.scope["user"]
        async_to_sync(self.channel_layer.group_add)("sync_keeper", self.channel_name)
        self.accept()

    def receive_json(self, content, **kwargs):
        self.count += 1
        session = self.scope["session"]
        session["seen"] = session.get("seen", 0) + 1
        self.send_json([self.count, session["seen"], str(self.user), self.user == self.scope["user"], PROCESS])

    def disconnect(self, code):
        async_to_sync(self.channel_layer.group_discard)("sync_keeper", self.channel_name)


class Locked(AsyncJsonWebsocketConsumer):
    """Holds what cannot be written."""

    async def connect(self):
        self.lock = asyncio.Lock()
        await self.accept()

    async def receive_json(self, content, **kwargs):
        async with self.lock:
            await self.send_json([content, PROCESS])

    async def disconnect(self, code):
        note("locked", f"disconnect {code}")


class Grown(AsyncJsonWebsocketConsumer):
    """Its next version may set another attribute."""

    async def connect(self):
        self.seen = 0
        await self.accept()

    async def receive_json(self, content, **kwargs):
        self.seen += 1
        await self.send_json([content, self.seen, PROCESS])


class Registered(AsyncJsonWebsocketConsumer):
    """Is found by others in a dictionary of its module."""

    everybody = {}

    async def connect(self):
        self.name = self.scope["url_route"]["kwargs"]["name"]
        self.everybody[self.name] = self
        await self.accept()

    async def receive_json(self, content, **kwargs):
        await self.everybody[content].send_json({"from": self.name})

    async def disconnect(self, code):
        del self.everybody[self.name]


class Signalled(AsyncJsonWebsocketConsumer):
    """Hears a signal of Django, which refers to it weakly."""

    async def connect(self):
        self.count = 0
        signal.connect(self.signalled)
        await self.accept()

    def signalled(self, **kwargs):
        self.count += 1

    async def receive_json(self, content, **kwargs):
        signal.send(sender=None)
        await self.send_json(self.count)


class Helped(AsyncJsonWebsocketConsumer):
    """A helper that is not of the class starts a task for it."""

    async def connect(self):
        await self.accept()

    async def receive_json(self, content, **kwargs):
        say_later(self, content)


tasks = set()


def say_later(consumer, content):
    async def say():
        await asyncio.sleep(content)
        await consumer.send_json("later")

    task = asyncio.create_task(say())
    tasks.add(task)
    task.add_done_callback(tasks.discard)
