"""Plays requests and sockets against one server, and writes down what comes back with names for what differs by nature."""

import contextlib
import http.client
import json
import re
import time

from jose import jwt
from servers import SECRET
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

#: Seconds after which an answer, or a frame that must come, is missed.
PATIENCE = 20
#: Seconds in which a frame that must not come would have come.
QUIET = 0.7

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
        return Socket(self.base.replace("http", "ws", 1) + path, headers, **options)


class Socket:
    def __init__(self, url, headers, **options):
        self.refused = self.closed = None
        try:
            options = {"compression": None, "open_timeout": PATIENCE, "ping_interval": None} | options
            self.socket = connect(url, additional_headers=headers, **options)
        except InvalidStatus as refusal:
            answer = refusal.response
            self.refused = (answer.status_code, answer.headers.get("content-type"), answer.body or b"")

    def next(self, within=PATIENCE):
        """The next frame as text, the close code as a number, or None in the time."""
        if self.refused:
            return self.refused
        try:
            return self.socket.recv(within)
        except TimeoutError:
            return None
        except ConnectionClosed as closed:
            self.closed = closed.rcvd.code if closed.rcvd else 1006
            return self.closed

    def shown(self, within=PATIENCE):
        frame = self.next(within)
        return normal(frame) if isinstance(frame, str) else frame

    def silent(self):
        """What comes although nothing should."""
        return self.shown(QUIET)

    def say(self, frame):
        self.socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    def close(self):
        if not self.refused:
            self.socket.close()
