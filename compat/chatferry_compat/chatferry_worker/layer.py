"""The channel layer of the code in a worker: it asks Chatferry, which has the groups and the names."""

import asyncio
import collections
import contextvars
import hashlib
import itertools
import re
import threading

from channels.exceptions import ChannelFull
from channels.layers import BaseChannelLayer

from . import wire

#: The socket for which code runs, if any.
current_socket = contextvars.ContextVar("chatferry_socket", default=None)

#: Channels that no socket has asked for. Past these, those that nobody waits at are dropped, the oldest first.
MAX_OWN = 10_000

_NAME = re.compile(r"[a-zA-Z0-9\-_.]+(![a-zA-Z0-9\-_.]*)?\Z")
_GROUP = re.compile(r"[a-zA-Z0-9\-_.]+\Z")
_MAX_NAME = 100


def _check(name, pattern, what):
    if not isinstance(name, str) or len(name) >= _MAX_NAME or not pattern.match(name):
        raise TypeError(
            f"{what} name must be a valid unicode string with length < {_MAX_NAME} containing only ASCII alphanumerics, "
            f"hyphens, underscores, or periods, not {name!r}"
        )


class Inbox:
    """What waits at one channel. Filled by the worker's loop; read from any."""

    def __init__(self, capacity):
        self.capacity = capacity
        self.lock = threading.Lock()
        self.events = collections.deque()
        self.waiting = collections.deque()

    def put(self, body):
        """Adds an event; like every layer of Channels it drops what is past the capacity."""
        with self.lock:
            if len(self.events) >= self.capacity:
                return False
            self.events.append(body)
            self._wake()
        return True

    def _wake(self):
        while self.waiting:
            loop, future = self.waiting.popleft()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, future)
                return

    async def get(self):
        while True:
            with self.lock:
                if self.events:
                    body = self.events.popleft()
                    if self.events:
                        self._wake()
                    return body
                loop = asyncio.get_running_loop()
                future = loop.create_future()
                self.waiting.append((loop, future))
            try:
                await future
            except asyncio.CancelledError:
                with self.lock:
                    if self.events:
                        self._wake()
                raise


def _resolve(future):
    if not future.done():
        future.set_result(None)


