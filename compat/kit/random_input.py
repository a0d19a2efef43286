"""Random inputs from a seed: texts, JSON values in odd spellings, broken documents, requests and frames.

Everything is drawn from one `random.Random`, so a seed and a session number give the same session again. Nesting stays
shallow and sizes small: limits have scenarios of their own.
"""

import json
import math
import re
import struct
from urllib.parse import quote

ALPHABETS = (
    "abcXYZ019 _-.",
    "가나다라홍길동안녕 ㅋㅎ",
    "😀🐱👍🏽🇰🇷👨‍👩‍👧",
    "\"'\\/<>&%+;:@=?~`|^[]()*!",
    "\t\n\r\b\f\x00\x01\x1f\x7f\x85\xa0\xad",
    "\u200b\u2028\u2029\u3000\ufeff\u1680\u00e9e\u0301\uffff",
)
ACCEPTS = (
    "*/*", "application/json", "application/*", "*/json", "application/xml", "text/plain", "", ",", "garbage", "a/b/c",
    "application/json; indent=4", "application/json;indent=0", "*/*; indent=2", "application/json; indent=x",
    "application/json;q=0", "text/csv, application/json", "image/*, */*;q=0.1", "APPLICATION/json", "text/html",
)  # fmt: skip
TYPES = (
    "application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/json;", "text/plain", "",
    "application/json; charset=nope", "application/*", "text/json", "application/json, text/plain", "x",
    "application/x-www-form-urlencoded", "application/json; charset=latin-1", "application/json; charset=ascii",
)  # fmt: skip
OTHER_HEADERS = (
    {"Cookie": "sessionid=abcdefghijklmnopqrstuvwxyz012345"}, {"Cookie": "sessionid=abc; csrftoken=x"}, {"Cookie": "a"},
    {"Authorization": "Basic"}, {"Authorization": "Basic bm9ib2R5OnNlY3JldA=="}, {"Authorization": "Bearer x"},
    {"Host": "a b"}, {"Host": "x:1"}, {"Origin": "https://elsewhere.example"},
)  # fmt: skip
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "get", "post", "BREW", "TRACE")
ENDPOINTS = (
    ("POST", "/api/chat/conversations/"),
    ("GET", "/api/chat/conversations/${conversation}/"),
    ("GET", "/api/chat/conversations/${conversation}/messages/"),
    ("POST", "/api/chat/conversations/${conversation}/messages/send/"),
    ("GET", "/api/chat/users/a-${run}/conversations/"),
    ("PUT", "/api/chat/messages/${message}/read/"),
)
NOBODY = "00000000-0000-0000-0000-000000000000"


def text(rng, longest=12):
    """A short text of one or two alphabets; no `${`, which would be a template."""
    alphabet = rng.choice(ALPHABETS) + rng.choice(ALPHABETS)
    return "".join(rng.choice(alphabet) for _ in range(rng.randrange(longest)))


def number(rng):
    """A JSON number as text, in one of its spellings."""
    kind = rng.randrange(6)
    if kind == 0:
        return str(rng.randrange(-3, 12))
    if kind == 1:
        return str(rng.choice((2**31, 2**53, 2**63, 2**64, -(2**63))) + rng.randrange(-2, 2))
    if kind == 2:
        return str(rng.randrange(-(10**30), 10**30))
    if kind == 3:
        exponent = f"{rng.choice('eE')}{rng.choice(('', '+', '-'))}{rng.randrange(400)}"
        return f"{rng.randrange(-9, 9)}.{rng.randrange(1000)}{exponent}"
    if kind == 4:
        value = struct.unpack("d", rng.randbytes(8))[0]
        return repr(value) if math.isfinite(value) else "0.0"
    return f"{rng.randrange(1000)}.{rng.randrange(10)}0"


def quoted(rng, value):
    """A JSON text; some characters as \\u escapes for no reason, rarely a lone surrogate."""
    out = []
    for char in value:
        escaped = json.dumps(char, ensure_ascii=rng.random() < 0.2)[1:-1]
        out.append(f"\\u{ord(char):04x}" if ord(char) < 0x10000 and rng.random() < 0.05 else escaped)
    if rng.random() < 0.01:
        out.append(rng.choice(("\\ud800", "\\udfff")))
    return '"' + "".join(out) + '"'


