"""Clients of our own protocol, chatferry.v1: they send again what is not acknowledged, and come back with a cursor.

They write down what those of the old protocol do (clients.py). A history is all that the client knows, once it has read what
it missed; what comes twice is written down once, as a page may repeat what is known. A message is `sent` when it is first
handed to a socket, and may be handed over again on later connections.
"""

import asyncio
import json
import uuid

import clients
import record
import websockets

#: Messages of a page.
PAGE = 200
#: Before what was not taken is sent again.
AGAIN_S = 0.5
#: Share of what a client does that changes one of its own messages, if the server can.
EDITS = 0.10


def said(message):
    return message["id"], message["sender"], message["content"]


def time_of(text):
    """A time that can be compared; it may have no fraction."""
    seconds, _, fraction = text.rstrip("Z").partition(".")
    return seconds, fraction.ljust(6, "0")


def place(message):
    """The order that all clients have."""
    return *time_of(message["created_at"]), message["id"]


def version(message):
    return time_of(message["updated_at"])


class Native(clients.Socket):
    """A socket that loses no message of its own, and none of others."""

    subprotocols = ("chatferry.v1",)

    def __init__(self, *arguments):
        super().__init__(*arguments)
        #: Every message by id as it was last, and where to go on.
        self.known, self.cursor = {}, None
        #: Versions of messages that are still to come, by id.
        self.ahead = {}
        #: Number of its changes; None if the server cannot change messages.
        self.edits = None
        #: What is not acknowledged, by id in their order: the frame, and its number.
        self.outbox = {}
        #: The one of these that waits for its answer: one at a time, so that they are stored in their order.
        self.under_way = None
        self.outgoing, self.sending, self.socket = None, None, None

    def begin(self, socket):
        self.socket, self.under_way, self.outgoing = socket, None, asyncio.Queue()
        self.sending = asyncio.create_task(self.send(socket, self.outgoing))

    def leave(self):
        if self.sending:
            self.sending.cancel()
            self.sending = None

    async def send(self, socket, outgoing):
        try:
            while True:
                await socket.send(json.dumps(await outgoing.get()))
        except (OSError, websockets.WebSocketException):
            # The reader notes the end.
            pass

    def ask(self, **frame):
        self.outgoing.put_nowait({"conversation": self.conversation, **frame})

    def is_waiting(self):
        return bool(self.outbox)

    def take(self, n, frame):
        getattr(self, f"on_{frame['type']}", self.on_strange)(n, frame)

    def on_strange(self, n, frame):
        self.log.note("error", n=n, text=str(frame))

    def on_hello(self, n, frame):
        if "edit" in frame["features"]:
            self.edits = self.edits or 0
        self.ask(type="subscribe", limit=PAGE, **({"after": self.cursor} if self.cursor else {}))

    def on_subscribed(self, n, frame):
        if frame["reload"]:
            self.on_strange(n, {"reload": frame["cursor"]})
        self.read_on(n, frame)
        for message in frame["updated"]:
            self.on_updated(n, {"message": message})
        self.cursor = frame["cursor"]

    def on_page(self, n, frame):
        self.read_on(n, frame)

    def read_on(self, n, frame):
        """Takes a page; with the last one the client knows everything."""
        for message in frame["messages"]:
            self.learn(n, message)
        if frame["next"]:
            self.ask(type="history", after=frame["next"], limit=PAGE)
        elif self.seen is None:
            whole = sorted(self.known.values(), key=place)
            self.log.note("history", n=n, messages=[said(message) for message in whole])
            self.seen = set(self.known)
            self.pump(n)

    def learn(self, n, message):
        before = self.known.get(message["id"])
        is_new = before is None
        versions = (before, self.ahead.pop(message["id"], None), message)
        message = self.known[message["id"]] = max(filter(None, versions), key=version)
        if is_new and self.seen is not None:
            message_id, sender, content = said(message)
            self.log.note("frame", n=n, id=message_id, sender=sender, content=content)
            self.seen.add(message_id)
            self.remember(message_id)

    def on_message(self, n, frame):
        self.learn(n, frame["message"])
        # While pages are read there is a hole before what comes live.
        if self.seen is not None:
            self.cursor = frame["cursor"]

    def on_updated(self, n, frame):
        """The answer to a change of its own, or anybody's change. It may come before the message."""
        message = frame["message"]
        if message["id"] in self.known:
            self.learn(n, message)
        else:
            versions = (self.ahead.get(message["id"]), message)
            self.ahead[message["id"]] = max(filter(None, versions), key=version)

    def on_changed(self, n, frame):
        self.ask(type="history", after=self.cursor, limit=PAGE)

    def on_read(self, n, frame):
        self.log.note("read", n=n, message=frame["message"], user=frame["user"])

    def on_typing(self, n, frame):
        self.log.note("typed", n=n, user=frame["user"])

    def on_ok(self, n, frame):
        """A mark is shown as well, and that is what counts."""

    def on_ack(self, n, frame):
        self.under_way = None
        if frame["id"] in self.outbox:
            _, number = self.outbox.pop(frame["id"])
            self.log.note("acked", n=n, number=number, id=frame["id"])
        self.pump(n)

    def on_nack(self, n, frame):
        self.under_way = None
        if frame["retry"]:
            asyncio.get_running_loop().call_later(frame.get("retry_after_s", AGAIN_S), self.pump, n)
        else:
            self.on_strange(n, frame)

    def on_error(self, n, frame):
        if self.seen is None:
            # It does not know everything: it begins anew.
            self.closing = asyncio.create_task(self.socket.close())
        else:
            self.log.note("error", n=n, text=frame["code"])

    def pump(self, n):
        if n == self.connection and self.seen is not None and not self.under_way and self.outbox:
            self.under_way, (frame, _) = next(iter(self.outbox.items()))
            self.ask(**frame)

    def finish(self):
        for _, number in self.outbox.values():
            self.log.note("unanswered", n=self.connection, number=number)
        if self.seen is not None:
            versions = [(message["id"], message["content"]) for message in self.known.values()]
            self.log.note("versions", n=self.connection, messages=versions)
        super().finish()

    def own(self):
        return [message for message in self.known.values() if message["sender"] == self.name]

    async def say(self, socket, n):
        if self.edits is not None and self.rng.random() < EDITS and (own := self.own()):
            self.edits += 1
            message = self.rng.choice(own)
            content = record.unchanged(message["content"]) + f"{record.CHANGE}{self.edits}"
            self.ask(type="edit", user=self.name, message=message["id"], content=content)
            return
        frame = self.next_frame(n)
        match frame["type"]:
            case "mark_as_read":
                self.ask(type="read", user=frame["user_id"], messages=[frame["message_id"]])
            case "typing":
                self.ask(type="typing", user=frame["user_id"])
            case _:
                own = str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
                message = {"type": "send", "id": own, "sender": self.name, "content": frame["content"]}
                self.outbox[own] = message, self.number
                self.pump(n)
