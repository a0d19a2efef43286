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
QUIET = 0.5

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
        return Socket(self, url, **options)


class Socket:
    def __init__(self, player, url, **options):
        self.player, self.refused = player, None
        try:
            options = {"compression": None, "open_timeout": PATIENCE, "ping_interval": None} | options
            self.socket = connect(url, **options)
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
            return closed.rcvd.code if closed.rcvd else 1006

    def shown(self, within=PATIENCE):
        frame = self.next(within)
        return self.player.normal(frame) if isinstance(frame, str) else frame

    def silent(self):
        """What comes although nothing should."""
        return self.shown(QUIET)

    def say(self, frame):
        self.socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    def close(self):
        if not self.refused:
            self.socket.close()
