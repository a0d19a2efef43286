"""Plays requests and sockets against one server, and writes down what comes back with names for what differs by nature."""

import contextlib
import http.client
import json
import re
import sys
import time
from pathlib import Path

from jose import jwt

sys.path.append(str(Path(__file__).resolve().parent.parent / "systems"))

import systems  # noqa: E402
from systems import PATIENCE, SECRET  # noqa: E402

TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")
IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
#: Headers that are compared.
HEADERS = ("content-type", "www-authenticate", "allow", "location", "x-ratelimit-limit", "x-ratelimit-remaining")


class Player:
    def __init__(self, base):
        self.base, self.names = base.rstrip("/"), {}

    def normal(self, text):
        """Ids by the order in which they came."""
        text = TIMES.sub("<time>", text)
        return IDS.sub(lambda found: self.names.setdefault(found[0], f"<id {len(self.names)}>"), text)

    def ask(self, method, path, body=None, *, user=None, token=None, raw=None, headers=()):
        """The answer as it is compared, and its JSON."""
        headers = dict(headers)
        if user or token:
            headers["Authorization"] = f"Bearer {token or self.token(user)}"
        if body is not None:
            raw = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection(self.base.split("//")[1], timeout=PATIENCE)
        connection.request(method, path, raw, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        shown = {name.lower(): value.replace(self.base, "<base>") for name, value in answer.getheaders()}
        shown = {name: self.normal(value) for name, value in shown.items() if name in HEADERS}
        shown = (answer.status, shown, self.normal(text))
        with contextlib.suppress(ValueError):
            return shown, json.loads(text)
        return shown, None

    def token(self, user, **claims):
        return jwt.encode({"sub": user, "exp": int(time.time()) + 600} | claims, SECRET, "HS256")

    def socket(self, path, user=None, token=None, **options):
        token = token or (self.token(user) if user else None)
        url = self.base.replace("http", "ws", 1) + path + (f"?token={token}" if token else "")
        return Socket(url, self.normal, **options)


class Socket(systems.Socket):
    def say(self, frame):
        super().say(frame if isinstance(frame, str | bytes) else json.dumps(frame))
