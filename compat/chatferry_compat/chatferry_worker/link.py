"""The connection to Chatferry: what is to be sent is gathered and written together."""

import asyncio
import threading

from . import wire


class Link(asyncio.Protocol):
    """Owned by the worker, whose `heard` gets every message. `send` may be called from any thread."""

    def __init__(self, loop, heard, lost):
        self.loop = loop
        self.heard = heard
        self.lost = lost
        self.thread = threading.get_ident()
        self.transport = None
        self.incoming = bytearray()
        self.outgoing = []
        #: Set while Chatferry reads what it is sent.
        self.writable = asyncio.Event()
        self.writable.set()

    def send(self, kind, subject, body=b""):
        data = wire.message(kind, subject, body)
        if threading.get_ident() == self.thread:
            self._gather(data)
        else:
            self.loop.call_soon_threadsafe(self._gather, data)

    def _gather(self, data):
        if not self.outgoing:
            self.loop.call_soon(self._flush)
        self.outgoing.append(data)

    def _flush(self):
        if self.transport and not self.transport.is_closing():
            self.transport.write(b"".join(self.outgoing))
        self.outgoing.clear()

    def close(self):
        if self.transport:
            self._flush()
            self.transport.close()

    # What asyncio calls.

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, error):
        self.writable.set()
        self.lost(error)

    def pause_writing(self):
        self.writable.clear()

    def resume_writing(self):
        self.writable.set()

    def data_received(self, data):
        self.incoming += data
        try:
            for kind, subject, body in wire.messages(self.incoming):
                self.heard(kind, subject, body)
        except wire.WireError as error:
            self.transport.abort()
            self.lost(error)
