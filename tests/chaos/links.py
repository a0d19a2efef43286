"""A link: a TCP proxy in front of one server, for one of its users, that can be made to fail in the ways networks do."""

import asyncio
import contextlib

from servers import free_port

CHUNK = 65536
UP, DOWN = "up", "down"


class Link:
    """Passes bytes from `port` to `target`, a port on this host. Up is towards the target.

    `rewrites` are replaced in what comes down: a Sentinel's answers name the ports of the servers, and must name links.
    `tamper`, if set, makes two functions from bytes to bytes for each connection, for up and for down (see sabotage.py).
    """

    def __init__(self, name, target, rewrites=None):
        self.name, self.target, self.rewrites = name, target, rewrites or {}
        self.port = free_port()
        self.tamper = None
        self._refuses = False
        self._delay_s = 0.0
        self._flows = {UP: asyncio.Event(), DOWN: asyncio.Event()}
        for flow in self._flows.values():
            flow.set()
        self._writers = set()
        self._server = None

    async def open(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=CHUNK)

    async def close(self):
        self._server.close()
        self.cut()

    def cut(self):
        """Resets every connection. What was on its way is lost."""
        for writer in list(self._writers):
            writer.transport.abort()

    @contextlib.contextmanager
    def refusing(self):
        """No connection, and every new one is reset."""
        self._refuses = True
        self.cut()
        try:
            yield
        finally:
            self._refuses = False

    @contextlib.contextmanager
    def holding(self, *directions):
        """Nothing passes in these directions, the end of a connection neither; it does afterwards."""
        for direction in directions:
            self._flows[direction].clear()
        try:
            yield
        finally:
            for direction in directions:
                self._flows[direction].set()

    @contextlib.contextmanager
    def half_open(self, *directions):
        """Nothing passes in these directions, and in the end it is lost with its connections."""
        with self.holding(*directions):
            try:
                yield
            finally:
                self.cut()

    @contextlib.contextmanager
    def slow(self, delay_s):
        """Every piece of at most CHUNK bytes takes this long."""
        self._delay_s = delay_s
        try:
            yield
        finally:
            self._delay_s = 0.0

    async def _serve(self, reader, writer):
        self._writers.add(writer)
        try:
            if self._refuses:
                writer.transport.abort()
                return
            try:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target, limit=CHUNK)
            except OSError:
                writer.transport.abort()
                return
            self._writers.add(far_writer)
            try:
                up, down = self.tamper() if self.tamper else (None, self._rewrite if self.rewrites else None)
                pumps = (self._pump(reader, far_writer, UP, up), self._pump(far_reader, writer, DOWN, down))
                await asyncio.gather(*pumps)
            finally:
                self._writers.discard(far_writer)
                far_writer.close()
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _pump(self, reader, writer, direction, change):
        flow = self._flows[direction]
        try:
            while True:
                data = await reader.read(CHUNK)
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                if not flow.is_set():
                    await flow.wait()
                if not data:
                    break
                writer.write(change(data) if change else data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    def _rewrite(self, data):
        for old, new in self.rewrites.items():
            data = data.replace(old, new)
        return data
