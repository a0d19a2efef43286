#!/usr/bin/env python
"""Request shapes that proxies and servers are known to read differently.

    shapes.py             writes shapes.txt anew
    shapes.py --check     fails if shapes.txt is not what would be written

One line for each shape: its name, whether it asks for an upgrade, and the request as a Python literal. In it
`{conversation}` and `{message}` stand for ids; what every request has (`Host`, `X-Shape`, credentials) is added when
it is played.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

LIST = Path(__file__).with_name("shapes.txt")
SOCKET = "/ws/chat/{conversation}/"
MESSAGES = "/api/chat/conversations/{conversation}/messages/"
SEND = "/api/chat/conversations/{conversation}/messages/send/"
DETAIL = "/api/chat/conversations/{conversation}/"
USER = "/api/chat/users/alice/conversations/"
CREATE = "/api/chat/conversations/"
READ = "/api/chat/messages/{message}/read/"
SAID = '{{"sender_id": "alice", "content": "forged"}}'
PAIR = '{{"participant1_id": "alice", "participant2_id": "bob"}}'
READER = '{{"user_id": "alice"}}'
#: What two readers of a body take for different users: bob, or alice by the charset that goes with it.
BY_UTF_7 = '{{"sender_id": "bob", "content": "forged", "x": "+ACI-, +ACI-sender_id+ACI-: +ACI-alice"}}'
BY_ESCAPES = '{{"sender_id": "bob", "content": "forged", "x": "\\u0022, \\u0022sender_id\\u0022: \\u0022alice"}}'
BY_FORM = "sender_id=bob&content=forged&%2BAHM-ender_id=alice"
BY_PART = (
    '--B\r\nContent-Disposition: form-data; name="sender_id"\r\n\r\nbob\r\n'
    '--B\r\nContent-Disposition: form-data; name="content"\r\n\r\nforged\r\n'
    "--B\r\nContent-Disposition: form-data; name*=utf-7''%2BAHM-ender_id\r\n\r\nalice\r\n--B--\r\n"
)
#: As JSON it is bob's, as a form alice's.
BY_TYPE = '{{"sender_id": "bob", "content": "x", "x": "&sender_id=alice&content=forged&x="}}'
#: The same the other way round: a field of a form that is JSON but for what a string hides.
BY_OTHER_TYPE = '{{"x": "&sender_id=bob&content=x&x=", "sender_id": "alice", "content": "forged"}}'

UPGRADE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)


@dataclass(frozen=True)
class Shape:
    name: str
    method: str
    target: str
    headers: tuple = ()
    body: str = ""
    #: Whether the client goes on with a WebSocket if it is let.
    upgrade: bool = field(default=False)

    @property
    def speaks_as_alice(self):
        return self.body in (SAID, READER, BY_UTF_7, BY_ESCAPES, BY_FORM, BY_PART, BY_TYPE, BY_OTHER_TYPE)

    def request(self, ids, headers):
        """The bytes to send; what is not ASCII goes out as UTF-8."""
        body = self.body.format(**ids).encode() if self.body else b""
        lines = [f"{self.method} {self.target.format(**ids)} HTTP/1.1"]
        given = [name.lower() for name, _ in self.headers]
        lines += [f"{name}: {value}" for name, value in headers if name.lower() not in given]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if body:
            lines += ["Content-Type: application/json"] * ("content-type" not in given)
            lines += [f"Content-Length: {len(body)}"]
        elif not self.upgrade:
            lines += ["Connection: close"] * ("connection" not in given)
        head = "\r\n".join(line.format(**ids) for line in lines) + "\r\n\r\n"
        return head.encode("utf-8", "surrogateescape") + body

    def line(self):
        headers = "".join(f"\\r\\n{name}: {value}" for name, value in self.headers)
        request = ascii(f"{self.method} {self.target}")[1:-1] + headers + (f" + {ascii(self.body)[1:-1]}" if self.body else "")
        return f"{self.name}\t{'socket' if self.upgrade else 'request'}\t{request}"


def encoded(text):
    return "".join(f"%{byte:02x}" for byte in text.encode())


def spellings(path):
    """(name, target) of one path in many spellings; the first is the path itself."""
    first, rest = path[1:].split("/", 1)
    bare = path[1:]
    yield "as it is", path
    yield from slashes(path, first, rest, bare)
    yield from dots(path, first, rest, bare)
    yield from escapes(path, first, rest, bare)
    yield from forms(path)
    yield from ends(path)


def slashes(path, first, rest, bare):
    for count in (2, 3, 9):
        yield f"{count} leading slashes", "/" * count + bare
    yield "doubled after the first segment", f"/{first}//{rest}"
    yield "all doubled", path.replace("/", "//")
    yield "leading encoded slash", f"/%2F{bare}"
    yield "leading encoded slash in lower case", f"/%2f{bare}"
    yield "nothing but an encoded slash to lead", f"%2F{bare}"
    yield "encoded slash between slashes", f"/%2F/{bare}"
    yield "encoded slash after the first segment", f"/{first}%2F{rest}"
    yield "all slashes but the first encoded", "/" + bare.replace("/", "%2F")
    yield "slash encoded twice", f"/%252F{bare}"
    yield "slash encoded three times", f"/%25252F{bare}"
    yield "inner slash encoded twice", f"/{first}%252F{rest}"
    yield "leading backslash", f"/\\{bare}"
    yield "backslash alone", f"\\{bare}"
    yield "inner backslash", f"/{first}\\{rest}"
    yield "encoded backslash", f"/%5C{bare}"
    yield "inner encoded backslash", f"/{first}%5C{rest}"
    yield "no leading slash", bare
    yield "full-width slash", f"/%EF%BC%8F{bare}"
    yield "division slash", f"/{first}%E2%88%95{rest}"
    yield "host in the path", f"//localhost{path}"
    yield "host in the path behind three", f"///localhost{path}"
    yield "host with an encoded slash in the path", f"//a%2Fb{path}"
    yield "host with a port in the path", f"//localhost:80{path}"
    yield "host with a user in the path", f"//user@localhost{path}"
    yield "host behind an encoded slash", f"/%2Flocalhost{path}"
    yield "host behind a backslash", f"/\\localhost{path}"
    yield "host and parent in the path", f"//localhost/..{path}"
    yield "host in the path and two slashes", f"//localhost/{path}"
    yield "host that ends with a question mark", f"//localhost?{path}"


def dots(path, first, rest, bare):
    yield "dot first", f"/.{path}"
    yield "encoded dot first", f"/%2e{path}"
    yield "dot after the first segment", f"/{first}/./{rest}"
    yield "parent first", f"/..{path}"
    yield "encoded parent first", f"/%2e%2e{path}"
    yield "parent of something", f"/x/..{path}"
    yield "encoded parent of something", f"/x/%2e%2e{path}"
    yield "half encoded parent of something", f"/x/.%2e{path}"
    yield "parent with an encoded slash", f"/x%2F..{path}"
    yield "parent before an encoded slash", f"/x/..%2F{bare}"
    yield "parent all encoded", f"/x%2f%2e%2e%2f{bare}"
    yield "parent encoded twice", f"/x/%252e%252e{path}"
    yield "parent within", f"/{first}/x/../{rest}"
    yield "parent of an empty segment", f"/{first}//../{rest}"
    yield "parent with parameters", f"/x/..;/{bare}"
    yield "parent by backslash", f"/x\\..\\{bare}"
    yield "parent by encoded backslash", f"/x%5c..%5c{bare}"
    yield "static files and back", f"/static/..{path}"
    yield "admin and back, encoded", f"/admin/%2e%2e{path}"
    yield "dot at the end", f"{path}."
    yield "parent at the end and back", f"{path}x/.."


def escapes(path, first, rest, bare):
    yield "first letter encoded", f"/{encoded(bare[0])}{bare[1:]}"
    yield "first letter encoded twice", f"/%25{ord(bare[0]):02x}{bare[1:]}"
    yield "first segment encoded", f"/{encoded(first)}/{rest}"
    yield "first segment in upper case", f"/{first.upper()}/{rest}"
    yield "first segment encoded in upper case", f"/{encoded(first.upper())}/{rest}"
    yield "overlong slash", f"/%C0%AF{bare}"
    yield "overlong slash within", f"/{first}%C0%AF{rest}"
    yield "overlong slash of three bytes", f"/%E0%80%AF{bare}"
    yield "overlong parent", f"/x/%C0%AE%C0%AE{path}"
    yield "escape that is none", f"/%zz{path}"
    yield "half an escape", f"/%2{path}"
    yield "lone percent", f"/%{path}"
    yield "escape in Microsoft's way", f"/%u002F{bare}"
    yield "slash by an escape within an escape", f"/%%32%46{bare}"
    for name, byte in (("nul", "00"), ("tab", "09"), ("line feed", "0A"), ("carriage return", "0D"), ("space", "20")):
        yield f"{name} first", f"/%{byte}{bare}"
        yield f"{name} in a segment of its own", f"/%{byte}{path}"
        yield f"{name} in the first segment", f"/{first}%{byte}/{rest}"
    yield "delete", f"/{first}%7F/{rest}"
    yield "invalid UTF-8 first", f"/%FF{path}"
    yield "soft hyphen", f"/{first}%C2%AD/{rest}"
    yield "parameters first", f"/;a=b{path}"
    yield "parameters of the first segment", f"/{first};a=b/{rest}"
    yield "encoded parameters of the first segment", f"/{first}%3Ba=b/{rest}"
    yield "dot of the first segment", f"/{first}./{rest}"
    yield "raw bytes past ASCII", f"/\u2215{path}"


def forms(path):
    for scheme in ("http", "https", "ws", "wss", "HTTP", "ftp", "x"):
        yield f"absolute, {scheme}", f"{scheme}://x{path}"
    yield "absolute with a port", f"http://x:80{path}"
    yield "absolute with a user", f"http://user:pass@x{path}"
    yield "absolute, two slashes", f"http://x/{path}"
    yield "absolute, host in the path", f"http://x//localhost{path}"
    yield "absolute, encoded slash", f"http://x/%2F{path[1:]}"
    yield "absolute, parent", f"http://x/y/..{path}"
    yield "absolute without a host", f"http://{path}"
    yield "absolute with one slash", f"http:{path}"
    yield "absolute within absolute", f"http://x/http://x{path}"
    yield "an address as a path", f"/http://x{path}"
    yield "authority as a path", f"x:80{path}"
    yield "asterisk first", f"*{path}"


def ends(path):
    yield "query", f"{path}?a=b"
    yield "empty query", f"{path}?"
    yield "query with a path", f"/?{path}"
    yield "query past ASCII", f"{path}?a=\u00e9"
    yield "query with a slash encoded", f"{path}?%2F"
    yield "encoded question mark", f"{path}%3Fa=b"
    yield "fragment", f"{path}#a"
    yield "fragment first", f"/#/..{path}"
    yield "encoded fragment", f"{path}%23a"
    yield "nul at the end", f"{path}%00"
    yield "line feed at the end", f"{path}%0A"
    yield "space at the end", f"{path}%20"
    yield "doubled slash at the end", f"{path}/"
    yield "encoded slash at the end", f"{path[:-1]}%2F"
    yield "no slash at the end", path[:-1]
    yield "parameters at the end", f"{path};a=b"
    yield "suffix at the end", f"{path[:-1]}.json"


#: Headers that tell some server that the path is another one, and the targets that go with them.
MOVING = (
    "Daphne-Root-Path",
    "daphne-root-path",
    "Daphne_Root_Path",
    "Script-Name",
    "SCRIPT_NAME",
    "X-Script-Name",
    "X_Script_Name",
    "X-Forwarded-Prefix",
    "X-Forwarded-Path",
    "X-Forwarded-Script-Name",
    "Root-Path",
    "X-Root-Path",
)
REPLACING = (
    "PATH_INFO",
    "Path-Info",
    "REQUEST_URI",
    "Request-Uri",
    "RAW_URI",
    "X-Original-URL",
    "X-Original-URI",
    "X-Rewrite-URL",
    "X-Forwarded-Uri",
    "X-Forwarded-Path",
    ":path",
)


def header_tricks():
    for path, method, body in ((MESSAGES, "GET", ""), (SEND, "POST", SAID)):
        for header in MOVING:
            for prefix in ("/x", "//", "/"):
                target = f"{prefix}{path}" if prefix == "/x" else path
                yield Shape(f"{method} {header}: {prefix}", method, target, ((header, prefix),), body)
        yield Shape(f"{method} root by part of the path", method, path, (("Daphne-Root-Path", "/api"),), body)
        for header in REPLACING:
            yield Shape(f"{method} instead: {header}", method, "/", ((header, path),), body)
    for header in MOVING:
        yield Shape(f"socket {header}", "GET", f"/x{SOCKET}", ((header, "/x"), *UPGRADE), upgrade=True)
    for header in REPLACING:
        yield Shape(f"socket instead: {header}", "GET", "/", ((header, SOCKET), *UPGRADE), upgrade=True)
    yield from override()


def override():
    for header in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        yield Shape(f"POST {header}", "GET", SEND, ((header, "POST"),), SAID)
    for number, method in enumerate(("get", "Get", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "FOO", "PROPFIND")):
        yield Shape(f"method {number} {method}", method, MESSAGES)
        yield Shape(f"method {number} {method} of a detail", method, DETAIL)
        yield Shape(f"method {number} {method} with an upgrade", method, MESSAGES, UPGRADE, upgrade=True)
    hosts = (("x", "/"), ("x" + MESSAGES, "/"), ("x/", MESSAGES), ("", MESSAGES), ("a,b", MESSAGES))
    for number, (host, path) in enumerate(hosts):
        yield Shape(f"host {number}", "GET", path, (("Host", host),))
    yield Shape("two hosts", "GET", MESSAGES, (("Host", "a"), ("Host", "b")))
    yield Shape("connect", "CONNECT", "x:80")
    yield Shape("connect to a path", "CONNECT", MESSAGES)
    yield Shape("asterisk", "OPTIONS", "*", (("X-Original-URL", MESSAGES),))


def upgrade_tricks():
    """Sockets that are asked for in words that servers take differently."""
    key = UPGRADE[2:]
    ways = {
        "in other case": (("connection", "upgrade"), ("UPGRADE", "WebSocket")),
        "in a list": (("Connection", "keep-alive, Upgrade"), ("Upgrade", "websocket, h2c")),
        "second in a list": (("Connection", "Upgrade"), ("Upgrade", "h2c, websocket")),
        "twice": (("Connection", "Upgrade"), ("Upgrade", "h2c"), ("Upgrade", "websocket")),
        "twice, first": (("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Upgrade", "h2c")),
        "with a version": (("Connection", "Upgrade"), ("Upgrade", "websocket/13")),
        "without Connection": (("Upgrade", "websocket"),),
        "without Upgrade": (("Connection", "Upgrade"),),
        "closed": (("Connection", "close"), ("Upgrade", "websocket")),
        "listed away": (("Connection", "Upgrade, Sec-WebSocket-Key, Authorization"), ("Upgrade", "websocket")),
        "by an underscore": (("Connection", "Upgrade"), ("Upgrade_", "x"), ("upgrade", "websocket")),
        "quoted": (("Connection", "Upgrade"), ("Upgrade", '"websocket"')),
        "with a space": (("Connection", "Upgrade"), ("Upgrade", " websocket ")),
        "for the second version of HTTP": (
            ("Connection", "Upgrade, HTTP2-Settings"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ),
    }
    for path_name, path in (("socket", SOCKET), ("messages", MESSAGES), ("///socket", f"//{SOCKET}")):
        for name, headers in ways.items():
            yield Shape(f"{path_name}: upgrade {name}", "GET", path, (*headers, *key), upgrade=True)
    for name, headers in ways.items():
        yield Shape(f"send: upgrade {name}", "POST", SEND, (*headers, *key), SAID, upgrade=True)


def body_tricks():
    """Bodies that are one thing in UTF-8 and another in a charset that Python knows."""
    bodies = {
        "application/json": {"utf-7": BY_UTF_7, "unicode_escape": BY_ESCAPES, "raw_unicode_escape": BY_ESCAPES},
        "application/x-www-form-urlencoded": {"utf-7": BY_FORM},
    }
    for media_type, by_charset in bodies.items():
        for charset, body in by_charset.items():
            for parameter in (f"charset={charset}", f"charset=utf-8; charset={charset}", f"charset*=utf-8''{charset}"):
                headers = (("Content-Type", f"{media_type}; {parameter}"),)
                yield Shape(f"send: {media_type}; {parameter}", "POST", SEND, headers, body)
    json, form = "application/json", "application/x-www-form-urlencoded"
    for end in ("", "; x="):
        for name, first, second, body in (("form", json, form, BY_TYPE), ("JSON", form, json, BY_OTHER_TYPE)):
            headers = (("Content-Type", f"{first}{end}"), ("Content-Type", second))
            yield Shape(f"send: two types, the second is {name}{end}", "POST", SEND, headers, body)
            yield Shape(f"send: two types, the first is {name}{end}", "POST", SEND, headers[::-1], body)
    yield Shape("send: parts", "POST", SEND, (("Content-Type", "multipart/form-data; boundary=B"),), BY_PART)


def every():
    for name, target in spellings(SOCKET):
        yield Shape(f"socket: {name}", "GET", target, UPGRADE, upgrade=True)
        yield Shape(f"socket without an upgrade: {name}", "GET", target)
    for name, target in spellings(MESSAGES):
        yield Shape(f"messages: {name}", "GET", target)
        yield Shape(f"messages with an upgrade: {name}", "GET", target, UPGRADE, upgrade=True)
    for name, target in spellings(SEND):
        yield Shape(f"send: {name}", "POST", target, (), SAID)
    for word, path, method, body in (
        ("detail", DETAIL, "GET", ""),
        ("user", USER, "GET", ""),
        ("create", CREATE, "POST", PAIR),
        ("read", READ, "PUT", READER),
    ):
        for name, target in spellings(path):
            yield Shape(f"{word}: {name}", method, target, (), body)
    yield from header_tricks()
    yield from upgrade_tricks()
    yield from body_tricks()


def text():
    lines = [shape.line() for shape in every()]
    assert len({line.split("\t")[0] for line in lines}) == len(lines), "two shapes have one name"
    return "".join(f"{line}\n" for line in lines)


def main():
    if "--check" in sys.argv:
        if LIST.read_text(encoding="utf-8") != text():
            sys.exit(f"{LIST.name} is not what shapes.py writes: run it")
        return
    LIST.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
