"""The two servers behind a front, and the clients that speak to it."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from fronts import HERE, program
from servers import PATIENT, REFERENCE, clean_environment, free_port, launch, migrate_reference
from socket_client import SocketClient
from tables import rows_of
from wire import Stream, upgrade_bytes

ROOT = HERE.parent.parent
sys.path.append(str(ROOT / "tests" / "runner"))

import services  # noqa: E402
from shell import Skipped  # noqa: E402

# Nothing is expected to take as long: it ends a test that failed, on a machine that is busy.
PATIENCE_S = 300


def binary():
    built = [ROOT / "target" / kind / "chatferry" for kind in ("release", "debug")]
    named = os.environ.get("CHATFERRY_BINARY")
    found = [Path(named)] if named else [path for path in built if path.exists()]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def directory(case):
    made = tempfile.TemporaryDirectory(prefix="chatferry-deploy-")
    case.addCleanup(made.cleanup)
    return Path(made.name)


def needed(case, name):
    """The path of a program, without which the test is skipped."""
    found = program(name)
    if not found:
        case.skipTest(f"{name} is not installed")
    return found


def redis(case):
    """The URL of an empty Redis, which is gone with the test."""
    needed(case, "redis-server")
    return case.enterContext(services.redis())


def mariadb(case):
    """The URL of an empty database, which is gone with the test."""
    needed(case, "mariadbd")
    try:
        return case.enterContext(services.mariadb())
    except Skipped as reason:
        case.skipTest(str(reason))


def settings_in_force(case, variables, *arguments):
    """The output of `chatferry config` with these variables, each of which must be one it knows."""
    chatferry = binary()
    if chatferry is None:
        case.skipTest("no chatferry binary: build it, or name it in CHATFERRY_BINARY")
    command = [chatferry.resolve(), "config", *arguments]
    done = subprocess.run(
        command,
        env=clean_environment(**variables),
        cwd=directory(case),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    case.assertEqual((done.returncode, done.stderr), (0, ""))
    for name, value in variables.items():
        case.assertIn(f"file {value}" if name.endswith("_FILE") else f"environment {name}", done.stdout)
    return done.stdout


class Pair:
    """The reference and Chatferry on one database, a SQLite file if none is named, and on one Redis if one is."""

    #: What else Daphne is told.
    daphne = ()

    def __init__(self, case, **shared):
        chatferry = binary()
        if chatferry is None:
            case.skipTest("no chatferry binary: build it, or name it in CHATFERRY_BINARY")
        self.directory = directory(case)
        self.database = self.directory / "chat.sqlite3"
        self.shared = {"DATABASE_URL": f"sqlite://{self.database}", **shared}
        migrate_reference(self.shared["DATABASE_URL"])
        self.django = self.start_django(free_port())
        # Whichever runs then: it may have been restarted.
        case.addCleanup(lambda: self.django.stop())
        self.chatferry = self.start_chatferry(chatferry, free_port())
        case.addCleanup(self.chatferry.stop)
        for server in (self.django, self.chatferry):
            server.wait_until_it_answers()

    def start_django(self, port, home=REFERENCE):
        listen = ("-b", "127.0.0.1", "-p", str(port))
        command = [sys.executable, "-m", "daphne", *PATIENT, *self.daphne, *listen, "service.asgi:application"]
        environment = clean_environment(**self.shared)
        log = self.directory / "django.log"
        return launch("the reference", command, environment, home, port, self.database, log)

    def start_chatferry(self, program, port):
        environment = clean_environment(**self.shared, CHATFERRY__SERVER__BIND=f"127.0.0.1:{port}")
        log = self.directory / "chatferry.log"
        command = [str(program.resolve()), "serve", *self.arguments()]
        return launch("chatferry", command, environment, self.directory, port, self.database, log)

    def arguments(self):
        """What else `serve` is told."""
        return []

    def ports(self):
        return urlsplit(self.django.url).port, urlsplit(self.chatferry.url).port

    def restart_django(self, home=REFERENCE):
        """At the address it had; `home` may be a changed copy."""
        self.django = self.start_django(urlsplit(self.django.url).port, home)
        self.django.wait_until_it_answers()

    def as_a_task(self, code):
        """Runs code in a Django process of its own, as a Celery worker would."""
        command = [sys.executable, "manage.py", "shell", "-c", code]
        done = subprocess.run(
            command, env=clean_environment(**self.shared), cwd=REFERENCE, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise AssertionError(done.stderr)

    def stored(self):
        """Contents of all messages."""
        return sorted(content for (content,) in rows_of(self.database, "SELECT content FROM messages", []))


def ask(url, body=None, method=None):
    """(status, who served it, the answer)."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.headers["X-Chat-Served-By"], json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["X-Chat-Served-By"], error.read()


async def open_socket(front, conversation):
    """A client and who serves it."""
    parts = urlsplit(front.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    stream = Stream(reader, writer)
    await stream.write(upgrade_bytes(f"/ws/chat/{conversation}/", {}, f"{parts.hostname}:{parts.port}"))
    answer = await stream.read_response()
    if answer.status != 101:
        raise AssertionError(f"{answer.status} for {conversation}")
    return SocketClient(stream), answer.header("x-chat-served-by")
