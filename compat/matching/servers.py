"""Starts the reference, and Chatferry with the matching chat mounted, on free ports, and ends them."""

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

HERE = Path(__file__).resolve().parent
SECRET = "0123456789abcdef0123456789abcdef"
SERVICE = "a-token-of-a-service"
#: Ends the wait for a server that does not come up.
START_S = 120


class Server:
    def __init__(self, process, base, log):
        self.process, self.base, self.log = process, base, log

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def reference(database, redis):
    port = free_port()
    env = os.environ | {"DATABASE_URL": database, "REDIS_URL": redis, "SECRET_KEY": SECRET}
    command = (sys.executable, "-m", "uvicorn", "reference:app", "--port", str(port), "--log-level", "warning")
    with running(command, f"http://127.0.0.1:{port}", HERE, env) as server:
        yield server


@contextlib.contextmanager
def chatferry(binary, database, redis, **settings):
    port = free_port()
    settings = {
        "DIALECTS": "django,matching",
        "SERVER__BIND": f"127.0.0.1:{free_port()}",
        "SERVER__DRAIN_S": "2",
        "MATCHING__BIND": f"127.0.0.1:{port}",
        "MATCHING__DATABASE_URL": database,
        "MATCHING__REDIS": redis,
        "MATCHING__SECRET_KEY": SECRET,
        "MATCHING__SERVICE_TOKEN": SERVICE,
    } | settings
    env = os.environ | {f"CHATFERRY__{name}": value for name, value in settings.items()}
    with tempfile.TemporaryDirectory() as home:
        with running((Path(binary).resolve(), "serve"), f"http://127.0.0.1:{port}", home, env) as server:
            yield server


@contextlib.contextmanager
def running(command, base, home, env):
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=home, env=env, stdout=log, stderr=log)
        server = Server(process, base, log)
        try:
            wait(server)
            yield server
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def wait(server):
    deadline = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(f"{server.base}/openapi.json", timeout=START_S).close()
            return
        except OSError:
            if server.process.poll() is not None or time.monotonic() > deadline:
                server.log.seek(0)
                raise RuntimeError(f"{server.base} does not come up:\n{server.log.read()[-3000:]}") from None
            time.sleep(0.05)
