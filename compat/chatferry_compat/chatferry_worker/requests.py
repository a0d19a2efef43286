"""One request of HTTP: the application's receive and send, as Daphne has them."""

import asyncio
import logging

from . import wire
from .layer import current_socket
from .sockets import CLOSING_S

logger = logging.getLogger("chatferry.worker")


def cost(part):
    """What a part of a body takes of the window."""
    return max(len(part), wire.LEAST_PART) if part else 0


class Request:
    """Owned by the worker until it has reported that the application has returned."""

    __slots__ = (
        "worker",
        "number",
        "line",
        "channels",
        "messages",
        "room",
        "freed",
        "started",
        "over",
        "task",
        "timer",
    )

    def __init__(self, worker, number, scope):
        self.worker = worker
        self.number = number
        self.line = f"{scope['method']} {scope['path']}"
        #: Channels that end with this request.
        self.channels = []
        #: What waits in `receive`.
        self.messages = asyncio.Queue()
        #: Bytes of the answer that may be sent, and the wait for more.
        self.room = wire.WINDOW
        self.freed = asyncio.Event()
        self.started = False
        #: Set once the answer is whole or the client is gone: what is sent then is dropped.
        self.over = False
        self.task = None
        self.timer = None

    def __repr__(self):
        return f"<request {self.number} {self.line!r}>"

    # What the application is given.

    async def receive(self):
        message = await self.messages.get()
        taken = cost(message.get("body"))
        if taken:
            self.worker.link.send(wire.TAKEN, self.number, wire.pack(taken))
        return message

    async def send(self, message):
        if self.over:
            return
        if "type" not in message:
            raise ValueError("Message has no type defined")
        kind = message["type"]
        if kind == "http.response.start":
            if self.started:
                raise ValueError("HTTP response has already been started")
            if "status" not in message:
                raise ValueError("Specifying a status code is required for a Response message.")
            self._start(message["status"], message.get("headers") or ())
        elif kind == "http.response.body":
            if not self.started:
                raise ValueError(f"HTTP response has not yet been started but got {kind}")
            await self._write(memoryview(message.get("body") or b""), message.get("more_body", False))
        else:
            raise ValueError(f"Cannot handle message type {kind}!")

    def _start(self, status, headers):
        lines = []
        for name, value in headers:
            for what, part in (("name", name), ("value", value)):
                if not isinstance(part, bytes):
                    raise ValueError(f"Header {what} {part!r} expected to be `bytes`, but got `{type(part)}`")
            lines.append([name, value])
        head = wire.pack({"status": int(status), "headers": lines})
        if len(lines) > wire.MAX_HEADERS or len(head) > wire.MAX_HEAD:
            raise ValueError(f"{len(lines)} headers in {len(head)} bytes are too many")
        if not 0 <= int(status) <= 999:
            raise ValueError(f"{status} is no status code")
        self.started = True
        self.worker.link.send(wire.RESPONSE, self.number, head)

    async def _write(self, body, more):
        """Sends a part of the body, as fast as the client takes it."""
        while True:
            part, body = bytes(body[: wire.MAX_PART]), body[wire.MAX_PART :]
            is_last = not more and not body
            if part or is_last:
                await self._has_room(cost(part))
                if self.over:
                    return
                self.room -= cost(part)
                self.worker.link.send(wire.BODY_END if is_last else wire.BODY, self.number, part)
            if not body:
                break
        if is_last:
            self._finish()

    async def _has_room(self, wanted):
        while self.room < wanted and not self.over:
            self.freed.clear()
            await self.freed.wait()

    # What the worker calls.

    def open(self, application, scope):
        self.task = self.worker.loop.create_task(self._run(application, scope))

    def body(self, part, more):
        if not self.over:
            self.messages.put_nowait({"type": "http.request", "body": part, "more_body": more})

    def taken(self, bytes):
        self.room += bytes
        self.freed.set()

    def gone(self):
        """The client has left."""
        if not self.over:
            self._finish()

    def _finish(self):
        self.over = True
        self.freed.set()
        self.messages.put_nowait({"type": "http.disconnect"})
        self.timer = self.worker.loop.call_later(CLOSING_S, self._too_long)

    def _too_long(self):
        logger.warning("%r took too long to shut down and was killed.", self)
        self.task.cancel()

    # The application's task.

    async def _run(self, application, scope):
        current_socket.set(self)
        failed = True
        try:
            await application(scope, self.receive, self.send)
            failed = not self.over
            if failed:
                logger.error("The application has returned without a whole answer (%r)", self)
        except asyncio.CancelledError:
            pass
        except Exception as error:
            logger.error("Exception inside application: %s (%r)", error, self, exc_info=error)
        if self.timer is not None:
            self.timer.cancel()
        self.over = True
        self.worker.answered(self)
        self.worker.link.send(wire.ENDED, self.number, wire.pack(failed))
