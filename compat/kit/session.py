"""Plays the steps of one scenario on one server and says what happened, normalised.

    request: "POST /path"     with json | text | hex | form | multipart, and headers
    bytes: "GET / HTTP/1.1\\r\\n..."   raw TCP; responses: how many to read (1), in what pieces: `pieces`
    open: w                   path, headers, then: bytes sent in the same segment (frames, see send)
    send: w                   json | text | hex (a binary frame) | frames: [{opcode, text | hex, fin, rsv, mask}]
                              the result is every text it caused, and how the socket is; probe: false only sends
    listen: w                 what has arrived on a socket meanwhile
    ping: w                   payload; the answer's payload
    close: w                  code, reason; what the server answers
    sql: "update ..."         args; in the server's own database (only where the runner knows it)
    wait: 0.5                 seconds

Results are dicts of what was seen, already normalised; `error` is in them if the step could not be played.
"""

import asyncio
import json
import secrets
import struct
from urllib.parse import urlencode

from normal import Names
from scenario import ScenarioError, fill
from socket_client import SocketClient
from tables import rows_of
from wire import BINARY, CLOSE, PING, TEXT, Address, WireError, frame_bytes, request_bytes, upgrade_bytes

BOUNDARY = "compatKitBoundary"


class Session:
    """One scenario on one server: its variables, its names for ids, its connections."""

    def __init__(self, url, values, timeout=8.0, database=None):
        word = "r" + secrets.token_hex(4)
        self.address = Address.from_url(url)
        self.variables = {"run": word, "host": self.address.authority, **values}
        self.names = Names(word)
        self.timeout = timeout
        self.database = database
        self.http = None
        self.sockets = {}
        self.last_json = None

    async def play(self, step):
        """The result of a step as a dict of comparable values; `error` if it could not be played."""
        self.last_json = None
        try:
            args = fill(step.args, self.variables)
            play = getattr(self, f"play_{step.kind}")
            result = await asyncio.wait_for(play(args), self.timeout * 4)
            self.keep(step)
            return result
        except (WireError, OSError) as error:
            return {"error": f"{type(error).__name__}: {error}"}
        except TimeoutError:
            return {"error": "no answer in time"}
        except (ValueError, KeyError) as error:
            return {"error": f"cannot be played: {error!r}"}

    def keep(self, step):
        for name, path in step.keep.items():
            self.variables[name] = dig(self.last_json, path)
        for path, wanted in step.check.items():
            wanted = fill(wanted, self.variables)
            found = dig(self.last_json, path)
            if found != wanted:
                raise ScenarioError(f"{path} is {found!r}, not {wanted!r}")

    async def release(self):
        for socket in self.sockets.values():
            await socket.abort()
        if self.http:
            self.http.abort()

    # ---- HTTP

    async def play_request(self, args):
        method, _, path = args["request"].partition(" ")
        headers = [(name, str(value)) for name, value in args.get("headers", {}).items()]
        body, content_type = body_of(args)
        if content_type and "content-type" not in {name.lower() for name, _ in headers}:
            headers.append(("Content-Type", content_type))
        return self.describe(await self.exchange(method, request_bytes(method, path, headers, body, self.host)), method)

    @property
    def host(self):
        return self.address.authority

    async def exchange(self, method, data):
        """Send on the kept connection; once more on a fresh one if the server had closed it meanwhile."""
        reused = self.http is not None
        self.http = self.http or await self.address.connect()
        try:
            await self.http.write(data)
            response = await asyncio.wait_for(self.http.read_response(method), self.timeout * 3)
        except (WireError, OSError):
            self.http.abort()
            self.http = None
            if not reused:
                raise
            return await self.exchange(method, data)
        if response.closed:
            self.http.abort()
            self.http = None
        return response

    def describe(self, response, method):
        try:
            self.last_json = json.loads(response.body)
        except (ValueError, RecursionError):
            self.last_json = None
        result = {"status": response.status, "headers": self.names.headers(response, method)}
        result["body"] = self.names.body(response)
        if response.interim:
            result["interim"] = response.interim
        return result

    async def play_bytes(self, args):
        pieces = args.get("pieces") or [args["bytes"]]
        stream = await self.address.connect()
        answers = []
        try:
            for piece in pieces:
                await stream.write(piece.encode("utf-8"))
                await asyncio.sleep(0.05 if len(pieces) > 1 else 0)
            method = pieces[0].split(" ")[0]
            for _ in range(args.get("responses", 1)):
                response = await asyncio.wait_for(stream.read_response(method), self.timeout)
                answers.append(self.describe(response, method))
                if response.closed:
                    break
            after = "open" if await asyncio.wait_for(stream.is_open(self.host), self.timeout) else "closed"
        except WireError:
            after = "closed"
        except TimeoutError:
            after = "silent"
        finally:
            stream.abort()
        result = {"status": answers[0]["status"] if answers else None, "answers": answers, "after": after}
        return result if args.get("responses", 1) > 1 or not answers else {**answers[0], "after": after}

    # ---- WebSocket

    async def play_open(self, args):
        stream = await self.address.connect()
        data = upgrade_bytes(args["path"], args.get("headers", {}), self.host)
        await stream.write(data + b"".join(frames_of({"frames": args["then"]}) if "then" in args else []))
        response = await asyncio.wait_for(stream.read_response(), self.timeout)
        if response.status != 101:
            stream.abort()
            return self.describe(response, "GET")
        if args["open"] in self.sockets:
            await self.sockets.pop(args["open"]).abort()
        socket = self.sockets[args["open"]] = SocketClient(stream)
        lines = [f"{k.lower()}: {v.lower()}" for k, v in response.headers]
        skipped = ("sec-websocket-accept:", "server:", "date:")
        result = {"status": 101, "headers": sorted(line for line in lines if not line.startswith(skipped))}
        return {**result, **await self.heard(socket)}

    async def play_send(self, args):
        socket = self.sockets[args["send"]]
        for frame in frames_of(args):
            await socket.send(frame)
        return {} if args.get("probe") is False else await self.heard(socket)

    async def play_listen(self, args):
        return await self.heard(self.sockets[args["listen"]])

    async def heard(self, socket):
        texts, after = await socket.until_probe(self.timeout)
        if texts:
            self.last_json = loads(texts[-1])
        return {"frames": [self.names.text(text) for text in texts], "after": after}

    async def play_ping(self, args):
        socket = self.sockets[args["ping"]]
        await socket.send(frame_bytes(PING, args.get("payload", "").encode()))
        pong = await socket.wait_pong(self.timeout)
        return {"pong": None if pong is None else pong.decode("utf-8", "backslashreplace")}

    async def play_close(self, args):
        socket = self.sockets.pop(args["close"])
        code = args.get("code", 1000)
        payload = b"" if code is None else struct.pack("!H", code) + args.get("reason", "").encode()
        socket.close_sent = True
        await socket.send(frame_bytes(CLOSE, payload))
        texts, after = await socket.until_close(self.timeout)
        await socket.abort()
        return {"frames": [self.names.text(text) for text in texts], "after": after}

    # ---- the rest

    async def play_sql(self, args):
        if self.database is None:
            raise WireError("this step needs the server's database")
        try:
            rows = await asyncio.to_thread(rows_of, self.database, args["sql"], args.get("args", []))
        except Exception as error:  # Each driver has errors of its own.
            raise WireError(f"{type(error).__name__}: {error}") from error
        return {"rows": [[self.names.text(v) if isinstance(v, str) else v for v in row] for row in rows]}

    async def play_wait(self, args):
        await asyncio.sleep(args["wait"])
        return {}


