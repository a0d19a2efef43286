"""A WebSocket client for shapes: it describes what a server did in words that can be compared."""

import asyncio
import contextlib

import websockets
from websockets.asyncio.client import connect

#: Ends a wait for something that must come, on a machine that is full.
PATIENCE_S = 60


def seen(message):
    return f"bytes {message.hex()}" if isinstance(message, bytes) else message


class Socket:
    """One open socket."""

    def __init__(self, client):
        self.client = client

    async def send(self, *messages):
        for message in messages:
            await self.client.send(message)

    async def read(self, count=1):
        """The next messages; `end` in their place once the server has closed."""
        found = []
        for _ in range(count):
            try:
                found.append(seen(await asyncio.wait_for(self.client.recv(), PATIENCE_S)))
            except websockets.ConnectionClosed:
                return [*found, await self.end()]
        return found

    async def all(self):
        """Every message to the end, and the end."""
        found = []
        while True:
            try:
                found.append(seen(await asyncio.wait_for(self.client.recv(), PATIENCE_S)))
            except websockets.ConnectionClosed:
                return [*found, await self.end()]

    async def end(self):
        """Waits for the end."""
        await asyncio.wait_for(self.client.wait_closed(), PATIENCE_S)
        received = self.client.protocol.close_rcvd
        return f"closed {received.code}" if received else "dropped"

    async def reason(self):
        await self.end()
        received = self.client.protocol.close_rcvd
        return received.reason if received else None

    async def close(self, code=1000):
        await self.client.close(code)
        return await self.end()

    async def close_without_code(self):
        self.client.transport.write(b"\x88\x80\0\0\0\0")
        return await self.end()

    async def drop(self):
        self.client.transport.abort()
        await self.end()

    @property
    def subprotocol(self):
        return self.client.subprotocol


class Player:
    """Speaks to one server; `redis` and `layer` are what its consumers share with the rest of the project."""

    def __init__(self, address, redis, layer):
        self.address = address
        self.redis = redis
        self.layer = layer
        self.open_sockets = contextlib.AsyncExitStack()

    async def open(self, path, headers=(), subprotocols=None):
        """A socket, or the status that it was refused with."""
        try:
            client = await connect(
                f"ws://{self.address}{path}",
                additional_headers=list(headers),
                subprotocols=subprotocols,
                compression=None,
                open_timeout=PATIENCE_S,
                close_timeout=PATIENCE_S,
                ping_interval=None,
                proxy=None,
                max_size=None,
            )
        except websockets.InvalidStatus as refused:
            return f"refused {refused.response.status_code}"
        except websockets.InvalidHandshake as refused:
            return f"refused {type(refused).__name__}"
        self.open_sockets.push_async_callback(client.close)
        return Socket(client)

    async def talk(self, path, *messages, count=None, **more):
        """Opens a socket, sends, reads as many messages, and closes."""
        socket = await self.open(path, **more)
        if isinstance(socket, str):
            return [socket]
        await socket.send(*messages)
        found = await socket.read(len(messages) if count is None else count)
        return [*found, await socket.close()]

    async def notes(self, key, count):
        """What consumers have noted under a key."""
        return (await self.talk(f"/ws/notes/{key}/", str(count)))[0]

    async def members(self, group):
        """Whether a group has members in Redis."""
        return await self.redis.zcard(f"asgi:group:{group}") > 0

    async def until_no_members(self, group):
        async with asyncio.timeout(PATIENCE_S):
            while await self.members(group):
                await asyncio.sleep(0.01)
