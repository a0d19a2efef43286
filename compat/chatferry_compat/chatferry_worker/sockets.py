"""One socket: what the application is given as `receive` and `send`, and the calls that come for it, one at a time.

The application's own task runs as under any server. If its consumer is parked the task ends, and each call is a task
of its own in the same context; else it runs on and takes messages out of `receive`.
"""

import asyncio
import collections
import contextvars
import logging

from channels.exceptions import StopConsumer

from . import holding, states, wire
from .layer import current_socket

logger = logging.getLogger("chatferry.worker")

#: Messages that an application which runs on may leave in `receive` before Chatferry hears that it is behind.
AHEAD = 16

#: Seconds that an application may take to end once its socket has: Daphne's `application_close_timeout`.
CLOSING_S = 10

#: Seconds after which it is looked anew whether something still holds a consumer that is to be written down.
LETTING_GO_S = (0.01, 0.1)

CONNECTING, OPEN, CLOSING, CLOSED = range(4)


class Socket:
    """Owned by the worker until it has reported that the application has ended."""

    __slots__ = (
        "worker",
        "number",
        "path",
        "origin",
        "state",
        "waking",
        "calls",
        "calling",
        "task",
        "context",
        "changed",
        "consumer",
        "channels",
        "messages",
        "waiter",
        "unpicked",
        "ended",
        "timer",
    )

    def __init__(self, worker, number, scope):
        self.worker = worker
        self.number = number
        self.path = scope["path"]
        #: The values of the scope, by which a state is woken.
        self.origin = tuple(map(scope.get, states.SCOPE))
        self.state = CONNECTING
        #: The state that a consumer is about to get.
        self.waking = None
        #: Messages of a parked consumer that wait, as CLOSED may come during a call. They are few.
        self.calls = []
        self.calling = False
        self.task = None
        self.context = None
        #: The context after the last call, if it has set variables in it: Channels makes all calls in one.
        self.changed = None
        self.consumer = None
        #: Channels that end with this socket.
        self.channels = []
        #: What waits in `receive`.
        self.messages = None
        self.waiter = None
        self.unpicked = 0
        self.ended = False
        self.timer = None

    def __repr__(self):
        return f"<socket {self.number} {self.path!r}>"

    @property
    def channel_name(self):
        return f"{self.worker.layer.prefix}s{self.number}"

    # What the application is given.

    async def receive_event(self):
        """An event for the channel of this socket, which a parked consumer may ask for by itself."""
        return await self.worker.layer.receive(self.channel_name)

    async def receive(self):
        if self.waking is not None:
            raise states.StateError("something has a receive of its own")
        while not self.messages:
            self.waiter = self.worker.loop.create_future()
            await self.waiter
        message = self.messages.popleft()
        if self.unpicked and len(self.messages) < AHEAD:
            self.unpicked -= 1
            self.worker.link.send(wire.DONE, self.number)
        return message

    async def send(self, message):
        """As Daphne's: what it refuses raises here, what comes after the end is dropped."""
        if self.state == CLOSED:
            return
        if self.waking is not None:
            raise states.StateError("something answers the handshake before the consumer does")
        if "type" not in message:
            raise ValueError("Message has no type defined")
        kind = message["type"]
        if kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.close":
            self._close(message)
        elif kind == "websocket.send":
            self._send(message)
        link = self.worker.link
        if not link.writable.is_set():
            await link.writable.wait()

    def _accept(self, message):
        if self.state != CONNECTING:
            raise RuntimeError("the socket has been accepted or closed already")
        headers = [[bytes(name), bytes(value)] for name, value in message.get("headers") or ()]
        answer = {"subprotocol": message.get("subprotocol"), "headers": headers}
        self.state = OPEN
        self.worker.link.send(wire.ACCEPT, self.number, wire.pack(answer))

    def _close(self, message):
        code, reason = message.get("code"), message.get("reason") or ""
        code = 1000 if code is None else code
        if self.state == CONNECTING:
            # The client gets a 403, whatever the code.
            self.state, code, reason = CLOSED, 1000, ""
        elif self.state == OPEN:
            if type(code) is not int:
                raise Exception(f"invalid type '{type(code)}' for close code (must be an integer)")
            if code != 1000 and not 3000 <= code <= 4999:
                raise Exception(f"invalid close code {code} (must be 1000 or from [3000, 4999])")
            self.state = CLOSING
        else:
            return
        reason = str(reason).encode()[:123].decode(errors="ignore")
        self.worker.link.send(wire.CLOSE, self.number, wire.pack({"code": code, "reason": reason}))

    def _send(self, message):
        text, data = message.get("text"), message.get("bytes")
        if self.state == CONNECTING:
            raise ValueError("Socket has not been accepted, so cannot send over it")
        if text and data:
            raise ValueError(f"Got invalid WebSocket reply message on {message} - contains both bytes and text keys")
        if self.state != OPEN or not (text or data):
            return
        kind, body = (wire.BINARY, bytes(data)) if data else (wire.TEXT, text.encode())
        if len(body) > wire.MAX_FRAME:
            raise ValueError(f"a frame of {len(body)} bytes is too large: at most {wire.MAX_FRAME}")
        self.worker.link.send(kind, self.number, body)

    # What the worker calls.

    def open(self, application, scope, state=None):
        """Calls the application: for a handshake, or for a state that is to be woken."""
        self.messages = collections.deque()
        if state is None:
            self.messages.append({"type": "websocket.connect"})
            self.unpicked = 1
        else:
            self.state = OPEN
            self.waking = state
        self.task = self.worker.loop.create_task(self._run(application, scope))

    def hear(self, message):
        """A frame or an event."""
        if self.ended:
            return
        if self.consumer is not None:
            self.calls.append(message)
            self._next()
            return
        self.messages.append(message)
        if len(self.messages) <= AHEAD:
            self.worker.link.send(wire.DONE, self.number)
        else:
            self.unpicked += 1
        self._wake()

    def closed(self, code):
        """The socket is closed: the application hears of it last."""
        if self.ended:
            return
        self.state = CLOSED
        message = {"type": "websocket.disconnect", "code": code}
        if self.consumer is not None:
            self.calls.append(message)
            self._next()
        else:
            self.messages.append(message)
            self._wake()
        self.timer = self.worker.loop.call_later(CLOSING_S, self._too_long)

    def forget(self):
        """Chatferry waits no longer."""
        self.state = CLOSED
        if self.task is not None and not self.task.done():
            self.task.cancel()
        self.end(None)

    def _too_long(self):
        if not self.ended:
            logger.warning("%r took too long to shut down and was killed.", self)
            self.forget()

    def _wake(self):
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    # The application's own task.

    async def _run(self, application, scope):
        current_socket.set(self)
        error = None
        try:
            await application(scope, self.receive, self.send)
            if self.waking is not None:
                await self._restore()
                return
            if self.consumer is not None:
                await self._connect()
                return
        except asyncio.CancelledError:
            pass
        except StopConsumer:
            pass
        except Exception as raised:
            error = raised
        if self.waking is None:
            self.end(error)
        else:
            self._unfit(error)

    def park(self, consumer):
        """The consumer takes calls from now on; what called it is about to return."""
        self.consumer = consumer
        self.context = contextvars.copy_context()

    async def _connect(self):
        """The first call, in the task that the application was called in."""
        first, self.messages = self.messages, None
        self.unpicked = 0
        self.calling = True
        self.calls.extend(first)
        message = self.calls.pop(0)
        await self.consumer.dispatch(message)
        self._returned(message)

    # States.

    def sleep(self, tries=0):
        """Writes the state down and lets go of the socket, or refuses."""
        if self.ended:
            return
        try:
            if self.consumer is None or self.calling or self.calls:
                raise states.StateError("it is awake")
            if tries < len(LETTING_GO_S) and holding.is_held(self):
                # A thread that has just returned, or an exception that waits for the garbage collection.
                self.worker.collect_garbage()
                self.worker.loop.call_later(LETTING_GO_S[tries], self.sleep, tries + 1)
                return
            body = states.write(self)
        except states.StateError as error:
            if self.consumer is not None:
                kind = type(self.consumer)
                self.worker.unwritten_class(f"{kind.__module__}.{kind.__qualname__}", str(error))
            self.worker.refuse(self.number, str(error))
            return
        self._let_go()
        self.worker.link.send(wire.STATE, self.number, body)

    async def _restore(self):
        """Gives the consumer its state, in the task that the application was called in."""
        if self.consumer is None:
            raise states.StateError("no consumer is reached any more")
        self.calling = True
        await states.restore(self.waking, self.consumer, self.worker.classes.of(type(self.consumer)))
        self._keep_context()
        self.waking = None
        self.calls.extend(self.messages)
        self.messages = None
        self.calling = False
        self.task = None
        if not self.ended:
            self.worker.link.send(wire.DONE, self.number)
            self._next()

    def _unfit(self, error):
        """The state does not fit what the application is now."""
        if self.ended:
            return
        why = str(error or "the application has returned")
        logger.warning("A state does not fit any more: %s (%r)", why, self)
        self._let_go()
        self.worker.refuse(self.number, why)

    def _let_go(self):
        self.ended = True
        if self.timer is not None:
            self.timer.cancel()
        self.state = CLOSED
        self.consumer = None
        self.context = self.changed = None
        self.calls.clear()
        self.worker.ended(self)

    # The calls of a parked consumer.

    def _next(self):
        if self.calls and not self.calling and not self.ended:
            self.calling = True
            message = self.calls.pop(0)
            context = self.changed or self.context
            self.task = context.run(self.worker.loop.create_task, self._call(message))

    async def _call(self, message):
        try:
            if type(message) is bytes:
                message = wire.unpack(message)
            await self.consumer.dispatch(message)
        except (StopConsumer, asyncio.CancelledError):
            self.end(None)
        except Exception as error:
            self.end(error)
        else:
            self._returned(message)

    def _keep_context(self):
        """Lets the next call see what this one has set."""
        context = contextvars.copy_context()
        if context != self.context:
            self.changed = context

    def _returned(self, message):
        self._keep_context()
        self.calling = False
        self.task = None
        if message["type"] == "websocket.disconnect":
            self.end(None)
            return
        if not self.ended:
            self.worker.link.send(wire.DONE, self.number)
            self._next()

    def end(self, error):
        """The application has returned, or has raised."""
        if self.ended:
            return
        if error is not None:
            logger.error("Exception inside application: %s (%r)", error, self, exc_info=error)
        self._let_go()
        self.worker.link.send(wire.ENDED, self.number, wire.pack(error is not None))
