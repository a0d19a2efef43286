"""Plays requests and sockets against one server, and writes down what comes back with names for what differs by nature."""

import http.client
import json
import re
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "systems"))

import systems  # noqa: E402
from systems import PATIENCE  # noqa: E402


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
        return self.socket_by(f"EIO=4&transport=websocket&{query}", **options)

    def socket_by(self, query, **options):
        return Socket(self.base.replace("http", "ws", 1) + f"/socket.io/?{query}", normal, **options)

    def joined(self, user):
        """A socket that was let in, as this user."""
        socket = self.socket(f"user_id={user}")
        socket.next()
        socket.say("40")
        socket.next()
        return socket


class Socket(systems.Socket):
    def event(self, name, *arguments, ack=""):
        self.say(f"42{ack}{json.dumps([name, *arguments])}")
