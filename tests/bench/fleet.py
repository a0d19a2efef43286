"""A mixed fleet under load: two Django and two Chatferry processes on one database and one Redis, while Redis and
the Chatferry processes are killed and started again at random. One fleet for each channel layer, both at once.

    python tests/bench/fleet.py BINARY [MINUTES]

Redis and both Chatferry processes are killed once each, in random order, and so on for as long as the minutes last:
with 0 of them one round is all.

At the end every Chatferry socket that was open then must have seen every message stored since it was opened exactly
once, in its history or live; no Chatferry socket may have ended but with its own process; no socket may have seen a
message twice; no key in Redis may be without an end, but for what Python leaves; and no Django consumer may have died
of anything but Redis' absence. Needs the reference's packages and websockets.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

import redis
import websockets

sys.path.append(str(Path(__file__).resolve().parents[2] / "compat" / "kit"))

from servers import PATIENT, REFERENCE, free_port

CONVERSATIONS = 4
SOCKETS = 3  # of each process in each conversation
PAUSE_S = 0.05  # between two messages
BETWEEN_KILLS_S = (4, 12)
IN_ONE_ROUND_S = (2, 5)  # the same, when each is killed only once
PATIENCE_S = 300  # for whatever must come true at the end
# What a Django consumer may die of here: Redis is away, SQLite has too many writers for its patience, or its client
# went away while it spoke.
EXCUSED = re.compile(
    r"(redis\.exceptions\.)?(Connection\w*|Timeout|BusyLoading)Error\b|.*database is locked|.*\bDisconnected\b"
)


async def until(holds):
    """Whether it came true within PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.2)
    return True


class Process:
    def __init__(self, name, command, port, log, **options):
        self.name, self.command, self.port, self.log, self.options = name, command, port, log, options
        self.process = None
        self.kills = 0

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, **self.options)

    def kill(self):
        self.kills += 1
        self.process.kill()
        self.process.wait()

    async def is_up(self):
        for _ in range(10 * PATIENCE_S):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            except OSError:
                await asyncio.sleep(0.1)
        raise RuntimeError(f"{self.name} does not come up: {self.log.read_text()[-2000:]}")


class Client:
    """A socket that is opened again whenever it ends, and what it has seen since it was opened last."""

    def __init__(self, fleet, server, conversation):
        self.fleet, self.server, self.conversation = fleet, server, conversation
        self.seen = Counter()
        self.live = None

    async def run(self):
        while not self.fleet.over:
            try:
                url = f"ws://127.0.0.1:{self.server.port}/ws/chat/{self.conversation}/"
                kills = self.server.kills
                async with websockets.connect(url, max_size=None, max_queue=None, open_timeout=60, ping_interval=None) as live:
                    await self.read(live)
                    self.note_end(live, kills)
            except (OSError, websockets.WebSocketException, TimeoutError, EOFError):
                pass
            self.live = None
            if not self.fleet.over:
                await asyncio.sleep(0.2)

    async def read(self, live):
        try:
            history = json.loads(await live.recv())["messages"]
            self.seen = Counter(bare(message["id"]) for message in history)
            told = set(self.seen)
            self.live = live
            async for text in live:
                frame = json.loads(text)
                if frame["type"] == "chat_message":
                    number = bare(frame["message"]["id"])
                    self.seen[number] += 1
                    if self.server in self.fleet.django:
                        self.fleet.broadcast.add(number)
                    if self.seen[number] > 1:
                        self.fleet.twice.append((self.server, "history" if number in told else "live"))
        except websockets.ConnectionClosed:
            pass

    def note_end(self, live, kills):
        self.fleet.ended += 1
        if self.server in self.fleet.chatferry and kills == self.server.kills:
            self.fleet.dropped.append(f"{self.server.name}: {live.close_code} {live.close_reason}")


def bare(number):
    return number.replace("-", "")