def body_of(args):
    """Body bytes and the Content-Type that goes with them."""
    if "json" in args:
        return json.dumps(args["json"], ensure_ascii=False).encode("utf-8", "surrogatepass"), "application/json"
    if "text" in args:
        return args["text"].encode("utf-8"), "application/json"
    if "hex" in args:
        return bytes.fromhex(args["hex"]), "application/json"
    if "form" in args:
        form = args["form"]
        encoded = form if isinstance(form, str) else urlencode(form, doseq=True)
        return encoded.encode(), "application/x-www-form-urlencoded"
    if "multipart" in args:
        return multipart_body(args["multipart"]), f"multipart/form-data; boundary={BOUNDARY}"
    return None, None


def multipart_body(parts):
    """Parts are {name, value} or {name, filename, type, value}."""
    out = b""
    for part in parts:
        disposition = f'form-data; name="{part["name"]}"'
        lines = [f"--{BOUNDARY}", f"Content-Disposition: {disposition}"]
        if "filename" in part:
            lines[1] += f'; filename="{part["filename"]}"'
            lines.append(f"Content-Type: {part.get('type', 'application/octet-stream')}")
        out += "\r\n".join([*lines, "", str(part["value"]), ""]).encode()
    return out + f"--{BOUNDARY}--\r\n".encode()


def frames_of(args):
    """The frame bytes of a send step."""
    if "json" in args:
        return [frame_bytes(TEXT, json.dumps(args["json"], ensure_ascii=False).encode())]
    if "text" in args:
        return [frame_bytes(TEXT, args["text"].encode())]
    if "hex" in args:
        return [frame_bytes(BINARY, bytes.fromhex(args["hex"]))]
    return [
        frame_bytes(
            frame.get("opcode", TEXT),
            bytes.fromhex(frame["hex"]) if "hex" in frame else frame.get("text", "").encode(),
            fin=frame.get("fin", True),
            rsv=frame.get("rsv", 0),
            mask=frame.get("mask", True),
            long_length=frame.get("long_length", False),
        )
        for frame in args["frames"]
    ]


def loads(text):
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def dig(value, path):
    """Follow a dotted path; `a.0.b` goes through lists."""
    for part in path.split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ScenarioError(f"no {path!r} in the answer") from error
    return value
