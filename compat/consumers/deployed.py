"""A Chatferry whose workers are replaced and killed, with a project of its own that may be edited."""

import argparse
import asyncio
import json
import os
import shutil
import signal
import tempfile
import time
import unittest
from pathlib import Path

from player import PATIENCE_S, Player, Socket
from run import HOME, Site, metric, until_ready

import channels_redis.core

OPTIONS = argparse.Namespace(binary=None)


class Copy(Site):
    """A site with a project of its own, which may be edited."""

    def __init__(self, name, directory):
        super().__init__(name, directory)
        shutil.copytree(HOME / "project", self.directory / "project", ignore=shutil.ignore_patterns("__pycache__"))

    def environment(self, **more):
        path = os.pathsep.join((str(self.directory), str(HOME.parent / "chatferry_compat")))
        return {**super().environment(**more), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

    def edit(self, name, old, new):
        path = self.directory / "project" / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) >= 1, old
        path.write_text(text.replace(old, new), encoding="utf-8")

    def workers(self):
        """The ids of the processes that are workers."""
        parent = self.processes[-1].pid
        found = Path(f"/proc/{parent}/task").glob("*/children")
        return [int(pid) for children in found for pid in children.read_text().split()]


class Deployed(unittest.IsolatedAsyncioTestCase):
    async def start(self, *settings, workers=2):
        self.directory = Path(tempfile.mkdtemp(prefix="chatferry-deploys-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.site = Copy("deploys", self.directory)
        self.addCleanup(self.site.stop)
        self.site.start_redis()
        flags = [
            f"server.bind={self.site.address}",
            "server.drain_s=1",
            "layer.backend=redis",
            f"layer.hosts={self.site.redis_url}",
            f"host.workers={workers}",
            *settings,
        ]
        sets = [part for flag in flags for part in ("--set", flag)]
        self.site.start(OPTIONS.binary, "host", "project.asgi:application", *sets)
        await until_ready(self.site)
        self.layer = channels_redis.core.RedisChannelLayer(hosts=[self.site.redis_url])
        self.player = Player(self.site.address, None, self.layer)
        await self.player.open_sockets.__aenter__()
        self.addAsyncCleanup(self.layer.close_pools)
        self.addAsyncCleanup(self.player.open_sockets.aclose)

    async def open(self, path):
        socket = await self.player.open(path)
        self.assertIsInstance(socket, Socket, socket)
        return socket

    async def ask(self, socket, content):
        await socket.send(json.dumps(content))
        [answer] = await socket.read()
        self.assertFalse(answer.startswith(("closed", "dropped")), f"{answer}\n{self.site.log()[-3000:]}")
        return json.loads(answer)

    async def until(self, what, reached):
        deadline = time.monotonic() + PATIENCE_S
        while not await asyncio.to_thread(reached):
            self.assertLess(time.monotonic(), deadline, f"{what}\n{self.site.log()[-3000:]}")
            await asyncio.sleep(0.05)

    def metric(self, name):
        return metric(self.site, name)

    async def reload(self, outcome="done"):
        name = f'chatferry_host_reloads_total{{outcome="{outcome}"}}'
        before = self.metric(name)
        # The shell of `tied` is not between: the process is Chatferry itself.
        self.site.processes[-1].send_signal(signal.SIGHUP)
        await self.until(f"a reload that is {outcome}", lambda: self.metric(name) > before)


def main(parser):
    """Runs the tests of the program with what its arguments say."""
    parser.add_argument("--binary", type=Path, required=True)
    _, rest = parser.parse_known_args(namespace=OPTIONS)
    OPTIONS.binary = OPTIONS.binary.resolve()
    unittest.main(argv=["", *rest])
