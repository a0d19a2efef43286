"""A WebSocket client that hides nothing: frames go out as told, everything that comes in is an event.

The probe is what makes steps exact without sleeping. A consumer handles frames in order, and its own group messages
come back in order; so after any frame we send a `typing` frame with a private mark, and whatever arrives before its
echo was caused by what came before it.
"""

import asyncio
import contextlib
import itertools
import json
import struct

from wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, WireError, frame_bytes, read_frame

PROBE = "kit-probe-"


class SocketClient:
    """One open WebSocket. Owned by a session; `abort` releases it."""

    _marks = itertools.count(1)

    def __init__(self, stream):
        self.stream = stream
        self.events = asyncio.Queue()
        self.ended = None
        self.close_sent = False
        self.reading = asyncio.create_task(self._read())

    async def abort(self):
        """Drop the connection and wait until the reading task is gone."""
        self.stream.abort()
        self.reading.cancel()
        await asyncio.gather(self.reading, return_exceptions=True)

    async def send(self, data):
        """Write raw frame bytes; a dead connection is reported by the events, not here."""
        if self.ended or self.stream.writer.is_closing():
            return
        with contextlib.suppress(ConnectionError):
            await self.stream.write(data)

    async def until_probe(self, timeout):
        """Send a probe; texts that came before its echo, and how the socket is afterwards."""
        mark = f"{PROBE}{next(self._marks)}-"
        await self.send(frame_bytes(TEXT, json.dumps({"type": "typing", "user_id": mark}).encode()))
        return await self._collect(timeout, lambda text: mark in text)

    async def until_close(self, timeout):
        """Texts until the connection ends, and how it ended."""
        return await self._collect(timeout, lambda text: False)

    async def wait_pong(self, timeout):
        """Payload of the next pong, with the texts that came before it put back in order."""
        kept, found = [], None
        try:
            while found is None and not self.ended:
                event = await asyncio.wait_for(self.events.get(), timeout)
                if event[0] == "pong":
                    found = event[1]
                elif event[0] == "end":
                    self.ended = event[1]
                else:
                    kept.append(event)
        except TimeoutError:
            pass
        later = [self.events.get_nowait() for _ in range(self.events.qsize())]
        for event in kept + later:
            self.events.put_nowait(event)
        return found

    async def _collect(self, timeout, is_last):
        texts = []
        deadline = asyncio.get_running_loop().time() + timeout
        while not self.ended:
            try:
                left = deadline - asyncio.get_running_loop().time()
                kind, value = await asyncio.wait_for(self.events.get(), max(left, 0.01))
            except TimeoutError:
                return texts, "silent"
            if kind == "end":
                self.ended = value
            elif kind == "message":
                if is_last(value):
                    return texts, "open"
                if PROBE not in value:
                    texts.append(value)
        return texts, self.ended

    async def _read(self):
        """Turn frames into events until the connection is over."""
        how, parts, started_as = "dropped", [], TEXT
        try:
            while True:
                fin, opcode, payload = await read_frame(self.stream.reader)
                if opcode == PING:
                    await self.send(frame_bytes(PONG, payload))
                elif opcode == PONG:
                    self.events.put_nowait(("pong", payload))
                elif opcode == CLOSE:
                    how = self._describe_close(payload)
                    if not self.close_sent:
                        await self.send(frame_bytes(CLOSE, payload[:2]))
                    break
                elif opcode in (TEXT, BINARY, CONT):
                    started_as = started_as if opcode == CONT else opcode
                    parts.append(payload)
                    if fin:
                        self.events.put_nowait(("message", self._describe_message(started_as, b"".join(parts))))
                        parts = []
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except WireError as error:
            how = f"broken: {error}"
        self.events.put_nowait(("end", how))

    @staticmethod
    def _describe_message(opcode, payload):
        return f"binary {payload.hex()}" if opcode == BINARY else payload.decode("utf-8", "backslashreplace")

    @staticmethod
    def _describe_close(payload):
        if len(payload) < 2:
            return "closed without a code"
        (code,) = struct.unpack("!H", payload[:2])
        reason = payload[2:].decode("utf-8", "backslashreplace")
        return f"closed {code}" + (f" {reason!r}" if reason else "")
