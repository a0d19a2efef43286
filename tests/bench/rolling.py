"""Rolling restarts of two processes on one port, one SQLite file and one Redis, under many chatting sockets.

    python tests/bench/rolling.py BINARY [SOCKETS [RESTARTS]]

Each time the new process listens beside the old one, and then the old one drains. At the end every message that its
sender has heard back must be stored, every socket must have seen every message of its conversation, and the sockets
must not have come back in one crowd. Needs redis-server and websockets.
"""

import asyncio
import collections
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import websockets

sys.path.append(str(Path(__file__).resolve().parents[2] / "compat" / "kit"))

from servers import free_port

IN_EACH = 10  # sockets of one conversation
PAUSE_S = 2.0  # between two messages of one
DRAIN_S = 20
TELL_S = 2  # between two lines of progress
SETTLED_S = 300  # longest that the last messages may take
# Of all that come back, not more than this share in any second; an even spread over 12 s is 0.08.
CROWD = 0.4


class Person:
    """A socket that comes back whenever it is sent away."""

    def __init__(self, name, url):
        self.name, self.url = name, url
        self.seen, self.acknowledged = set(), set()
        # Sent on the open socket and not heard back yet.
        self.awaited = set()
        self.is_here, self.returns, self.failures = False, [], collections.Counter()

    async def live(self, talking):
        number = 0
        while True:
            try:
                async with websockets.connect(self.url, max_queue=None, open_timeout=60) as connection:
                    self.note(json.loads(await connection.recv()))
                    self.is_here = True
                    hearing = asyncio.create_task(self.hear(connection))
                    while not hearing.done():
                        if talking.is_set():
                            number += 1
                            content = f"{self.name} {number}"
                            self.awaited.add(content)
                            said = {"type": "chat_message", "sender_id": self.name, "content": content}
                            await connection.send(json.dumps(said))
                        await asyncio.wait([hearing], timeout=PAUSE_S)
                    raise hearing.result()
            except websockets.ConnectionClosed as closed:
                assert closed.rcvd and closed.rcvd.code == 1012, closed
                self.is_here = False
                self.awaited.clear()
                self.returns.append(time.monotonic())
            except (OSError, websockets.InvalidHandshake) as failure:
                self.failures[str(failure) or type(failure).__name__] += 1
                await asyncio.sleep(0.1)

    async def hear(self, connection):
        """Why there is nothing more to hear."""
        try:
            while True:
                self.note(json.loads(await connection.recv()))
        except websockets.ConnectionClosed as closed:
            return closed

    def note(self, frame):
        for message in frame.get("messages", [frame.get("message")]):
            self.seen.add(message["content"])
            if message["sender_id"] == self.name and frame["type"] == "chat_message":
                self.acknowledged.add(message["content"])
                self.awaited.discard(message["content"])


class Chat:
    """The processes, one after the other on the same port."""

    def __init__(self, binary, directory):
        self.binary, self.directory = binary, Path(directory)
        self.port, self.redis_port = free_port(), free_port()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        redis = ["redis-server", "--port", str(self.redis_port), "--save", "", "--dir", str(self.directory)]
        self.redis = subprocess.Popen(redis, **quiet)
        self.processes = []

    def start(self):
        settings = {
            "SERVER__BIND": f"127.0.0.1:{self.port}",
            "SERVER__REUSE_PORT": "true",
            "SERVER__DRAIN_S": str(DRAIN_S),
            "LAYER__BACKEND": "redis",
            "LAYER__HOSTS": f"redis://127.0.0.1:{self.redis_port}",
        }
        environment = {**os.environ, **{f"CHATFERRY__{name}": value for name, value in settings.items()}}
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                [self.binary, "serve"], cwd=self.directory, env=environment, stdout=subprocess.PIPE, stderr=log
            )
        self.processes.append(process)
        assert b" listens on " in process.stdout.readline(), (self.directory / "log").read_text(encoding="utf-8")

    async def restart(self):
        old = self.processes[-1]
        await asyncio.to_thread(self.start)
        old.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(old.wait, DRAIN_S + 30)

    def stop(self):
        for process in (*self.processes, self.redis):
            process.kill()
            process.wait()

    def conversation(self, number):
        pair = json.dumps({"participant1_id": f"rolling-{number}", "participant2_id": "x"}).encode()
        headers = {"Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self.port}/api/chat/conversations/"
        with urllib.request.urlopen(urllib.request.Request(url, pair, headers), timeout=60) as answer:
            return f"ws://127.0.0.1:{self.port}/ws/chat/{json.load(answer)['id']}/"

    def stored(self):
        with sqlite3.connect(self.directory / "chat.sqlite3") as database:
            return {content for (content,) in database.execute("SELECT content FROM messages")}


async def until(what, holds, longest_s=SETTLED_S):
    deadline = time.monotonic() + longest_s
    while not holds():
        assert time.monotonic() < deadline, f"waited {longest_s} s for {what}"
        await asyncio.sleep(0.2)


async def tell(people, turn):
    """Prints how many are back after a restart, again and again."""
    began = time.monotonic()
    while True:
        await asyncio.sleep(TELL_S)
        back = sum(person.is_here and len(person.returns) == turn for person in people)
        print(f"{time.monotonic() - began:4.0f} s: {back} of {len(people)} are back", flush=True)


async def roll(chat, sockets, restarts):
    await asyncio.to_thread(chat.start)
    urls = [chat.conversation(number) for number in range(sockets // IN_EACH)]
    people = [Person(f"p{number}", urls[number % len(urls)]) for number in range(sockets)]
    talking = asyncio.Event()
    talking.set()
    lives = [asyncio.create_task(person.live(talking)) for person in people]
    await until("everybody to be heard", lambda: all(person.acknowledged for person in people))
    codes, crowds = [], []
    for turn in range(1, restarts + 1):
        before = time.monotonic()
        print(f"restart {turn} of {restarts}", flush=True)
        telling = asyncio.create_task(tell(people, turn))
        codes.append(await chat.restart())
        await until("everybody to be back", lambda: all(person.is_here and len(person.returns) == turn for person in people))
        telling.cancel()
        back = [person.returns[-1] - before for person in people]
        crowds.append(max(collections.Counter(int(at) for at in back).values()) / len(back))
        print(f"exit code {codes[-1]}; {len(back)} came back over {max(back) - min(back):.1f} s, "
              f"at most {crowds[-1]:.0%} of them in one second", flush=True)
    talking.clear()
    await until("what was said last", lambda: not any(person.awaited for person in people))
    stored = chat.stored()
    of = {url: {c for p in people if p.url == url for c in stored if c.startswith(f"{p.name} ")} for url in urls}
    await until("everybody to have seen everything", lambda: all(person.seen >= of[person.url] for person in people))
    for life in lives:
        assert not life.done(), life.exception()
        life.cancel()
    failures = sum((person.failures for person in people), collections.Counter())
    acknowledged = set().union(*(person.acknowledged for person in people))
    print(f"{sockets} sockets, {restarts} restarts, {len(stored)} messages stored, {len(acknowledged)} acknowledged, "
          f"{len(acknowledged - stored)} lost; attempts to come back that failed: {dict(failures)}")
    assert not acknowledged - stored
    assert codes == [0] * restarts and max(crowds) <= CROWD


def main(binary, sockets="500", restarts="2"):
    with tempfile.TemporaryDirectory(prefix="rolling-") as directory:
        chat = Chat(binary, directory)
        try:
            asyncio.run(roll(chat, int(sockets), int(restarts)))
        finally:
            chat.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
