"""The whole move while people chat: `python compat/deploy/under_load.py`, or with `--small` while a few chat.

Real Django under Daphne, MariaDB and Redis, nginx or HAProxy in front of the gateway, and clients that are the npm
package `reconnecting-websocket` as it is (tests/clients/reconnecting.mjs). 0, 10, 50, 100 %, Django stopped, started,
0 % again, everybody talking all the time. What must hold, whatever the machine:

- every message that was sent is stored once,
- no socket ever shows a message twice, and a client's new socket shows everything that its last one showed; only a
  socket of Django's may show live what was in its history, for its consumer joins the group before it reads the rows,
- after each step, when all have fallen silent, every open socket of Chatferry has shown every message of its
  conversation exactly once, in the history it got or live,
- so has every socket of Django, but for what Django itself lost: channels_redis drops what waits for a consumer whose
  neighbour disconnects. Such a socket finds it in its next history, and how many there were is told,
- `gateway.shadow_percent = 100` finds no difference between the two, and finds one when Django is changed on purpose.

`--pictures DIRECTORY` gets an SVG of each move: the share, the sockets of both sides, and what the comparison found, over
time. Needs what the tests beside it need, mariadb-server-core, nodejs, and `npm ci` in tests/clients.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

from fronts import HaproxyGateway, NginxGateway
from pair import ROOT, Pair, ask, directory, mariadb, needed, open_socket, redis
from servers import REFERENCE
from tables import rows_of
from watcher import Watcher, scraped, values
from wire import TEXT, frame_bytes

CLIENTS = ROOT / "tests" / "clients"
#: How long anything may take that must happen: slow machines are slow.
PATIENCE_S = 300
#: How long a message that Django has not passed on may still be on its way.
LOST_S = 20
#: Django's own default is 100 events for all sockets of a process; the same on both sides.
CAPACITY = 2000
#: Over which sockets that move are closed.
DRAIN_S = 3
#: Between two messages of a conversation, on average: Django, the database and 200 clients share the machine.
PAUSE_MS = 3000
#: With `--small`: so many conversations, sockets in each and messages in each step, and the pause between them.
SMALL = {"conversations": 12, "each": 2, "messages": 15, "pause_ms": 1000}
#: Said by REST, which no socket hears: it is in histories alone.
REST = "by REST"


def until(what, holds, state=lambda: ""):
    """Waits for a condition; `state` tells how far it is from it."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE_S} s for {what} {state()}")
        time.sleep(0.25)


class Gateway(Pair):
    """Chatferry in front of Django, with a settings file that is read again."""

    percent = 0
    # On a busy machine 200 handshakes at once take longer than Daphne's 5 s. And Daphne gives a consumer 10 s after its
    # socket has ended: what it has not stored by then is lost, however the socket ended.
    daphne = ("--websocket_connect_timeout", str(PATIENCE_S), "--application-close-timeout", str(PATIENCE_S))

    def arguments(self):
        self.write()
        return ["--config", str(self.directory / "chatferry.toml")]

    def write(self):
        (self.directory / "chatferry.toml").write_text(
            f"server.drain_s = {DRAIN_S}\n"
            f"layer.capacity = {CAPACITY}\n"
            f'gateway.upstream = "{self.django.url}"\n'
            f"gateway.rollout_percent = {self.percent}\n"
            "gateway.shadow_percent = 100\n"
        )

    def set_percent(self, percent):
        self.percent = percent
        self.write()
        os.kill(self.chatferry.process.pid, signal.SIGHUP)

    def is_here(self, conversation, percent=None):
        """The documented rule."""
        percent = self.percent if percent is None else percent
        return int(conversation[-4:], 16) * 100 < percent * 65536

    def metrics(self, name):
        """Values of a metric by its labels."""
        return values(scraped(self.chatferry.url), name)

    def metric(self, name):
        return sum(self.metrics(name).values())