class Fleet:
    def __init__(self, binary, layer, directory):
        self.layer, self.directory = layer, Path(directory)
        self.database = self.directory / "chat.sqlite3"
        self.over = False
        self.rounds = 0
        self.twice, self.dropped, self.said, self.ended = [], [], 0, 0
        # What sockets on Django were told live.
        self.broadcast = set()
        port = free_port()
        command = ["redis-server", "--port", str(port), "--save", "", "--dir", directory]
        self.redis = Process("Redis", command, port, self.directory / "redis.log")
        url = f"redis://127.0.0.1:{port}/0"
        environment = os.environ | {"DATABASE_URL": f"sqlite://{self.database}", "REDIS_URL": url}
        self.chatferry = [self.ours(binary, environment, n) for n in range(2)]
        self.django = [self.theirs(environment, n) for n in range(2)]

    def ours(self, binary, environment, number):
        port = free_port()
        backend = {"core": "redis", "pubsub": "redis_pubsub"}[self.layer]
        settings = {"CHATFERRY__SERVER__BIND": f"127.0.0.1:{port}", "CHATFERRY__LAYER__BACKEND": backend}
        log = self.directory / f"chatferry-{number}.log"
        environment = environment | settings
        return Process(f"Chatferry {number}", [binary, "serve"], port, log, env=environment, cwd=self.directory)

    def theirs(self, environment, number):
        port = free_port()
        listen = ("-b", "127.0.0.1", "-p", str(port))
        command = [sys.executable, "-m", "daphne", *PATIENT, *listen, "service.asgi:application"]
        environment = environment | {"REDIS_BACKEND": self.layer, "PYTHONDONTWRITEBYTECODE": "1"}
        log = self.directory / f"django-{number}.log"
        return Process(f"Django {number}", command, port, log, env=environment, cwd=REFERENCE)

    def tell(self, text):
        print(f"{time.strftime('%X')} {self.layer:<7}{text}", flush=True)

    async def start(self):
        # The first Chatferry makes the tables.
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
        while True:
            client = random.choice(clients)
            if client.live:
                frame = {"type": "chat_message", "sender_id": "a", "content": f"{client.server.name}: 메시지 {self.said}"}
                try:
                    await client.live.send(json.dumps(frame))
                    self.said += 1
                except (OSError, websockets.WebSocketException):
                    pass
            await asyncio.sleep(PAUSE_S)

    async def break_things(self, pauses_s):
        while True:
            victims = [self.redis, *self.chatferry]
            random.shuffle(victims)
            for victim in victims:
                await asyncio.sleep(random.uniform(*pauses_s))
                self.tell(f"{victim.name} is killed")
                victim.kill()
                await asyncio.sleep(random.uniform(0.1, 3))
                victim.start()
                await victim.is_up()
            self.rounds += 1

    async def run(self, minutes):
        await self.start()
        conversations = [self.conversation(number) for number in range(CONVERSATIONS)]
        servers = (*self.chatferry, *self.django)
        clients = [Client(self, server, c) for server in servers for c in conversations for _ in range(SOCKETS)]
        tasks = [asyncio.ensure_future(client.run()) for client in clients]
        if not await until(lambda: all(client.live for client in clients)):
            raise RuntimeError("the sockets do not open")
        talking = asyncio.ensure_future(self.talk(clients))
        breaking = asyncio.ensure_future(self.break_things(BETWEEN_KILLS_S if minutes else IN_ONE_ROUND_S))
        await asyncio.sleep(minutes * 60)
        while self.rounds == 0 and not breaking.done():
            await asyncio.sleep(0.2)
        if breaking.done():
            breaking.result()
        breaking.cancel()
        for process in (self.redis, *self.chatferry):
            if process.process.poll() is not None:
                process.start()
                await process.is_up()
        ours = [client for client in clients if client.server in self.chatferry]
        await until(lambda: all(client.live for client in ours))
        # Some more, on a fleet that is well.
        await asyncio.sleep(2)
        talking.cancel()
        ok = await self.judge(ours)
        self.over = True
        for task in tasks:
            task.cancel()
        return ok

    async def settle(self, ours):
        """Whether everything has come, and nothing more comes that would come a second time."""
        while await until(lambda: self.missed(ours) == 0 and all(client.live for client in ours)):
            before = self.stored()
            await asyncio.sleep(3)
            if self.stored() == before:
                return True
        return False

    async def judge(self, ours):
        complete = await self.settle(ours)
        twice = Counter(first for server, first in self.twice if server in self.chatferry)
        endless = [key for key in self.keys_without_end() if not key.endswith(b"$inflight")]
        deaths = self.deaths()
        killed = [death for death in deaths if not EXCUSED.match(death)]
        stored, unsaid = sum(map(len, self.stored().values())), len(self.not_broadcast())
        kills = ", ".join(f"{process.name} {process.kills}" for process in (self.redis, *self.chatferry))
        self.tell(f"{self.said} said, {stored} stored; times killed: {kills}; {self.ended} sockets ended")
        self.tell(f"open Chatferry sockets: {sum(bool(c.live) for c in ours)} of {len(ours)}")
        self.tell(f"missed by them: {self.missed(ours)}; seen twice: {dict(twice)}; ended by a living process: {self.dropped}")
        self.tell(f"Django: {len(self.twice) - twice.total()} seen twice, {len(deaths)} consumers died, {unsaid} stored by them and not broadcast")
        self.tell(f"of these of anything but Redis' absence: {killed}")
        self.tell(f"keys without an end: {endless}")
        return complete and not (twice or self.dropped or endless or killed)

    def rows(self, columns):
        with contextlib.closing(sqlite3.connect(self.database, timeout=PATIENCE_S)) as database:
            return database.execute(f"SELECT id, {columns} FROM messages").fetchall()

    def stored(self):
        """The messages of each conversation."""
        stored = {}
        for number, conversation in self.rows("conversation_id"):
            stored.setdefault(bare(conversation), set()).add(bare(number))
        return stored

    def not_broadcast(self):
        """What Django stored and then told nobody: its consumer died of Redis' absence in between."""
        said_there = {bare(number) for number, content in self.rows("content") if content.startswith("Django")}
        return said_there - self.broadcast

    def missed(self, clients):
        stored, unsaid = self.stored(), self.not_broadcast()
        live = [client for client in clients if client.live]
        return sum(len(stored.get(bare(client.conversation), set()) - unsaid - set(client.seen)) for client in live)

    def deaths(self):
        """What consumers of Django raised, in its own words."""
        logs = [django.log.read_text(errors="replace") for django in self.django]
        raised = [part for log in logs for part in log.split("Exception inside application: ")[1:]]
        return [self.exception(part) for part in raised]

    @staticmethod
    def exception(text):
        """The last line of the traceback at the start of a text, or else the text."""
        lines = re.findall(r"^(?:[a-z_]\w*\.)*[A-Z]\w*(?::.*)?$", text, re.MULTILINE)
        return lines[-1] if lines else text[:1000]

    def keys_without_end(self):
        client = redis.Redis(port=self.redis.port)
        return [key for key in client.keys() if client.ttl(key) == -1]


async def keep(binary, layer, minutes):
    with tempfile.TemporaryDirectory() as directory:
        fleet = Fleet(binary, layer, directory)
        try:
            return await fleet.run(minutes)
        finally:
            fleet.stop()


async def main():
    binary = str(Path(sys.argv[1]).resolve())
    minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 10
    outcomes = await asyncio.gather(*(keep(binary, layer, minutes) for layer in ("core", "pubsub")))
    return all(outcomes)


sys.exit(0 if asyncio.run(main()) else 1)
