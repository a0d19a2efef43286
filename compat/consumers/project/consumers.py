"""Consumers without groups, each a shape."""

import asyncio
import contextvars
import json
import zoneinfo

from channels.consumer import AsyncConsumer, SyncConsumer
from channels.db import database_sync_to_async
from channels.exceptions import AcceptConnection, DenyConnection, StopConsumer
from channels.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    JsonWebsocketConsumer,
    WebsocketConsumer,
)
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone, translation
from django.utils.translation import gettext

#: What consumers have noted when there was no socket to send to: read by Notes.
notes = []


def note(key, what):
    notes.append((key, what))


class Echo(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data, bytes_data=bytes_data)


class SyncEcho(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        self.send(text_data=text_data, bytes_data=bytes_data)


class Json(AsyncJsonWebsocketConsumer):
    async def receive_json(self, content, **kwargs):
        await self.send_json({"got": content, "message": content["message"]})


class SyncJson(JsonWebsocketConsumer):
    def receive_json(self, content, **kwargs):
        self.send_json({"got": content, "message": content["message"]})


class Scope(AsyncJsonWebsocketConsumer):
    """What is in the scope, of which kind, and what of it a test can compare."""

    async def connect(self):
        await self.accept()
        scope = self.scope
        kinds = {key: type(value).__name__ for key, value in scope.items()}
        headers = {name.decode(): value.decode("latin1") for name, value in scope["headers"]}
        plain = ("type", "path", "root_path", "subprotocols", "asgi", "url_route", "path_remaining")
        await self.send_json(
            {
                "kinds": dict(sorted(kinds.items())),
                "plain": {key: str(scope.get(key)) for key in plain},
                "raw_path": str(scope["raw_path"]),
                "query": str(scope["query_string"]),
                "headers": [[name, value] for name, value in headers.items() if name.startswith("x-")],
                "kind of header": [type(it).__name__ for it in (scope["headers"][0], *scope["headers"][0])],
                "client": [scope["client"][0], type(scope["client"][1]).__name__],
                "server": [scope["server"][0], type(scope["server"][1]).__name__],
                "user": str(scope["user"]),
                "cookies": scope["cookies"],
            }
        )


class Kwargs(AsyncJsonWebsocketConsumer):
    async def connect(self):
        await self.accept()
        kwargs = self.scope["url_route"]["kwargs"]
        await self.send_json({key: [type(value).__name__, str(value)] for key, value in kwargs.items()})


class InitKwargs(AsyncWebsocketConsumer):
    greeting = "hi"

    def __init__(self, *args, greeting=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.greeting = greeting or self.greeting

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=f"{self.greeting} {text_data}")


class Who(AsyncWebsocketConsumer):
    async def connect(self):
        if self.scope["who"] == "nobody":
            await self.close(code=4401)
            return
        await self.accept()
        await self.send(text_data=self.scope["who"])


class Close(AsyncJsonWebsocketConsumer):
    async def receive_json(self, content, **kwargs):
        if content.get("send_first"):
            await self.send_json("before")
        await self.close(code=content.get("code"), reason=content.get("reason"))
        await self.send_json("after")


class Deny(AsyncWebsocketConsumer):
    async def connect(self):
        how = self.scope["url_route"]["kwargs"]["how"]
        if how == "deny":
            raise DenyConnection
        if how == "accept":
            raise AcceptConnection
        if how == "close":
            await self.close(code=4003)
        if how == "stop":
            await self.close()
            raise StopConsumer

    async def disconnect(self, code):
        note("denied", f"{self.scope['url_route']['kwargs']['how']} {code}")

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data)


class Raise(AsyncWebsocketConsumer):
    @property
    def where(self):
        return self.scope["url_route"]["kwargs"]["where"]

    async def connect(self):
        if self.where == "connect":
            raise RuntimeError("in connect")
        await self.accept()
        if self.where == "accepted":
            await self.send(text_data="accepted")
            raise RuntimeError("after accept")

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data="before")
        if self.where == "stop":
            raise StopConsumer
        raise RuntimeError("in receive")

    async def disconnect(self, code):
        note("raised", f"{self.where} {code}")


class Subprotocol(AsyncWebsocketConsumer):
    async def connect(self):
        which = self.scope["url_route"]["kwargs"]["which"]
        await self.accept(subprotocol=None if which == "none" else which)
        await self.send(text_data=json.dumps(self.scope["subprotocols"]))


