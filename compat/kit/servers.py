"""Starts and stops the two servers of a side-by-side run: the reference under daphne, and a Chatferry binary."""

import atexit
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

REFERENCE = Path(__file__).resolve().parent.parent / "reference"
#: Ends the wait for a server that lives and does not answer: Django's start takes seconds of processor time, which a
#: machine that is full spreads over minutes.
START_TIMEOUT_S = 600
#: Otherwise Daphne refuses a handshake that takes five seconds, as on a busy machine.
PATIENT = ("--websocket_connect_timeout", "120")


class StartError(Exception):
    """A server did not come up; the message carries the end of its log."""


@dataclass
class Server:
    """A running server; `stop` ends it and everything it started."""

    name: str
    url: str
    database: Path
    process: subprocess.Popen
    log: Path

    def wait_until_it_answers(self):
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/api/chat/users/nobody/conversations/", timeout=START_TIMEOUT_S):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise StartError(f"{self.name} does not answer at {self.url}:\n{self.log_end()}")

    def log_end(self):
        return self.log.read_text(encoding="utf-8", errors="replace")[-3000:]

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


# What marks ports as taken, see free_port.
_claims = []


def free_port():
    """A port that nobody else is given for as long as this process lives, whether or not its server runs.

    It lies below those that the kernel takes for outgoing connections, and the UDP port of the same number is held,
    as the integration tests do.
    """
    for port in random.sample(range(10_000, 32_000), 1000):
        claim = socket.socket(type=socket.SOCK_DGRAM)
        with socket.socket() as probe:
            try:
                claim.bind(("127.0.0.1", port))
                probe.bind(("127.0.0.1", port))
            except OSError:
                claim.close()
                continue
        _claims.append(claim)
        return port
    raise StartError("no port is free")


def clean_environment(**settings):
    """The caller's environment without settings that would reach into either server."""
    dropped = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "PORT", "DJANGO_SETTINGS_MODULE")
    kept = {k: v for k, v in os.environ.items() if k not in dropped and not k.startswith("CHATFERRY__")}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **settings}


def tied(command):
    """The command, to be ended by the system when we are, however that happens: for a thread that lives as long as we.

    Without `setpriv` (util-linux) it is the command as it is.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--", *command] if setpriv else command


def launch(name, command, environment, directory, port, database, log):
    with log.open("wb") as output:
        process = subprocess.Popen(
            tied(command), env=environment, cwd=directory, stdout=output, stderr=output, start_new_session=True
        )
    return Server(name, f"http://127.0.0.1:{port}", database, process, log)


def url_of(database):
    """DATABASE_URL of a SQLite file; a URL is one already."""
    return f"sqlite://{database}" if isinstance(database, Path) else database


def migrate_reference(database, python=sys.executable):
    """Django's tables in a SQLite file or a database; on one that has the tables already, only Django's notes about them."""
    file = Path(url_of(database).removeprefix("sqlite://"))
    if not url_of(database).startswith("sqlite://") or file.exists():
        return migrate(url_of(database), python)
    return shutil.copy(migrated_file(python), file)


@functools.cache
def migrated_file(python):
    """A SQLite file with Django's tables. To copy it takes no time, to make another takes seconds."""
    directory = tempfile.mkdtemp(prefix="chatferry-tables-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    file = Path(directory) / "chat.sqlite3"
    migrate(url_of(file), python)
    return file


def migrate(url, python):
    environment = clean_environment(DATABASE_URL=url)
    command = [python, "manage.py", "migrate", "--fake-initial", "--verbosity", "0"]
    done = subprocess.run(command, env=environment, cwd=REFERENCE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StartError(f"manage.py migrate failed:\n{done.stderr[-3000:]}")


def start_reference(directory, database, language="en-us", python=sys.executable):
    port = free_port()
    environment = clean_environment(DATABASE_URL=url_of(database), DJANGO_LANGUAGE=language)
    command = [python, "-m", "daphne", *PATIENT, "-b", "127.0.0.1", "-p", str(port), "service.asgi:application"]
    return launch("the reference", command, environment, REFERENCE, port, database, directory / "reference.log")


def start_binary(binary, directory, database, language="en-us"):
    port = free_port()
    environment = clean_environment(
        CHATFERRY__SERVER__BIND=f"127.0.0.1:{port}",
        # As much as PATIENT gives those of Daphne's.
        CHATFERRY__SERVER__HEADER_TIMEOUT_S="120",
        CHATFERRY__DJANGO__LANGUAGE="ko" if language.startswith("ko") else language,
        DATABASE_URL=url_of(database),
    )
    command = [str(binary.resolve()), "serve"]
    return launch("chatferry", command, environment, directory, port, database, directory / "chatferry.log")


def start_hosted(binary, directory, database, language="en-us", python=sys.executable):
    """The reference again, in a worker of Chatferry."""
    port = free_port()
    environment = clean_environment(
        CHATFERRY__SERVER__BIND=f"127.0.0.1:{port}",
        CHATFERRY__SERVER__HEADER_TIMEOUT_S="120",
        # Of the chat of its own, which nothing leads to.
        CHATFERRY__STORE__URL=url_of(directory / "own.sqlite3"),
        PYTHONPATH=str(REFERENCE.parent / "chatferry_compat"),
        DATABASE_URL=url_of(database),
        DJANGO_LANGUAGE=language,
    )
    command = [str(binary.resolve()), "host", "--command", f"{python} -m chatferry_worker service.asgi:application"]
    return launch("the hosted reference", command, environment, REFERENCE, port, database, directory / "hosted.log")
