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

TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?(Z|\+00:00)?")
TOKENS = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
#: Headers that are compared.
HEADERS = ("content-type", "www-authenticate", "allow", "location", "vary")


def normal(text):
    text = TIMES.sub(lambda found: f"<time{found[2] or ''}>", text)
    return TOKENS.sub("<token>", text)


class Player:
    def __init__(self, base):
        self.base = base.rstrip("/")
        self.users = {}

    def ask(self, method, path, body=None, *, user=None, raw=None, headers=()):
        """The answer as it is compared, and its JSON."""
        headers = dict(headers)
        if user:
            headers["Authorization"] = f"Bearer {self.users[user]['access_token']}"
        if body is not None:
            raw = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        # One for each: uvicorn ends the connection after a failure without saying so.
        connection = http.client.HTTPConnection(self.base.split("//")[1], timeout=PATIENCE)
        connection.request(method, path, raw, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        received = {name.lower(): value.replace(self.base, "<base>") for name, value in answer.getheaders()}
        shown = {name: value for name, value in received.items() if name in HEADERS or name.startswith("access-control-")}
        shown = (answer.status, shown, normal(text))
        with contextlib.suppress(ValueError):
            return shown, json.loads(text)
        return shown, None

    def register(self, name):
        body = {"username": name, "email": f"{name}@example.com", "password": "password1"}
        answer, self.users[name] = self.ask("POST", "/auth/register", body)
        return answer

    def signed(self, **claims):
        """A token with these claims, signed as the server signs."""
        return jwt.encode({"exp": int(time.time()) + 600, "jti": "x"} | claims, SECRET, "HS256")

    def socket(self, user=None, *, path="/ws", token=None, headers=(), **options):
        headers = dict(headers)
        token = token or (user and self.users[user]["access_token"])
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return Socket(self.base.replace("http", "ws", 1) + path, normal, headers, **options)


class Socket(systems.Socket):
    def say(self, frame):
        super().say(frame if isinstance(frame, str | bytes) else json.dumps(frame))
