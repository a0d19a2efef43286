"""Plays requests and sockets against one server, and writes down what comes back with names for what differs by nature."""

import contextlib
import http.client
import json
import re

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

#: Seconds after which an answer, or a frame that must come, is missed.
PATIENCE = 20
#: Seconds in which a frame that must not come would have come.
QUIET = 0.5

TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?")
NUMBERS = re.compile(r'"message_id":\d+(\.\d+)?')
SIDS = re.compile(r'"sid":"[\w-]{20}"')
#: Headers that are compared; the order of `Allow` is by chance.
HEADERS = ("content-type", "allow", "access-control-allow-origin", "access-control-allow-methods", "access-control-allow-credentials")


def normal(text):
    return SIDS.sub('"sid":"<sid>"', NUMBERS.sub('"message_id":<time>', TIMES.sub("<time>", text)))


class Player:
    def __init__(self, base):
        self.base = base.rstrip("/")

    def ask(self, method, path, raw=None, headers=()):
        """The answer as it is compared, and its text."""
        connection = http.client.HTTPConnection(self.base.split("//")[1], timeout=PATIENCE)
        connection.request(method, path, raw, dict(headers))
        try:
            answer = connection.getresponse()
        except TimeoutError:
            return "no answer", ""
        text = answer.read().decode()
        connection.close()
        shown = {name.lower(): value for name, value in answer.getheaders() if name.lower() in HEADERS}
        if "allow" in shown:
            shown["allow"] = sorted(shown["allow"].split(", "))
        return (answer.status, shown, normal(text)), text

    def poll(self, query, raw=None, headers=()):
        method = "GET" if raw is None else "POST"
        return self.ask(method, f"/socket.io/?EIO=4&transport=polling&{query}", raw, headers)

    def socket(self, query="", **options):
        url = self.base.replace("http", "ws", 1) + f"/socket.io/?EIO=4&transport=websocket&{query}"
        return Socket(url, **options)

    def joined(self, user):
        """A socket that was let in, as this user."""
        socket = self.socket(f"user_id={user}")
        socket.next()
        socket.say("40")
        socket.next()
        return socket


class Socket:
    def __init__(self, url, **options):
        self.refused = None
        try:
            options = {"compression": None, "open_timeout": PATIENCE, "ping_interval": None, "max_size": None} | options
            self.socket = connect(url, **options)
        except InvalidStatus as refusal:
            self.refused = (refusal.response.status_code, (refusal.response.body or b"").decode())

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
        return normal(frame) if isinstance(frame, str) else frame

    def silent(self):
        """What comes although nothing should."""
        return self.shown(QUIET)

    def say(self, frame):
        self.socket.send(frame)

    def event(self, name, *arguments, ack=""):
        self.say(f"42{ack}{json.dumps([name, *arguments])}")

    def close(self):
        with contextlib.suppress(AttributeError):
            self.socket.close()