class People:
    """The clients, in a process of their own."""

    def __init__(self, case, url, conversations, each):
        self.process = subprocess.Popen(
            [needed(case, "node"), "reconnecting.mjs"],
            cwd=CLIENTS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        case.addCleanup(self.process.__exit__, None, None, None)
        case.addCleanup(self.process.kill)
        self.do("begin", step=0)
        self.do("open", url=url.replace("http", "ws"), conversations=conversations, each=each)

    def do(self, what, **how):
        self.process.stdin.write(json.dumps({"do": what, **how}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


class Move:
    """A subclass names the front and how many talk."""

    front = None
    conversations = 50
    each = 4
    #: Said in each step at least.
    messages = 60
    pause_ms = PAUSE_MS
    #: Where the picture goes, if anywhere.
    pictures = None

    def setUp(self):
        needed(self, self.front.program)
        if not (CLIENTS / "node_modules" / "reconnecting-websocket").exists():
            self.skipTest("no Node packages: npm ci in tests/clients")
        self.database = mariadb(self)
        self.pair = Gateway(self, DATABASE_URL=self.database, REDIS_URL=redis(self), REDIS_CAPACITY=str(CAPACITY))
        self.proxy = self.front(directory(self), *self.pair.ports()).start()
        self.addCleanup(self.proxy.stop)
        self.api = f"{self.proxy.url}/api/chat/conversations/"
        self.by_rest = []
        #: Conversation, client and content of what Django has not passed on.
        self.lost = set()

    def move(self):
        self.ids = [self.create(number) for number in range(self.conversations)]
        self.people = People(self, self.proxy.url, self.ids, self.each)
        with Watcher(self.pair.chatferry.url) as self.watcher:
            self.go_through()
        if self.pictures:
            file = Path(self.pictures) / f"move-{self.front.program}.svg"
            file.write_text(self.watcher.picture(), encoding="utf-8")
            print(file)
        self.assertEqual(self.mismatches(), {})
        compared = self.pair.metric("chatferry_shadow_compared_total")
        self.assertGreater(compared, self.messages)
        moved = self.pair.metric("chatferry_gateway_moved_total")
        self.assertGreaterEqual(moved, 2 * self.conversations * self.each, "there and back")
        print(
            f"{self.front.program}: {len(self.stored())} messages, each stored once; {moved:.0f} sockets moved, "
            f"{compared:.0f} frames and answers compared; Django itself lost {len(self.lost)}"
        )

    def go_through(self):
        self.everybody_is_there("everybody to be there")
        self.talk()
        for percent in (10, 50, 100):
            self.set_percent(percent)
            self.talk()
        self.watcher.mark("Django stops")
        self.pair.django.stop()
        self.talk()
        self.pair.restart_django()
        self.set_percent(0, "Django is back, ")
        self.talk()

    def set_percent(self, percent, before=""):
        self.watcher.mark(f"{before}{percent} %")
        # Whoever is closed from now on comes back to the side that the new share says.
        self.people.do("begin", step=percent)
        self.pair.set_percent(percent)

    def create(self, number):
        status, _, answer = ask(self.api, {"participant1_id": f"a{number}", "participant2_id": f"b{number}"})
        self.assertEqual(status, 201)
        return answer["id"]

    def talk(self):
        """All talk until the step is done and enough was said, then fall silent; and what was shown is judged."""
        before = self.people.do("count")["said"]
        self.people.do("talk", pause_ms=self.pause_ms)
        self.use_rest()
        until("the messages", lambda: self.people.do("count")["said"] - before >= self.messages)
        self.everybody_is_there("every socket to be where it belongs")
        said = self.people.do("hush")["said"]
        expected = sorted([*map(tuple, said), *self.by_rest])
        is_stored = lambda: len(self.stored()) >= len(expected)  # noqa: E731
        until("all that was said to be stored", is_stored, lambda: self.unstored(expected))
        self.assertEqual(self.stored(), expected, "stored once")
        self.judge(said)

    def use_rest(self):
        """Reads and sends of both halves, and of what belongs to no conversation."""
        for id in self.ids[::5]:
            content = f"{REST} {len(self.by_rest)}"
            sent = ask(f"{self.api}{id}/messages/send/", {"sender_id": "a", "content": content})
            self.assertEqual(sent[0], 201)
            self.by_rest.append((id, content))
            for path in (f"{self.api}{id}/", f"{self.proxy.url}/api/chat/users/a0/conversations/"):
                self.assertEqual(ask(path)[0], 200)

    def everybody_is_there(self, what):
        """Waits until everybody has a socket, on the side that has the conversation."""
        here = self.each * sum(map(self.pair.is_here, self.ids))
        wanted = (self.conversations * self.each, here, self.conversations * self.each - here)
        until(f"{what}, at {self.pair.percent} %: {wanted}", lambda: self.sockets() == wanted, self.sockets)

    def sockets(self):
        """Open at the clients, at Chatferry, and through it at Django."""
        passed = self.pair.metric("chatferry_gateway_ws_open")
        return self.people.do("count")["open"], self.pair.metric("chatferry_ws_open"), passed

    def judge(self, said):
        """What every open socket has shown, once nothing is on its way any more."""
        patient_until = time.monotonic() + PATIENCE_S
        django_until = time.monotonic() + LOST_S
        while True:
            missing = self.missing(said)
            ours = {one for one in missing if self.pair.is_here(one[0])}
            missing -= self.lost - ours
            if not missing or (not ours and time.monotonic() > django_until) or time.monotonic() > patient_until:
                break
            time.sleep(0.2)
        self.assertEqual(ours, set(), "not shown by a socket of Chatferry")
        self.lost |= missing
        self.assertLess(len(self.lost), len(said) * self.each / 10, "Django passes on hardly anything")
        for client in self.people.do("tell")["clients"]:
            self.assertEqual(client["others"], [], "nobody has provoked an error")
            twice = [
                one
                for one in client["twice"]
                if self.pair.is_here(client["conversation"], one["step"]) or not one["history"]
            ]
            self.assertEqual(twice, [], "shown twice")
            self.assertEqual(client["forgotten"], [], "shown by one socket, and not in the history of the next")

    def missing(self, said):
        """What open sockets have not shown: conversation, client and content."""
        contents = {}
        for conversation, content in said:
            contents.setdefault(conversation, []).append(content)
        return {
            (client["conversation"], client["name"], content)
            for client in self.people.do("tell")["clients"]
            for content in contents.get(client["conversation"], [])
            if content not in client["seen"]
        }

    def stored(self):
        """Conversations and contents of all rows."""
        return sorted(map(tuple, rows_of(self.database, "SELECT conversation_id, content FROM messages", [])))

    def unstored(self, expected):
        """For a failure: what is missing, and how sockets have ended."""
        missing = sorted(set(expected) - set(self.stored()))
        clients = self.people.do("tell")["clients"]
        odd = [(client["closes"], client["others"]) for client in clients if client["closes"] or client["others"]]
        killed = self.pair.django.log.read_text(encoding="utf-8", errors="replace").count("took too long")
        return missing, odd, f"{killed} consumers were killed", self.pair.chatferry.log_end()

    def mismatches(self):
        counted = self.pair.metrics("chatferry_shadow_mismatch_total")
        return {kind: count for kind, count in counted.items() if count}


class WithNginx(Move, unittest.TestCase):
    front = NginxGateway

    #: What is changed: the kind of the difference, what the log says of it, a file, and texts in it with new ones.
    CHANGES = {
        "a renamed field": (
            "message",
            "kind, created_at",
            "chat/serializers.py",
            ('"message_type", "created_at"', '"kind", "created_at"'),
            (
                "class MessageSerializer(serializers.ModelSerializer):\n",
                "class MessageSerializer(serializers.ModelSerializer):\n"
                '    kind = serializers.CharField(source="message_type")\n\n',
            ),
        ),
        "another datetime format": (
            "message",
            "created_at: Django has",
            "service/settings.py",
            ("REST_FRAMEWORK = {", 'REST_FRAMEWORK = {"DATETIME_FORMAT": "%Y-%m-%d %H:%M:%S", '),
        ),
        "another close code": (
            "close",
            "closes with 4400",
            "chat/consumers.py",
            ('await self.send_json({"error": "Invalid JSON format"})', "await self.close(code=4400)"),
        ),
    }

    def test_everybody_goes_through_a_move_and_a_changed_django_is_noticed(self):
        self.move()
        for what, (kind, told, file, *replaced) in self.CHANGES.items():
            with self.subTest(what):
                self.notices(kind, told, self.changed(file, replaced))

    def changed(self, file, replaced):
        """A copy of the reference with texts in one file replaced."""
        home = directory(self) / "reference"
        shutil.copytree(REFERENCE, home, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3*"))
        source = (home / file).read_text(encoding="utf-8")
        for old, new in replaced:
            self.assertIn(old, source)
            source = source.replace(old, new)
        (home / file).write_text(source, encoding="utf-8")
        return home

    def notices(self, kind, told, home):
        """As soon as it is used, the shadow tells that Django is not the same any more."""
        self.assertNotIn(told, self.log())
        self.pair.django.stop()
        self.pair.restart_django(home)
        self.people.do("talk", pause_ms=self.pause_ms)
        until(told, lambda: self.is_told(kind, told))
        self.people.do("hush")

    def is_told(self, kind, told):
        """Whether the log and the metrics tell; provoked each time, as a flood of lines is only counted."""
        asyncio.run(self.provoke())
        return told in self.log() and f'{{kind="{kind}"}}' in self.mismatches()

    def log(self):
        return self.pair.chatferry.log.read_text(encoding="utf-8")

    async def provoke(self):
        """What is answered with an error, and nothing else ever provokes."""
        client, _ = await open_socket(self.proxy, self.ids[0])
        await client.send(frame_bytes(TEXT, b"{"))
        await client.until_probe(PATIENCE_S)
        await client.abort()


class WithHaproxy(Move, unittest.TestCase):
    front = HaproxyGateway
    conversations = 20
    each = 3
    messages = 40

    def test_everybody_goes_through_a_move(self):
        self.move()


def main(arguments):
    if "--pictures" in arguments:
        at = arguments.index("--pictures")
        _, Move.pictures = arguments[at : at + 2]
        del arguments[at : at + 2]
    if "--small" in arguments:
        arguments.remove("--small")
        for case in (WithNginx, WithHaproxy):
            for name, value in SMALL.items():
                setattr(case, name, value)
    unittest.main(argv=arguments)


if __name__ == "__main__":
    main(sys.argv)