class WireChannelLayer(BaseChannelLayer):
    """What `get_channel_layer()` returns in a worker. Made before the worker has joined."""

    extensions = ["groups"]

    def __init__(self, project_layer=None):
        super().__init__()
        self.link = None
        #: Makes the layer that the project has configured, for channels that Chatferry does not know.
        self.project_layer = project_layer
        self.prefix = None
        self.worker = None
        self.group_expiry = 86400
        self.numbers = itertools.count(1)
        self.requests = itertools.count(1)
        self.pending = {}
        self.inboxes = {}
        self.own = collections.deque()

    def join(self, link, welcome):
        self.link = link
        self.prefix, self.worker = welcome["prefix"], welcome["worker"]
        self.capacity, self.expiry = welcome["capacity"], welcome["expiry"]
        self.group_expiry = welcome["group_expiry"]

    # What Channels and consumers call.

    async def send(self, channel, message):
        """Sends a message to a channel, of whichever process."""
        if not isinstance(message, dict):
            raise AssertionError("message is not a dict")
        _check(channel, _NAME, "Channel")
        await self._ask(wire.SEND, [channel, self._event(message)])

    async def group_send(self, group, message):
        if not isinstance(message, dict):
            raise AssertionError("Message is not a dict")
        _check(group, _GROUP, "Group")
        try:
            await self._ask(wire.GROUP_SEND, [group, self._event(message)])
        except (ChannelFull, ConnectionError):
            # As Channels for a member that is full. What Redis did not take is owed to it by Chatferry.
            pass

    async def group_add(self, group, channel):
        _check(group, _GROUP, "Group")
        _check(channel, _NAME, "Channel")
        await self._ask(wire.GROUP_ADD, [group, channel])

    async def group_discard(self, group, channel):
        _check(group, _GROUP, "Group")
        _check(channel, _NAME, "Channel")
        await self._ask(wire.GROUP_DISCARD, [group, channel])

    async def new_channel(self, prefix="specific"):
        """The name of a channel that only this worker reads. It ends with the socket that asked for it."""
        number = next(self.numbers)
        self.inboxes[number] = Inbox(self.capacity)
        socket = current_socket.get()
        if socket is not None:
            socket.channels.append(number)
        else:
            self.own.append(number)
            self._bound()
        return f"{self.prefix}w{self.worker}.{number}"

    async def receive(self, channel):
        """Waits for the next message of a channel."""
        _check(channel, _NAME, "Channel")
        inbox = self.inboxes.get(self._number(channel))
        if inbox is not None:
            return wire.unpack(await inbox.get())
        if "!" not in channel and self.project_layer is not None:
            return await self.project_layer().receive(channel)
        raise ValueError(f"{channel!r} is not a channel of this worker")

    async def flush(self):
        """Other processes have what is there."""

    async def close(self):
        """Chatferry closes the layer."""

    # What the worker calls.

    def heard(self, number, body):
        inbox = self.inboxes.get(number)
        return inbox is None or inbox.put(body)

    def answered(self, number, body):
        loop, future = self.pending.pop(number, (None, None))
        if future is None or loop.is_closed():
            return
        error = _error(wire.unpack(body)) if body else None
        if loop is self.link.loop:
            _settle(future, error)
        else:
            loop.call_soon_threadsafe(_settle, future, error)

    def forget(self, numbers):
        for number in numbers:
            self.inboxes.pop(number, None)

    def lost(self):
        for number in list(self.pending):
            self.answered(number, wire.pack({"kind": "closed", "text": "Chatferry is gone"}))

    # Inner parts.

    async def _ask(self, kind, value):
        if self.link is None:
            raise ConnectionError("the worker has not joined Chatferry yet")
        loop = asyncio.get_running_loop()
        future, number = loop.create_future(), next(self.requests)
        self.pending[number] = loop, future
        self.link.send(kind, number, wire.pack(value))
        await future

    def _event(self, message):
        body = wire.pack(message)
        if len(body) > wire.MAX_EVENT:
            raise ValueError(f"an event of {len(body)} bytes is too large: at most {wire.MAX_EVENT}")
        return body

    def _number(self, channel):
        own = f"{self.prefix}w{self.worker}."
        number = channel[len(own) :] if channel.startswith(own) else ""
        return int(number) if number.isdecimal() else None

    def _bound(self):
        while len(self.own) > MAX_OWN:
            number = self.own.popleft()
            inbox = self.inboxes.get(number)
            if inbox is not None and inbox.waiting:
                self.own.append(number)
                return
            self.inboxes.pop(number, None)


class AliasLayer(WireChannelLayer):
    """A layer in memory that the project has under another alias. Its groups are Chatferry's too, by names that no group
    of another alias has: in memory of each worker they would end where the worker does."""

    def __init__(self, layer, alias):
        super().__init__()
        self.layer = layer
        self.start = hashlib.sha256(alias.encode()).hexdigest()[:8]

    def _group(self, group):
        _check(group, _GROUP, "Group")
        return f"{self.start}.{group}"

    async def group_send(self, group, message):
        await self.layer.group_send(self._group(group), message)

    async def group_add(self, group, channel):
        await self.layer.group_add(self._group(group), channel)

    async def group_discard(self, group, channel):
        await self.layer.group_discard(self._group(group), channel)

    async def send(self, channel, message):
        await self.layer.send(channel, message)

    async def new_channel(self, prefix="specific"):
        return await self.layer.new_channel(prefix)

    async def receive(self, channel):
        return await self.layer.receive(channel)


def _error(answer):
    kind, text = answer.get("kind"), answer.get("text", "")
    if kind == "full":
        return ChannelFull(text)
    if kind == "name":
        return TypeError(text)
    if kind == "unsendable":
        return ValueError(text)
    return ConnectionError(text)


def _settle(future, error):
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
