"""Three Chatferry servers in use, so that every metric that can move does: `chat` with a gateway to a live Django and
Redis, `guarded` whose callers must be known and are limited, and `astray`, which shows times in another zone than the
Django it is compared with. For as long as they live people talk, ask, misbehave, come and go.
"""

import asyncio
import contextlib
import json
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import jwt
import websockets
from channels_redis.core import RedisChannelLayer

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "runner"))

import services
from servers import PATIENT, REFERENCE, clean_environment, free_port, launch, migrate_reference

SECRET = "a secret of at least thirty-two bytes"
CHAT = "/api/chat/conversations/"
# On each side of the share.
CONVERSATIONS = 3
# Between two frames or rounds of requests of one: Django has its part of a machine that others use too.
PAUSE_S = 0.2


class Servers:
    """Django, Redis and the three, for as long as `stack` is open."""

    def __init__(self, stack, binary):
        self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chatferry-prometheus-")))
        self.redis = stack.enter_context(services.redis())
        database = self.directory / "chat.sqlite3"
        self.shared = {"DATABASE_URL": f"sqlite://{database}", "REDIS_URL": self.redis}
        migrate_reference(self.shared["DATABASE_URL"])
        daphne = [sys.executable, "-m", "daphne", *PATIENT, "-b", "127.0.0.1", "-p"]
        self.django = self.launch(stack, "django", [*daphne, "PORT", "service.asgi:application"], self.shared, REFERENCE)
        serve = [str(binary), "serve"]
        gateway = {"GATEWAY__UPSTREAM": self.django.url, "GATEWAY__SHADOW_PERCENT": "100"}
        self.metrics = f"127.0.0.1:{free_port()}"
        chat = {**gateway, "GATEWAY__ROLLOUT_PERCENT": "50", "METRICS__BIND": self.metrics}
        astray = {**gateway, "GATEWAY__ROLLOUT_PERCENT": "0", "DJANGO__TIME_ZONE": "UTC"}
        guarded = {
            "AUTH__IDENTITY": "jwt",
            "AUTH__POLICY": "participants",
            "AUTH__JWT__SECRET": SECRET,
            "AUTH__JWT__ALGORITHMS": "HS256",
            "METRICS__PUBLIC": "yes",
            "LIMITS__USER__MESSAGES": "2/s",
            "EVENTS__SINKS": "log",
        }
        self.chat = self.launch(stack, "chat", serve, self.shared | ours(chat))
        self.astray = self.launch(stack, "astray", serve, self.shared | ours(astray))
        alone = {"DATABASE_URL": f"sqlite://{self.directory / 'guarded.sqlite3'}"}
        self.guarded = self.launch(stack, "guarded", serve, alone | ours(guarded))
        for server in (self.django, self.chat, self.astray):
            server.wait_until_it_answers()

    def launch(self, stack, name, command, settings, home=None):
        port = free_port()
        environment = clean_environment(CHATFERRY__SERVER__BIND=f"127.0.0.1:{port}", **settings)
        command = [str(port) if part == "PORT" else part for part in command]
        server = launch(name, command, environment, home or self.directory, port, None, self.directory / f"{name}.log")
        stack.callback(server.stop)
        return server

    def targets(self):
        """Where the metrics are, as Prometheus writes addresses, by the names of the servers."""
        others = {server.name: server.url.removeprefix("http://") for server in (self.astray, self.guarded)}
        return {self.chat.name: self.metrics, **others}


def ours(settings):
    return {f"CHATFERRY__{name}": value for name, value in settings.items()}


