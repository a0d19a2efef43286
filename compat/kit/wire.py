"""HTTP/1.1 and WebSocket on a bare socket.

A client library repairs or refuses what it thinks is wrong; a compatibility check must put exactly the scenario's
bytes on the wire and see exactly what comes back. Only what that needs is here: no pools, no redirects, no extensions.
"""

import asyncio
import base64
import os
import ssl
import struct
from dataclasses import dataclass, field
from urllib.parse import urlsplit

MAX_HEAD = 64 * 1024
MAX_BODY = 64 * 1024 * 1024
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class WireError(Exception):
    """The peer sent something that is not HTTP or WebSocket, or nothing at all."""


@dataclass
class Response:
    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    interim: list[int] = field(default_factory=list)
    closed: bool = False

    def header(self, name, default=""):
        """First value of a header, by case-insensitive name."""
        return next((v for k, v in self.headers if k.lower() == name), default)


@dataclass(frozen=True)
class Address:
    """Where a server is, and how its name goes into Host."""

    host: str
    port: int
    tls: bool

    @classmethod
    def from_url(cls, url):
        parts = urlsplit(url)
        tls = parts.scheme in ("https", "wss")
        return cls(parts.hostname or "127.0.0.1", parts.port or (443 if tls else 80), tls)

    async def connect(self):
        context = ssl.create_default_context() if self.tls else None
        reader, writer = await asyncio.open_connection(self.host, self.port, ssl=context, limit=2**20)
        return Stream(reader, writer)

    @property
    def authority(self):
        return f"{self.host}:{self.port}"


class Stream:
    """One TCP connection: buffered reads of HTTP messages, then of frames."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    async def write(self, data):
        self.writer.write(data)
        await self.writer.drain()

    def abort(self):
        self.writer.transport.abort()

    async def is_open(self, host):
        """Whether the peer answers one more request; closed connections end or reset instead."""
        try:
            await self.write(request_bytes("GET", "/still/open/", [], None, host))
            await self.read_response()
        except (WireError, ConnectionError):
            return False
        return True

    async def read_head(self):
        """Status code and headers of the next response."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise WireError(f"closed after {len(error.partial)} bytes") from error
        except ConnectionError as error:
            raise WireError("reset") from error
        lines = head[:-4].decode("latin-1").split("\r\n")
        words = lines[0].split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
            raise WireError(f"not a status line: {lines[0][:80]!r}")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
        return Response(int(words[1]), headers)

    async def read_response(self, method="GET"):
        """The next final response with its whole body; 1xx answers are noted in `interim`."""
        response = await self.read_head()
        interim = []
        while 100 <= response.status < 200 and response.status != 101:
            interim.append(response.status)
            response = await self.read_head()
        response.interim = interim
        if response.status == 101 or method == "HEAD" or response.status in (204, 304):
            return response
        try:
            await self._read_body(response)
        except asyncio.IncompleteReadError as error:
            raise WireError("body cut short") from error
        return response

    async def _read_body(self, response):
        length = response.header("content-length", None)
        if response.header("transfer-encoding").lower() == "chunked":
            response.body = await self._read_chunks()
        elif length is not None:
            response.body = await self.reader.readexactly(int(length))
        else:
            response.body = await self._read_to_end()
            response.closed = True
        if response.header("connection").lower() == "close":
            response.closed = True

    async def _read_chunks(self):
        body = bytearray()
        while len(body) < MAX_BODY:
            size = int((await self.reader.readline()).split(b";")[0], 16)
            body += await self.reader.readexactly(size)
            await self.reader.readline()
            if size == 0:
                return bytes(body)
        raise WireError("chunked body without end")

    async def _read_to_end(self):
        body = bytearray()
        while len(body) < MAX_BODY:
            try:
                data = await self.reader.read(65536)
            except ConnectionError:
                data = b""
            if not data:
                return bytes(body)
            body += data
        raise WireError("body without end")


def request_bytes(method, path, headers, body, host):
    """A request as the scenario says it; Host and Content-Length are added unless given."""
    names = {name.lower() for name, _ in headers}
    lines = [f"{method} {path} HTTP/1.1"]
    if "host" not in names:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + (body or b"")


def upgrade_bytes(path, headers, host):
    """An opening handshake; a header given with the value null leaves out one of ours."""
    own = {
        "Host": host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
    }
    given = {name.lower() for name in headers}
    merged = [(k, v) for k, v in own.items() if k.lower() not in given]
    merged += [(k, v) for k, v in headers.items() if v is not None]
    return "\r\n".join([f"GET {path} HTTP/1.1", *(f"{k}: {v}" for k, v in merged)]).encode("utf-8") + b"\r\n\r\n"


def frame_bytes(opcode, payload, fin=True, rsv=0, mask=True, long_length=False):
    """One client frame; the odd arguments make the frames that a server must refuse."""
    size = len(payload)
    out = bytearray([(0x80 if fin else 0) | (rsv << 4) | opcode])
    flag = 0x80 if mask else 0
    if size < 126 and not long_length:
        out.append(flag | size)
    elif size < 65536:
        out += bytes([flag | 126]) + struct.pack("!H", size)
    else:
        out += bytes([flag | 127]) + struct.pack("!Q", size)
    if not mask:
        return bytes(out) + payload
    key = os.urandom(4)
    repeated = (key * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
    return bytes(out) + key + masked


async def read_frame(reader):
    """(fin, opcode, payload) of the next server frame."""
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size == 126:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
    elif size == 127:
        (size,) = struct.unpack("!Q", await reader.readexactly(8))
    if size > MAX_BODY:
        raise WireError(f"frame of {size} bytes")
    key = await reader.readexactly(4) if second & 0x80 else None
    payload = await reader.readexactly(size)
    if key:
        raise WireError("server frame is masked")
    return bool(first & 0x80), first & 0x0F, payload
