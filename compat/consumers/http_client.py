"""A client of HTTP/1.1 that says what a server did: status, headers, body, and how it ended."""

import asyncio

from player import PATIENCE_S

#: Of the server, not of the application.
OF_SERVER = ("server", "date")
#: How long a body is; a page of the server's own may say it in either way (STATUS.md).
LENGTHS = ("content-length", "transfer-encoding")
OWN_PAGE = b"<footer>Daphne</footer>"


class Connection:
    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, address):
        host, port = address.split(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def ask(self, method, path, headers=(), body=None, version="1.1", length=True):
        lines = [f"{method} {path} HTTP/{version}", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body is not None and length:
            lines.append(f"Content-Length: {len(body)}")
        await self.send("\r\n".join([*lines, "", ""]).encode() + (body or b""))

    async def answer(self, method="GET"):
        """The next answer, but for interim ones."""
        return await asyncio.wait_for(self._answer(method), PATIENCE_S)

    async def _answer(self, method):
        while True:
            status, headers = await self._head()
            if status is None:
                return "closed"
            if not 100 <= status < 200:
                break
        lengths = [int(value) for name, value in headers if name == "content-length"]
        if method == "HEAD" or status in (204, 304):
            framing, body = "none", b""
        elif ("transfer-encoding", "chunked") in headers:
            framing, body = await self._chunked()
        elif lengths:
            framing, body = await self._exactly(lengths[0])
        else:
            framing, body = "closed", await self.reader.read()
        hidden = OF_SERVER
        if status in (204, 304) or OWN_PAGE in body:
            hidden, framing = (*OF_SERVER, *LENGTHS), "any"
        shown = sorted([name, value] for name, value in headers if name not in hidden)
        return {"status": status, "headers": shown, "framing": framing, "body": body.decode("latin1")}

    async def _head(self):
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin1")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None, None
        line, *lines = head.strip().split("\r\n")
        headers = [(name.lower(), value.strip()) for name, value in (line.split(":", 1) for line in lines)]
        return int(line.split(" ")[1]), headers

    async def _exactly(self, size):
        try:
            return "length", await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            return "broken", getattr(error, "partial", b"")

    async def _chunked(self):
        body = b""
        try:
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readuntil(b"\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return "broken", body
        return "chunked", body

    async def close(self):
        self.writer.close()


async def ask(address, method, path, **more):
    """One request on a connection of its own."""
    connection = await Connection.open(address)
    await connection.ask(method, path, **more)
    answer = await connection.answer(method)
    await connection.close()
    return answer
