"""What is played for each shape of an answer to HTTP."""

import asyncio
import hashlib

from http_client import Connection, ask
from shapes import shape

#: More than fits on the way.
LARGE = bytes(range(256)) * (12 << 10)


def brief(answer):
    """With the digest of a large body in its place."""
    if len(answer["body"]) > 1000:
        answer["body"] = [len(answer["body"]), hashlib.sha256(answer["body"].encode()).hexdigest()]
    return answer


@shape
async def web_views(player):
    asked = [
        ("GET", "/web/hello/?name=%ED%99%8D"),
        ("HEAD", "/web/hello/"),
        ("OPTIONS", "/web/hello/"),
        ("GET", "/web/hello"),
        ("GET", "/web/nothing/"),
        ("GET", "/web/broken/"),
        *(("GET", f"/web/bare/{status}/") for status in (200, 204, 304, 404, 418, 500)),
        ("HEAD", "/web/bare/200/"),
    ]
    return [await ask(player.address, method, path) for method, path in asked]


@shape
async def web_streams(player):
    paths = ("/web/stream/sync/", "/web/stream/async/", "/web/large/", "/web/file/")
    seen = []
    for method in ("GET", "HEAD"):
        seen += [brief(await ask(player.address, method, path)) for path in paths]
    return seen


@shape
async def web_scope(player):
    headers = [("X-B", "1"), ("x-a", "2"), ("x-b", "3"), ("cookie", "one=1; two=2"), ("x_c", "4"), ("Accept", "*/*")]
    paths = ("/raw/scope/", "/raw/scope/?a=%20&b=%ED%99%8D&c", "/raw/scope/%ED%99%8D/a%20b;c/", "/raw/scope")
    return [await ask(player.address, "GET", path, headers=headers) for path in paths]


@shape
async def web_bodies(player):
    form = "application/x-www-form-urlencoded"
    seen = []
    for method, kind, body in (
        ("POST", form, b"a=1&b=%ED%99%8D&a=2"),
        ("PUT", "application/json", b'{"a": 1}'),
        ("POST", "application/octet-stream", b""),
        ("DELETE", "text/plain", b"x" * 100_000),
    ):
        headers = [("Content-Type", kind), ("X-B", "1"), ("X-B", "2")]
        seen.append(await ask(player.address, method, "/web/received/?q=1", headers=headers, body=body))
    return seen


@shape
async def web_upload(player):
    boundary = "of-a-test"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="f"; filename="f.bin"\r\n\r\n'
    body = head.encode() + LARGE + f"\r\n--{boundary}--\r\n".encode()
    headers = [("Content-Type", f"multipart/form-data; boundary={boundary}")]
    return await ask(player.address, "POST", "/web/received/", headers=headers, body=body)


@shape
async def web_chunked_body(player):
    connection = await Connection.open(player.address)
    await connection.ask("POST", "/raw/messages/", headers=[("Transfer-Encoding", "chunked")], length=False)
    for part in (b"a" * 10, b"b" * 70_000, b"c"):
        await connection.send(b"%x\r\n%s\r\n" % (len(part), part))
        await asyncio.sleep(0.01)
    await connection.send(b"0\r\n\r\n")
    return [await connection.answer(), await player.notes("after", 1)]


@shape
async def web_kept_connection(player):
    connection = await Connection.open(player.address)
    seen = []
    for path in ("/web/hello/", "/web/stream/sync/", "/web/bare/204/", "/web/hello/"):
        await connection.ask("GET", path)
        seen.append(brief(await connection.answer()))
    await connection.ask("GET", "/web/hello/", headers=[("Connection", "close")])
    return [*seen, await connection.answer(), await connection.answer()]


@shape
async def web_many_at_once(player):
    return await asyncio.gather(*(ask(player.address, "GET", f"/web/hello/?name={number}") for number in range(30)))


@shape
async def web_http_1_0(player):
    seen = []
    for path in ("/web/hello/", "/web/stream/sync/"):
        seen.append(brief(await ask(player.address, "GET", path, version="1.0")))
    return seen


@shape
async def web_early_answer(player):
    return [
        await ask(player.address, "POST", "/raw/early/", body=b"x" * 1000),
        await ask(player.address, "GET", "/raw/early/"),
    ]


@shape
async def web_client_leaves(player):
    connection = await Connection.open(player.address)
    await connection.ask("GET", "/raw/poll/")
    await connection.reader.readuntil(b"first")
    await connection.close()
    return await player.notes("poll", 3)


@shape
async def web_exceptions(player):
    seen = [await ask(player.address, "GET", path) for path in ("/raw/raises/", "/raw/wrong/")]
    return [*seen, (await ask(player.address, "GET", "/raw/text-headers/"))["status"]]


@shape
async def web_consumer(player):
    return await ask(player.address, "POST", "/raw/consumer/", body=b"abc")
