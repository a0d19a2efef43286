"""Faults of a server that must not have them, to show that the checker finds them: made between clients and processes,
on the WebSocket frames, and in the tables. Nothing of it is in any server.

| name | |
|---|---|
| drop | a message is not shown to one socket |
| double | a message is shown twice to one socket |
| swap | two messages of one sender are shown to one socket in the wrong order |
| silent | a message is stored and never shown |
| forge | a message is shown and not stored |
"""

import json
import struct
import uuid
from datetime import UTC, datetime

KINDS = ("drop", "double", "swap", "silent", "forge")
#: One message in this many is concerned.
EVERY = 15
TEXT = 1


def begin(kind, fleet):
    """Every connection of clients that is opened from now on is tampered with."""
    act = Sabotage(kind, fleet)
    for name, link in fleet.links.items():
        if name.startswith("clients:"):
            link.tamper = act.connection


class Sabotage:
    def __init__(self, kind, fleet):
        self.kind, self.fleet = kind, fleet
        self.seen = 0
        #: Contents of messages that no socket is shown, although a server may find them in the tables.
        self.silent = set()

    def connection(self):
        tampered = Connection(self)
        return tampered.up, tampered.down

    def strikes(self):
        self.seen += 1
        return self.seen % EVERY == 0


class Connection:
    """Both directions of one connection: its head as it is, then frames."""

    def __init__(self, act):
        self.act = act
        self._up, self._down = Frames(), Frames()
        self.conversation = ""
        self._held = None
        #: Frames that no server has sent.
        self._forged = []

    def up(self, data):
        if not self.conversation and data.startswith(b"GET /ws/chat/"):
            self.conversation = data.split(b"/")[3].decode()
        return b"".join(self.sent(frame) for frame in self._up.feed(data))

    def down(self, data):
        forged, self._forged = self._forged, []
        frames = [shown for frame in self._down.feed(data) for shown in self.shown(frame)]
        return b"".join(frames) + b"".join(forged)

    def sent(self, frame):
        """The frame as the server gets it."""
        said = frame.json("chat_message")
        if self.act.kind not in ("silent", "forge") or not said or not self.act.strikes():
            return frame.raw
        if self.act.kind == "silent":
            self.store(said)
        else:
            message = {"id": str(uuid.uuid4()), "sender_id": said["sender_id"], "content": said["content"]}
            self._forged.append(text_frame({"type": "chat_message", "message": message}))
        return b""

    def store(self, said):
        now = datetime.now(UTC).replace(tzinfo=None).isoformat(" ")
        self.act.silent.add(said["content"])
        values = (
            uuid.uuid4().hex,
            uuid.UUID(self.conversation).hex,
            said["sender_id"],
            said["content"],
            "text",
            now,
            now,
            False,
        )
        columns = "id, conversation_id, sender_id, content, message_type, created_at, updated_at, is_deleted"
        self.act.fleet.database.rows(f"INSERT INTO messages ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *values)

    def shown(self, frame):
        """The frames that the client gets for one of the server's."""
        event = frame.json("chat_message")
        if not event:
            return [frame.raw]
        message, kind = event["message"], self.act.kind
        if message["content"] in self.act.silent:
            return []
        if self._held and self._held[0] == message["sender_id"]:
            held, self._held = self._held[1], None
            return [frame.raw, held]
        if kind not in ("drop", "double", "swap") or self._held or not self.act.strikes():
            return [frame.raw]
        if kind == "swap":
            self._held = message["sender_id"], frame.raw
        return {"drop": [], "double": [frame.raw, frame.raw], "swap": []}[kind]


class Frame:
    def __init__(self, raw, opcode=None, final=False, payload=b""):
        self.raw, self.opcode, self.final, self.payload = raw, opcode, final, payload

    def json(self, kind):
        """The JSON object of a text of this type; None for anything else."""
        if self.opcode != TEXT or not self.final or kind.encode() not in self.payload[:100]:
            return None
        value = json.loads(self.payload)
        return value if value.get("type") == kind else None


class Frames:
    """Cuts a stream into its HTTP head, passed as it is, and whole frames."""

    def __init__(self):
        self._buffer, self._in_head = b"", True

    def feed(self, data):
        self._buffer += data
        if self._in_head:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            self._in_head, self._buffer = False, rest
            yield Frame(head + end)
        while frame := self._cut():
            yield frame

    def _cut(self):
        data = self._buffer
        if len(data) < 2:
            return None
        masked, length, at = data[1] & 0x80, data[1] & 0x7F, 2
        if length > 125:
            size = {126: 2, 127: 8}[length]
            if len(data) < at + size:
                return None
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        mask = data[at : at + 4] if masked else None
        at += 4 if masked else 0
        if len(data) < at + length:
            return None
        payload = data[at : at + length]
        if mask:
            payload = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        self._buffer = data[at + length :]
        return Frame(data[: at + length], data[0] & 0x0F, bool(data[0] & 0x80), payload)


def text_frame(value):
    """As a server sends it: not masked."""
    payload = json.dumps(value).encode()
    length = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + struct.pack(">H", len(payload))
    return bytes([0x80 | TEXT]) + length + payload
