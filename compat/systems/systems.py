"""What the players of other systems share: servers on free ports, empty databases, sockets."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

#: Key of the tokens, of the reference and of Chatferry.
SECRET = "0123456789abcdef0123456789abcdef"
#: Ends the wait for a server that does not come up.
START_S = 120
#: Seconds after which an answer, or a frame that must come, is missed.
PATIENCE = 20
#: Seconds in which a frame that must not come would have come.
QUIET = 0.6


class Server:
    """A running server; what it says goes into its log."""

    def __init__(self, process, base, log):
        self.process, self.base, self.log = process, base, log

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def wait(self, path):
        """Waits until `path` is answered, whatever the answer."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                return urllib.request.urlopen(self.base + path, timeout=START_S).close()
            except urllib.error.HTTPError:
                return None
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.log.seek(0)
                    raise RuntimeError(f"{self.base} does not come up:\n{self.log.read()[-3000:]}") from None
                time.sleep(0.05)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def uvicorn(home, **env):
    """The reference in this directory, on FastAPI."""
    port = free_port()
    command = (sys.executable, "-m", "uvicorn", "reference:app", "--port", str(port), "--log-level", "warning")
    with running(command, port, home, SECRET_KEY=SECRET, **env) as server:
        yield server


@contextlib.contextmanager
def chatferry(binary, system, **settings):
    """Chatferry with a system at an address of its own. Settings are those of the system's section, or with a section."""
    port = free_port()
    own = {"BIND": f"127.0.0.1:{port}", "SECRET_KEY": SECRET} | settings
    own = {name if "__" in name else f"{system.upper()}__{name}": value for name, value in own.items()}
    base = {"DIALECTS": f"django,{system}", "SERVER__BIND": f"127.0.0.1:{free_port()}", "SERVER__DRAIN_S": "2"}
    env = {f"CHATFERRY__{name}": value for name, value in (base | own).items()}
    with tempfile.TemporaryDirectory() as home, running((Path(binary).resolve(), "serve"), port, home, **env) as server:
        yield server


@contextlib.contextmanager
def running(command, port, home, **env):
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=home, env=os.environ | env, stdout=log, stderr=log)
        server = Server(process, f"http://127.0.0.1:{port}", log)
        try:
            server.wait("/health")
            yield server
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@contextlib.contextmanager
def databases(url, name, count):
    """Empty databases of PostgreSQL beside this one."""
    import asyncpg

    async def run(*statements):
        db = await asyncpg.connect(url)
        for statement in statements:
            await db.execute(statement)
        await db.close()

    names = [f"{name}_{number}" for number in range(count)]
    drop = [f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in names]
    asyncio.run(run(*drop, *(f"CREATE DATABASE {name}" for name in names)))
    try:
        yield [f"{url.rsplit('/', 1)[0]}/{name}" for name in names]
    finally:
        asyncio.run(run(*drop))


class Socket:
    """A WebSocket; `normal` names what differs by nature."""

    def __init__(self, url, normal, headers=(), **options):
        self.refused, self.normal = None, normal
        try:
            options = {"compression": None, "open_timeout": PATIENCE, "ping_interval": None, "max_size": None} | options
            self.socket = connect(url, additional_headers=dict(headers), **options)
        except InvalidStatus as refusal:
            answer = refusal.response
            self.refused = (answer.status_code, answer.headers.get("content-type"), answer.body or b"")

    def next(self, within=PATIENCE):
        """The next frame as text, the close code as a number, or None in the time."""
        if self.refused:
            return self.refused
        try:
            return self.socket.recv(within)
        except TimeoutError:
            return None
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006

    def shown(self, within=PATIENCE):
        frame = self.next(within)
        return self.normal(frame) if isinstance(frame, str) else frame

    def silent(self):
        """What comes although nothing should."""
        return self.shown(QUIET)

    def say(self, frame):
        self.socket.send(frame)

    def close(self):
        if not self.refused:
            self.socket.close()


def expect(frame, part):
    assert isinstance(frame, str) and part in frame, f"{frame!r} has no {part!r}"


def compare(theirs, ours, different):
    """The number of answers that differ and should not, or should and do not. Each has a name, which may be a part's."""
    wrong = 0
    for (name, their), (same, our) in zip(theirs, ours, strict=True):
        assert name == same, (name, same)
        if (their == our) == (name.split(": ", 1)[-1] in different):
            wrong += 1
            print(f"{name}\n  reference  {their}\n  Chatferry  {our}", flush=True)
    return wrong