def json_value(rng, depth=3):
    """Any JSON value, as text."""
    kind = rng.randrange(8 if depth else 6)
    if kind < 2:
        return quoted(rng, text(rng))
    if kind == 2:
        return number(rng)
    if kind < 6:
        return rng.choice(("true", "false", "null", '""', "0", "[]", "{}", "-0.0", '" "', '"a"'))
    items = [json_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 6:
        return "[" + rng.choice((",", ", ", " ,\n")).join(items) + "]"
    return "{" + ", ".join(f"{quoted(rng, text(rng, 4))}: {item}" for item in items) + "}"


def json_object(rng, fields):
    """An object with most of some fields; `fields` maps a name to a usual value as JSON text."""
    pairs = []
    for name, usual in fields.items():
        if rng.random() < 0.9:
            pairs.append((name, usual if rng.random() < 0.5 else json_value(rng)))
    if rng.random() < 0.2:
        pairs.append((rng.choice([*fields, "id", "extra"]), json_value(rng)))
    rng.shuffle(pairs)
    space = rng.choice(("", " ", "\n  "))
    return "{" + f",{space}".join(f'"{name}":{space}{value}' for name, value in pairs) + "}"


def broken(rng, document):
    """The document with one small injury; templates count as one character."""
    characters = re.findall(r"\$\{\w+\}|.", document, re.S) or ["{"]
    at = rng.randrange(len(characters))
    kind = rng.randrange(4)
    if kind == 0:
        del characters[at:]
    elif kind == 1:
        del characters[at]
    elif kind == 2:
        characters.insert(at, rng.choice('{}[]",:0\\x\n\tNaN-'))
    else:
        characters.append(rng.choice(("}", " x", ",", "\x00", "]")))
    return "".join(characters)


def fields_of(path):
    """The fields an endpoint reads, with usual values."""
    if path.endswith("/send/"):
        return {"sender_id": '"a-${run}"', "content": '"안녕"', "message_type": '"image"', "is_deleted": "false"}
    if path.endswith("/read/"):
        return {"user_id": '"b-${run}"'}
    return {"participant1_id": '"p-${run}"', "participant2_id": '"q-${run}"'}


def request(rng):
    """Arguments of a `request` step."""
    method, path = rng.choice(ENDPOINTS)
    usual = rng.random() < 0.55
    if rng.random() < 0.1:
        method = rng.choice(METHODS)
    headers = {}
    if rng.random() < 0.15:
        headers["Accept"] = rng.choice(ACCEPTS)
    if rng.random() < 0.05:
        headers.update(rng.choice(OTHER_HEADERS))
    args = {"request": f"{method} {path if usual else odd_path(rng, path)}", "headers": headers}
    if method.upper() not in ("GET", "HEAD") or rng.random() < 0.1:
        add_body(rng, args, path)
    return args


def odd_path(rng, path):
    """The path, slightly wrong or oddly written."""
    kind = rng.randrange(9)
    if kind == 0:
        return path.rstrip("/")
    if kind == 1:
        return path.replace("${conversation}", NOBODY).replace("${message}", NOBODY)
    if kind == 2:
        return path.replace("}", "|upper}", 1)
    if kind == 3:
        return path.replace("chat", "%63hat", 1)
    if kind == 4:
        return path + rng.choice(("x/", "/", ".json", "%00", "%2F", "?format=json", "?format=xml", "?format=", "?"))
    if kind == 5:
        return path.rstrip("/") + "?" + quote(text(rng), safe="&=+/%;,'|^" if rng.random() < 0.5 else "")
    user = quote(text(rng), safe=rng.choice(("", ":@&+$,-_.!~*")))
    return f"/api/chat/users/${{run}}{user}/conversations" + rng.choice(("/", ""))


def add_body(rng, args, path):
    """Put a body of some kind, and sometimes an odd Content-Type, into the arguments of a request."""
    kind = rng.randrange(12)
    document = json_object(rng, fields_of(path))
    if kind < 7:
        args["text"] = document
    elif kind == 7:
        args["text"] = broken(rng, document)
    elif kind == 8:
        args["text"] = json_value(rng)
    elif kind == 9:
        args["form"] = form(rng, path)
    elif kind == 10:
        args["multipart"] = [{"name": name, "value": text(rng).replace("\r", "")} for name in fields_of(path)]
    elif rng.random() < 0.5:
        args["hex"] = rng.randbytes(rng.randrange(1, 12)).hex()
    if "multipart" not in args and rng.random() < 0.1:
        args["headers"]["Content-Type"] = rng.choice(TYPES)


def form(rng, path):
    """A urlencoded form, quoted more or less well."""
    names = [*fields_of(path), rng.choice([*fields_of(path), "x", ""])]
    pairs = [f"{name}={quote(text(rng), safe=rng.choice(('', '+%&;')))}" for name in names if rng.random() < 0.9]
    return "&".join(pairs)


def frame(rng):
    """Arguments of a `send` step, without the socket."""
    fields = rng.choice(
        (
            {"type": '"chat_message"', "sender_id": '"a"', "content": '"안녕"', "message_type": '"text"'},
            {"type": '"mark_as_read"', "message_id": '"${message}"', "user_id": '"b"'},
            {"type": '"typing"', "user_id": '"a"', "is_typing": "true"},
        )
    )
    kind = rng.randrange(12)
    document = json_object(rng, fields)
    if kind < 8:
        return {"text": document}
    if kind == 8:
        return {"text": broken(rng, document)}
    if kind == 9:
        return {"text": json_value(rng)}
    if kind == 10:
        return {"hex": rng.randbytes(rng.randrange(4)).hex()}
    document = '{"type": "typing", "user_id": ' + quoted(rng, text(rng)) + "}"
    cut = rng.randrange(len(document))
    return {"frames": [{"text": document[:cut], "fin": False}, {"text": document[cut:], "opcode": 0}]}
