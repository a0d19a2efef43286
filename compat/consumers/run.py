"""Plays every shape on Daphne and on Chatferry, with consumers parked and awake, and compares what was seen.

    python compat/consumers/run.py --binary target/release/chatferry [SHAPE…]

Needs redis-server and the packages of compat/reference. Differences on purpose are in `ON_PURPOSE`, each a row of
STATUS.md; anything else that differs fails the run.
"""

import argparse
import asyncio
import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HOME = Path(__file__).resolve().parent
sys.path[:0] = [str(HOME), str(HOME.parent / "kit")]

import channels_redis.core  # noqa: E402
import redis.asyncio  # noqa: E402
from player import PATIENCE_S, Player  # noqa: E402
from servers import clean_environment, free_port, tied  # noqa: E402
import web_shapes  # noqa: E402, F401
from shapes import SHAPES  # noqa: E402

HIBERNATED = 'chatferry_host_level_ws_open{level="hibernated"}'

#: By shape and server: what is right instead.
ON_PURPOSE = {}


class Broken(str):
    """Why a shape could not be played to its end."""


class Site:
    """A server with the project behind it, and a Redis of its own."""

    #: The directory of the project, and what shows that it serves: a path, and a frame that is answered.
    home = HOME
    probe = ("/ws/echo/", "ready")
    #: Whether sockets hibernate.
    hibernates = False

    def __init__(self, name, directory):
        self.name = name
        self.directory = directory / name
        self.directory.mkdir()
        self.processes = []
        self.port, self.redis_port = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.redis_url = f"redis://127.0.0.1:{self.redis_port}"

    def environment(self, **more):
        return clean_environment(
            PYTHONPATH=os.pathsep.join((str(self.home), str(HOME.parent / "chatferry_compat"))),
            PATH=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
            CONSUMERS_REDIS=self.redis_url,
            CONSUMERS_DATABASE=str(self.directory / "django.sqlite3"),
            **more,
        )

    def start(self, *command, **more):
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                tied(list(map(str, command))),
                cwd=self.directory,
                env=self.environment(**more),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)

    def start_redis(self):
        self.start("redis-server", "--port", self.redis_port, "--save", "", "--appendonly", "no", "--bind", "127.0.0.1")

    def log(self):
        return (self.directory / "log").read_text(encoding="utf-8", errors="replace")

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()


def daphne(directory, kind=Site):
    site = kind("daphne", directory)
    site.start_redis()
    patient = ("--websocket_connect_timeout", "120", "--application-close-timeout", "120")
    site.start(
        sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", site.port, *patient, "project.asgi:application"
    )
    return site


def chatferry(directory, binary, name, *settings, kind=Site, **environment):
    site = kind(name, directory)
    site.start_redis()
    flags = [
        f"server.bind={site.address}",
        "server.drain_s=1",
        "layer.backend=redis",
        f"layer.hosts={site.redis_url}",
        *settings,
    ]
    sets = [part for flag in flags for part in ("--set", flag)]
    site.start(binary, "host", "project.asgi:application", *sets, **environment)
    return site


async def until_ready(site):
    """Waits until a frame is answered."""
    deadline = time.monotonic() + PATIENCE_S * 2
    player = Player(site.address, None, None)
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            if not (await player.talk(*site.probe))[0].startswith(("refused", "closed", "dropped")):
                return
        await asyncio.sleep(0.1)
    raise SystemExit(f"{site.name} does not serve:\n{site.log()[-3000:]}")


async def rest(site, count):
    """Waits until as many sockets hibernate, where they do."""
    if site.hibernates:
        async with asyncio.timeout(PATIENCE_S):
            while await asyncio.to_thread(metric, site, HIBERNATED) != count:
                await asyncio.sleep(0.05)


async def play(site, shapes):
    """What is seen of each shape."""
    await until_ready(site)
    seen = {}
    for name, shape in shapes.items():
        connection = redis.asyncio.Redis.from_url(site.redis_url)
        layer = channels_redis.core.RedisChannelLayer(hosts=[site.redis_url])
        player = Player(site.address, connection, layer)
        player.rest = functools.partial(rest, site)
        try:
            async with asyncio.timeout(4 * PATIENCE_S), player.open_sockets:
                seen[name] = json.loads(json.dumps(await shape(player)))
        except (Exception, asyncio.TimeoutError) as error:
            seen[name] = Broken(f"{type(error).__name__}: {error}")
        finally:
            await layer.close_pools()
            await connection.aclose()
    return seen


def metric(site, name):
    with urllib.request.urlopen(f"http://{site.address}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def left_open(site):
    """Hosted sockets that are still open although all clients have left."""
    deadline = time.monotonic() + PATIENCE_S
    while (still := metric(site, "chatferry_host_ws_open")) and time.monotonic() < deadline:
        time.sleep(0.05)
    return still


def compare(name, server, want, got):
    """Whether the server was right, having said what it did if not."""
    want = ON_PURPOSE.get((name, server), ON_PURPOSE.get((name, "chatferry"), want))
    if got == want and not isinstance(got, Broken):
        return True
    print(f"{name}, {server}:\n  wanted {json.dumps(want, ensure_ascii=False)[:1500]}")
    print(f"  got    {json.dumps(got, ensure_ascii=False)[:1500]}")
    return False


def finish(failed, directory, keep):
    """Prints what failed, and where the logs are if they are of use; returns the exit code."""
    if keep or failed:
        print(f"logs: {directory}")
    else:
        shutil.rmtree(directory)
    for line in failed:
        print(f"  {line}")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--small", action="store_true", help="only Daphne, and Chatferry as it is without settings")
    parser.add_argument("--keep", action="store_true", help="leave the logs and say where they are")
    parser.add_argument("shapes", nargs="*", choices=[[], *SHAPES], default=[])
    options = parser.parse_args()
    names = options.shapes or list(SHAPES)
    directory = Path(tempfile.mkdtemp(prefix="chatferry-consumers-"))
    binary = options.binary.resolve()
    makers = {
        "daphne": lambda: daphne(directory),
        "parked": lambda: chatferry(directory, binary, "parked"),
        "each": lambda: chatferry(directory, binary, "each", "host.encode_once=false"),
        "awake": lambda: chatferry(directory, binary, "awake", CONSUMERS_AWAKE="1"),
    }
    if options.small:
        makers = {server: makers[server] for server in ("daphne", "parked")}
    seen, failed = {}, []
    for server, make in makers.items():
        site = make()
        try:
            seen[server] = asyncio.run(play(site, {name: SHAPES[name] for name in names}))
            if server != "daphne":
                once = metric(site, "chatferry_host_events_encoded_once_total")
                if not options.shapes and (once > 0) != (server == "parked"):
                    failed.append(f"{server}: {once} events were encoded once")
                if still := left_open(site):
                    failed.append(f"{server}: {still} sockets are still open")
        finally:
            site.stop()
    for name in names:
        wrong = [it for it in list(makers)[1:] if not compare(name, it, seen["daphne"][name], seen[it][name])]
        failed += [f"{name} on {it}" for it in wrong]
    print(f"{len(names)} shapes on {', '.join(makers)}: {len(failed)} differ")
    return finish(failed, directory, options.keep)


if __name__ == "__main__":
    sys.exit(main())