class Load:
    """What goes on at the servers, in a thread of its own, between `with` and its end."""

    def __init__(self, servers):
        self.servers = servers
        self.ends = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()))
        self.failure = None

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.thread.join()

    async def run(self):
        try:
            async with httpx.AsyncClient(timeout=60) as http, asyncio.TaskGroup() as group:
                here, there = await self.conversations(http)
                work = [self.ask(http, here + there), self.ask_guarded(http), self.shout(here)]
                for conversation in here + there:
                    work += [self.talk(self.servers.chat, conversation), self.come_and_go(conversation)]
                work += [self.talk(self.servers.django, here[0]), self.talk(self.servers.astray, there[0])]
                tasks = [group.create_task(task) for task in work]
                while not self.ends.is_set():
                    await asyncio.sleep(0.1)
                for task in tasks:
                    task.cancel()
        except* Exception as failures:
            self.failure = failures

    async def conversations(self, http):
        """Some that Chatferry serves, and some that Django does."""
        here, there = [], []
        while min(len(here), len(there)) < CONVERSATIONS:
            pair = {"participant1_id": f"p{len(here) + len(there)}", "participant2_id": str(random.random())}
            number = (await http.post(self.servers.chat.url + CHAT, json=pair)).json()["id"]
            (here if int(number[-4:], 16) * 100 < 50 * 65536 else there).append(number)
        return here[:CONVERSATIONS], there[:CONVERSATIONS]

    async def talk(self, server, conversation):
        """One who says, types, reads, and sends nonsense; comes back whenever the socket ends."""
        while True:
            with contextlib.suppress(OSError, websockets.WebSocketException, TimeoutError):
                async with websockets.connect(socket_of(server, conversation), open_timeout=60) as socket:
                    reading = asyncio.create_task(self.read(socket))
                    await self.go_on(socket)
                    reading.cancel()
            await asyncio.sleep(PAUSE_S)

    async def read(self, socket):
        """Hears everything, and says so of every third message."""
        with contextlib.suppress(websockets.WebSocketException):
            async for text in socket:
                frame = json.loads(text)
                if frame.get("type") == "chat_message" and random.random() < 0.3:
                    read = {"type": "mark_as_read", "message_id": frame["message"]["id"], "user_id": "p1"}
                    await socket.send(json.dumps(read))

    async def go_on(self, socket):
        for number in range(50):
            await socket.send(json.dumps({"type": "chat_message", "sender_id": "p0", "content": "so " * number}))
            if number % 3 == 0:
                await socket.send(json.dumps({"type": "typing", "user_id": "p0", "is_typing": True}))
            if number % 10 == 0:
                await socket.send("{")
                await socket.ping()
            await asyncio.sleep(PAUSE_S * random.random() * 2)

    async def come_and_go(self, conversation):
        while True:
            with contextlib.suppress(OSError, websockets.WebSocketException, TimeoutError):
                async with websockets.connect(socket_of(self.servers.chat, conversation), open_timeout=60) as socket:
                    await asyncio.sleep(3 * random.random())
                    await socket.send(b"\x00")
            await asyncio.sleep(PAUSE_S)

    async def ask(self, http, conversations):
        """Good and bad requests, to both sides of the gateway."""
        while True:
            with contextlib.suppress(httpx.TransportError):
                for server in (self.servers.chat, self.servers.astray):
                    for conversation in conversations:
                        path = f"{server.url}{CHAT}{conversation}/"
                        await http.get(path)
                        await http.get(f"{path}messages/")
                        await http.post(f"{path}messages/send/", json={"sender_id": "p0", "content": "by REST"})
                        await http.post(f"{path}messages/send/", json={"sender_id": ""})
                        await http.delete(path)
                    await http.get(f"{server.url}/api/chat/users/p0/conversations/")
                    await http.get(f"{server.url}/admin/login/")
                    await http.get(f"{server.url}/nothing/here/")
            await asyncio.sleep(PAUSE_S)

    async def ask_guarded(self, http):
        """Callers who may, who may not, who are late, and who are too quick."""
        address = self.servers.guarded.url
        alice, mallory = bearer("alice"), bearer("mallory")
        pair = {"participant1_id": "alice", "participant2_id": "bob"}
        path = None
        while True:
            with contextlib.suppress(httpx.TransportError):
                if path is None:
                    made = await http.post(address + CHAT, json=pair, headers=alice)
                    path = f"{address}{CHAT}{made.json()['id']}/"
                for _ in range(4):
                    said = {"sender_id": "alice", "content": "x"}
                    await http.post(f"{path}messages/send/", json=said, headers=alice)
                for caller in (alice, mallory, bearer("alice", -60), {"Authorization": "Bearer x.y.z"}, {}):
                    await http.get(path, headers=caller)
            await asyncio.sleep(PAUSE_S)

    async def shout(self, conversations):
        """Code of somebody's own that sends what no consumer knows."""
        layer = RedisChannelLayer(hosts=[self.servers.redis])
        while True:
            await layer.group_send(f"chat_{conversations[0]}", {"type": "shout"})
            await asyncio.sleep(1)


def socket_of(server, conversation):
    return f"{server.url.replace('http', 'ws', 1)}/ws/chat/{conversation}/"


def bearer(user, life_s=3600):
    token = jwt.encode({"sub": user, "exp": int(time.time()) + life_s}, SECRET, "HS256")
    return {"Authorization": f"Bearer {token}"}
