"""What is measured: the servers, each with a database of its own on the machine's database servers."""

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import services
from provision import node, venv
from server import release_binary
from servers import REFERENCE, StartError, clean_environment, free_port, launch
from shell import Failed, run, scratch

HERE = Path(__file__).resolve().parent
# What Chatferry and the others keep their things in, by the names of their programs.
SERVERS = ("mariadbd", "redis-server")
NODE = HERE.parent / "node"


@dataclass(frozen=True)
class Service:
    name: str
    # What its database is: mariadb, postgresql, sqlite.
    database: str
    # Given the port: the command, and where it is run.
    command: Callable
    redis: bool = True

    @property
    def is_ours(self):
        return self.name.startswith("Chatferry")


def python():
    """A Python with the reference and everything that serves it."""
    requirements = sorted(REFERENCE.glob("requirements*.txt"))
    return venv("bench", *requirements, HERE.parent / "requirements.txt")


def daphne(port):
    return (python(), "-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", port, "service.asgi:application"), REFERENCE


def uvicorn(port):
    quiet = ("--no-access-log", "--log-level", "warning", "--lifespan", "off")
    return (python(), "-m", "uvicorn", "--port", port, *quiet, "service.asgi:application"), REFERENCE


def granian(port):
    tool = python().with_name("granian")
    return (tool, "--interface", "asginl", "--port", port, "--no-log", "service.asgi:application"), REFERENCE


def by_hand(port):
    return (node(NODE), NODE / "server.mjs", port), NODE


def chatferry(_):
    return (release_binary(), "serve"), None


SERVICES = [
    Service("Daphne", "mariadb", daphne),
    Service("uvicorn", "mariadb", uvicorn),
    Service("Granian", "mariadb", granian),
    Service("Node", "mariadb", by_hand),
    Service("Chatferry", "mariadb", chatferry),
    Service("Chatferry, PostgreSQL", "postgresql", chatferry),
    Service("Chatferry, SQLite", "sqlite", chatferry, redis=False),
]


class Machine:
    """The database servers and the Redis of this run."""

    def __init__(self, servers, pool="1G"):
        """`servers` is an ExitStack, which stops them. `pool` is what MariaDB keeps of its tables in memory."""
        self.servers, self.pool = servers, pool
        self.urls, self.filled = {}, {}
        self.redis = servers.enter_context(services.redis())

    def server(self, kind):
        """The URL of a database server of this kind; started when it is first asked for."""
        if kind not in self.urls:
            # Mostly all that is measured fits into the pool: what is compared are servers, and not how full their tables are.
            options = {"mariadb": {"innodb_flush_log_at_trx_commit": 1, "innodb_buffer_pool_size": self.pool}}.get(kind, {})
            self.urls[kind] = self.servers.enter_context(getattr(services, kind)(**options))
        return self.urls[kind]

    def database(self, service):
        """The URL of the service's own database, with tables."""
        url = self.server(service.database)
        if service.database == "mariadb":
            name = "bench_" + "".join(letter for letter in service.name.lower() if letter.isalpha())
            self.fill(url, [f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"])
            url = url.rpartition("/")[0] + f"/{name}"
        elif service.database == "sqlite":
            url = f"sqlite://{scratch() / 'bench.sqlite3'}"
        if url not in self.filled:
            run(release_binary(), "migrate", cwd=scratch(), DATABASE_URL=url)
            self.filled[url] = {}
        return url

    def fill(self, url, wanted):
        """See fill.py."""
        filling = [python(), HERE / "fill.py", url, json.dumps(wanted)]
        done = subprocess.run([str(part) for part in filling], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"fill.py: {done.stderr[-3000:]}")
        return json.loads(done.stdout)

    def reads(self, url):
        """See reads.py. `None` for a database without a server."""
        if url.startswith("sqlite"):
            return None
        asked = [str(python()), str(HERE / "reads.py"), url]
        return int(subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout)

    def pids(self):
        """The processes of the database servers and of Redis."""
        ours = {(name, os.getpid()) for name in SERVERS}
        return [pid for pid in every_pid() if stat(pid)[:2] in ours]

    def groups(self, first, last):
        """Groups of the channel layer, numbered, each with a member in another process."""
        parts = urlsplit(self.redis)
        with socket.create_connection((parts.hostname, parts.port)) as connection, connection.makefile("rb") as answers:
            for number in range(first, last):
                line = f"ZADD asgi:group:chat_many-{number} {time.time()} specific.elsewhere!{number}\r\n"
                connection.sendall(line.encode())
                answers.readline()

    @contextlib.contextmanager
    def running(self, service, **settings):
        """The service, up and answering; stopped at the end."""
        url, port = self.database(service), free_port()
        env = {"DATABASE_URL": url, **{f"CHATFERRY__{name}": str(value) for name, value in settings.items()}}
        if service.redis:
            env["REDIS_URL"] = self.redis
        if service.is_ours:
            env["CHATFERRY__SERVER__BIND"] = f"127.0.0.1:{port}"
            env["CHATFERRY__SERVER__DRAIN_S"] = "0"
        what, where = service.command(str(port))
        log = scratch() / f"{service.name.replace(', ', '-')}-{port}.log"
        what = [str(part) for part in what]
        server = launch(service.name, what, clean_environment(**env), where or scratch(), port, url, log)
        try:
            server.wait_until_it_answers()
            yield Running(port, server.process.pid)
        except StartError as error:
            raise Failed(str(error)) from error
        finally:
            server.stop()


@dataclass(frozen=True)
class Running:
    """A service that runs."""

    port: int
    pid: int

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def pids(self):
        """Its process, and those it has started."""
        return [pid for pid in every_pid() if stat(pid)[2] == self.pid]

    def metrics(self):
        """The lines of its metrics, each a name with its labels and a value."""
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=30) as answer:
            return answer.read().decode().splitlines()

    def metric(self, name):
        return next(float(line.split()[1]) for line in self.metrics() if line.startswith(f"{name} "))

    def metric_sum(self, name):
        """The sum over all labels."""
        return sum(float(line.rsplit(" ", 1)[1]) for line in self.metrics() if line.startswith(f"{name}{{"))


def every_pid():
    return map(int, filter(str.isdigit, os.listdir("/proc")))


def stat(pid):
    """The name of a process, its parent and its session."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return "", 0, 0
    name, _, rest = text.partition("(")[2].rpartition(")")
    _, parent, _, session, *_ = rest.split()
    return name, int(parent), int(session)
