"""A mixed fleet under load: two Django and two Chatferry processes on one database and one Redis, while Redis and
the Chatferry processes are killed and started again at random.

    python tests/bench/fleet.py BINARY [MINUTES]

At the end every Chatferry socket that was open then must have seen every message stored since it was opened exactly
once, in its history or live; no socket may have seen any twice; no key in Redis may be without an end, but for what
Python leaves; and no Django consumer may have died while Redis was up. Needs the reference's packages and websockets.
"""

import asyncio
import json
import os
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import redis
import websockets

REFERENCE = Path(__file__).resolve().parents[2] / "compat" / "reference"
CONVERSATIONS = 4
SOCKETS = 3  # of each process in each conversation
PAUSE_S = 0.05  # between two messages
SETTLE_S = 12


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Process:
    def __init__(self, name, command, port, **options):
        self.name, self.command, self.port, self.options = name, command, port, options
        self.process = None
        self.up_since = 0

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self.options)

    def kill(self):
        self.process.kill()
        self.process.wait()

    async def is_up(self):
        for _ in range(300):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                self.up_since = time.time()
                return
            except OSError:
                await asyncio.sleep(0.1)
        raise RuntimeError(f"{self.name} does not come up")


class Client:
    """A socket that is opened again whenever it ends, and what it has seen since it was opened last."""

    def __init__(self, fleet, server, conversation):
        self.fleet, self.server, self.conversation = fleet, server, conversation
        self.seen = {}
        self.live = None
        self.ended = 0

    async def run(self):
        while not self.fleet.over:
            try:
                url = f"ws://127.0.0.1:{self.server.port}/ws/chat/{self.conversation}/"
                async with websockets.connect(url, max_size=None, max_queue=None, open_timeout=20) as live:
                    await self.read(live)
            except (OSError, websockets.WebSocketException, TimeoutError) as error:
                self.note_end(error)
            self.live = None
            if not self.fleet.over:
                await asyncio.sleep(0.2)

    async def read(self, live):
        self.seen = {message["id"]: 1 for message in json.loads(await live.recv())["messages"]}
        self.live = live
        async for text in live:
            frame = json.loads(text)
            if frame["type"] == "chat_message":
                number = frame["message"]["id"]
                self.seen[number] = self.seen.get(number, 0) + 1
                if self.seen[number] > 1:
                    self.fleet.twice.append((self.server.name, number))

    def note_end(self, error):
        self.ended += 1
        code = getattr(getattr(error, "rcvd", None), "code", None)
        if code == 1011 and self.fleet.redis_was_up(10):
            self.fleet.died.append((self.server.name, str(error)))


class Fleet:
    def __init__(self, binary, directory):
        self.database = f"{directory}/chat.sqlite3"
        self.over = False
        self.twice, self.died, self.said = [], [], 0
        port = free_port()
        command = ["redis-server", "--port", str(port), "--save", "", "--dir", directory]
        self.redis = Process("Redis", command, port)
        url = f"redis://127.0.0.1:{port}/0"
        environment = os.environ | {"DATABASE_URL": f"sqlite://{self.database}", "REDIS_URL": url}
        self.chatferry = [self.ours(binary, directory, environment, n) for n in range(2)]
        self.django = [self.theirs(environment, n) for n in range(2)]

    def ours(self, binary, directory, environment, number):
        port = free_port()
        environment = environment | {"CHATFERRY__SERVER__BIND": f"127.0.0.1:{port}"}
        return Process(f"Chatferry {number}", [binary, "serve"], port, env=environment, cwd=directory)

    def theirs(self, environment, number):
        port = free_port()
        command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "service.asgi:application"]
        return Process(f"Django {number}", command, port, env=environment, cwd=REFERENCE)

    def redis_was_up(self, seconds):
        return self.redis.process.poll() is None and time.time() - self.redis.up_since > seconds

    async def start(self):
        for process in (self.redis, *self.chatferry, *self.django):
            process.start()
            await process.is_up()

    def stop(self):
        for process in (*self.chatferry, *self.django, self.redis):
            if process.process:
                process.kill()

    def conversation(self, number):
        body = json.dumps({"participant1_id": "a", "participant2_id": f"b{number}"}).encode()
        url = f"http://127.0.0.1:{self.chatferry[0].port}/api/chat/conversations/"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(request))["id"]

    async def talk(self, clients):
        while not self.over:
            client = random.choice(clients)
            if client.live:
                frame = {"type": "chat_message", "sender_id": "a", "content": f"메시지 {self.said}"}
                try:
                    await client.live.send(json.dumps(frame))
                    self.said += 1
                except (OSError, websockets.WebSocketException):
                    pass
            await asyncio.sleep(PAUSE_S)

    async def break_things(self):
        while not self.over:
            await asyncio.sleep(random.uniform(6, 14))
            victim = random.choice([self.redis, *self.chatferry])
            print(f"{time.strftime('%X')} {victim.name} is killed", flush=True)
            victim.kill()
            await asyncio.sleep(random.uniform(0.1, 3))
            victim.start()
            await victim.is_up()

    async def run(self, minutes):
        await self.start()
        conversations = [self.conversation(number) for number in range(CONVERSATIONS)]
        servers = (*self.chatferry, *self.django)
        clients = [Client(self, server, c) for server in servers for c in conversations for _ in range(SOCKETS)]
        tasks = [asyncio.ensure_future(client.run()) for client in clients]
        await asyncio.sleep(5)
        talking = asyncio.ensure_future(self.talk(clients))
        breaking = asyncio.ensure_future(self.break_things())
        await asyncio.sleep(minutes * 60)
        breaking.cancel()
        for process in (self.redis, *self.chatferry):
            if process.process.poll() is not None:
                process.start()
                await process.is_up()
        await asyncio.sleep(SETTLE_S)
        talking.cancel()
        await asyncio.sleep(SETTLE_S)
        ok = self.judge(clients)
        self.over = True
        for task in tasks:
            task.cancel()
        return ok

    def judge(self, clients):
        stored = {}
        with sqlite3.connect(self.database) as database:
            for number, conversation in database.execute("SELECT id, conversation_id FROM messages"):
                stored.setdefault(conversation.replace("-", ""), set()).add(number.replace("-", ""))
        ours = [client for client in clients if client.server in self.chatferry]
        missed = 0
        for client in ours:
            seen = {number.replace("-", "") for number in client.seen}
            missed += len(stored[client.conversation.replace("-", "")] - seen) if client.live else 0
        twice = [name for name, _ in self.twice if name.startswith("Chatferry")]
        endless = [key for key in self.keys_without_end() if not key.endswith(b"$inflight")]
        print(f"{self.said} said, {sum(map(len, stored.values()))} stored, {sum(c.ended for c in clients)} sockets ended")
        print(f"open Chatferry sockets: {sum(bool(c.live) for c in ours)} of {len(ours)}; missed {missed}, twice {len(twice)}")
        print(f"twice on Django: {len(self.twice) - len(twice)}; Django consumers that died while Redis was up: {len(self.died)}")
        print(f"keys without an end: {endless}")
        return not (missed or twice or endless or self.died)

    def keys_without_end(self):
        client = redis.Redis(port=self.redis.port)
        return [key for key in client.keys() if client.ttl(key) == -1]


async def main():
    binary = str(Path(sys.argv[1]).resolve())
    minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 10
    with tempfile.TemporaryDirectory() as directory:
        fleet = Fleet(binary, directory)
        try:
            return await fleet.run(minutes)
        finally:
            fleet.stop()


sys.exit(0 if asyncio.run(main()) else 1)