class Binary(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        if bytes_data is None:
            await self.send(bytes_data=text_data.encode())
        else:
            await self.send(bytes_data=bytes_data[::-1])


class Talkative(AsyncWebsocketConsumer):
    """Sends before it accepts nothing, and much as soon as it has."""

    async def connect(self):
        await self.accept()
        for number in range(20):
            await self.send(text_data=str(number))


class Strange(AsyncWebsocketConsumer):
    async def connect(self):
        what = self.scope["url_route"]["kwargs"]["what"]
        if what == "early":
            await self.send(text_data="early")
        await self.accept()
        if what == "twice":
            await self.accept()
        if what == "code":
            await self.close(code=1001)
        if what == "unknown":
            await self.base_send({"type": "websocket.unknown"})
        if what == "both":
            await self.base_send({"type": "websocket.send", "text": "a", "bytes": b"b"})
        await self.send(text_data="accepted")

    async def receive(self, text_data=None, bytes_data=None):
        if text_data == "nothing":
            await self.send()
        await self.send(text_data=text_data)


class Goodbye(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        if text_data == "slow":
            await asyncio.sleep(0.2)
        note(self.scope["url_route"]["kwargs"]["key"], text_data)
        if text_data.isdecimal():
            await self.close(code=int(text_data))

    async def disconnect(self, code):
        note(self.scope["url_route"]["kwargs"]["key"], f"disconnect {code}")


class Notes(AsyncWebsocketConsumer):
    """Tells what has been noted under a key once there is as much as is asked for."""

    async def receive(self, text_data=None, bytes_data=None):
        key = self.scope["url_route"]["kwargs"]["key"]
        for _ in range(500):
            found = [what for of, what in notes if of == key]
            if len(found) >= int(text_data):
                break
            await asyncio.sleep(0.02)
        await self.send(text_data=json.dumps(found))


class Task(AsyncWebsocketConsumer):
    """Has a task of its own."""

    async def connect(self):
        await self.accept()
        self.ticking = asyncio.create_task(self.tick())

    async def tick(self):
        for number in range(3):
            await asyncio.sleep(0.01)
            await self.send(text_data=f"tick {number}")

    async def disconnect(self, code):
        self.ticking.cancel()


class Raw(AsyncConsumer):
    """On the base class itself."""

    async def websocket_connect(self, message):
        await self.send({"type": "websocket.accept"})

    async def websocket_receive(self, message):
        await self.send({"type": "websocket.send", "text": f"{sorted(message)}"})

    async def websocket_disconnect(self, message):
        note("raw", f"disconnect {message['code']}")
        raise StopConsumer


class SyncRaw(SyncConsumer):
    def websocket_connect(self, message):
        self.send({"type": "websocket.accept"})

    def websocket_receive(self, message):
        self.send({"type": "websocket.send", "text": f"{sorted(message)}"})


class OwnCall(AsyncWebsocketConsumer):
    async def __call__(self, scope, receive, send):
        scope = {**scope, "added": "by __call__"}
        await super().__call__(scope, receive, send)

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=self.scope["added"])


class Database(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=await self.read(text_data))

    @database_sync_to_async
    def read(self, text):
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SELECT %s || '!'", [text])
            return cursor.fetchone()[0]


class SyncDatabase(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SELECT %s || '!'", [text_data])
            self.send(text_data=cursor.fetchone()[0])


class Session(AsyncJsonWebsocketConsumer):
    """Counts in the instance and in the session, and knows its user."""

    async def connect(self):
        self.seen = 0
        await self.accept()

    async def receive_json(self, content, **kwargs):
        self.seen += 1
        self.scope["session"]["seen"] = self.scope["session"].get("seen", 0) + 1
        anonymous = isinstance(self.scope["user"], AnonymousUser) or self.scope["user"].is_anonymous
        await self.send_json([self.seen, self.scope["session"]["seen"], anonymous])


async def function(scope, receive, send):
    """An application that is no consumer."""
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            note("function", f"disconnect {message['code']}")
            return
        await send({"type": "websocket.send", "text": f"function {message['text']}"})


#: Set by each consumer for itself.
said = contextvars.ContextVar("said", default=())


class InContext(AsyncWebsocketConsumer):
    """Sets what belongs to its context, as middleware for logs and languages does."""

    async def connect(self):
        translation.activate("de")
        timezone.activate(zoneinfo.ZoneInfo("Asia/Seoul"))
        await self.accept()

    async def receive(self, text_data=None, bytes_data=None):
        said.set((*said.get(), text_data))
        zone = timezone.get_current_timezone_name()
        await self.send(f"{gettext('Monday')} {zone} {len(said.get())} {'/'.join(said.get())}")


class SyncInContext(WebsocketConsumer):
    def connect(self):
        translation.activate("de")
        self.accept()

    def receive(self, text_data=None, bytes_data=None):
        said.set((*said.get(), text_data))
        self.send(f"{gettext('Monday')} {'/'.join(said.get())}")


class Translated(AsyncWebsocketConsumer):
    """The language and the time zone alone, which travel to other workers."""

    async def connect(self):
        await self.accept()

    async def receive(self, text_data=None, bytes_data=None):
        if text_data:
            translation.activate(text_data)
            timezone.activate(zoneinfo.ZoneInfo("Asia/Seoul"))
        await self.send(f"{gettext('Monday')} {timezone.get_current_timezone_name()}")
