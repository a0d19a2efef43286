"""The input of the checker: the clients' logs, the tables, and when processes ended. See clients.py for the events."""

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar


def bare(text):
    """An id as the tables of all databases and the frames can agree on."""
    return text.replace("-", "")


def on_django(server):
    return server.startswith("django")


@dataclass
class Sent:
    """One message that a client has sent, by socket on a connection, or by REST."""

    key: str
    at: float
    server: str
    conversation: str
    #: Client and number of its connection, or REST client: what it sent by this is in order.
    by: tuple[str, int]
    rest: bool
    number: int
    #: When the first client saw it: shown by a socket, in a history or list, or in an answer of REST.
    shown_at: float | None = None
    shown_by: str = ""
    #: When first live on a connection to each server. A history is read from the tables.
    shown_on: dict[str, float] = field(default_factory=dict)

    @property
    def sender(self):
        return self.key.partition("/")[0]

    def describe(self):
        way = "by REST" if self.rest else f"on connection {self.by[1]} of {self.by[0]}"
        shown = (
            f", first shown at {self.shown_at:.2f} s by {self.shown_by}"
            if self.shown_at is not None
            else ", never shown"
        )
        return f"{self.key} (sent at {self.at:.2f} s {way} to {self.server}{shown})"


@dataclass
class Shown:
    """A message as a client saw it."""

    at: float
    id: str
    key: str
    sender: str
    content: str


@dataclass
class Mark:
    """A wish to mark a message as read; each has a user of its own."""

    user: str
    at: float
    message: str
    server: str
    conversation: str | None
    by: tuple[str, int]
    #: A 200, or the time at which the one who asked saw it.
    done_at: float | None = None


@dataclass
class Connection:
    client: str
    n: int
    server: str
    conversation: str
    asked_at: float
    history: list[Shown] | None = None
    history_at: float = 0
    live: list[Shown] = field(default_factory=list)
    #: Receipts: time, message, user.
    reads: list[tuple[float, str, str]] = field(default_factory=list)
    typed: list[str] = field(default_factory=list)
    code: int | None = None
    reason: str = ""
    #: It was open when the run ended.
    lasted: bool = False
    #: The content of each message that it knew then, by id, of a client of chatferry.v1.
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def django(self):
        return on_django(self.server)

    def __str__(self):
        return f"{self.client}, connection {self.n} to {self.server}, asked for at {self.asked_at:.2f} s"


@dataclass
class Listing:
    """An answer to GET messages/."""

    client: str
    server: str
    conversation: str
    since: float
    at: float
    messages: list[Shown]

    def __str__(self):
        return f"{self.client}, list asked for at {self.since:.2f} s"


@dataclass
class Record:
    #: Seconds within which a process that can has sent what it stored.
    UNSENT_S: ClassVar[float] = 30

    sent: dict[str, Sent] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    typings: set[str] = field(default_factory=set)
    connections: list[Connection] = field(default_factory=list)
    listings: list[Listing] = field(default_factory=list)
    #: Answers of 201, and of chatferry.v1: id, key, client and time.
    acknowledged: list[tuple[str, str, str, float]] = field(default_factory=list)
    #: What clients of chatferry.v1 had no answer to when the run ended.
    unanswered: list[str] = field(default_factory=list)
    #: Sockets that had no connection when the run ended.
    shut: list[str] = field(default_factory=list)
    #: Answers of `not_member` to a message: id, key, and how often it was handed to a socket.
    refused: list[tuple[str, str, int]] = field(default_factory=list)
    #: Files by id: the key of the message that it was sent with, and its digest.
    attached: dict[str, tuple[str, str]] = field(default_factory=dict)
    #: The group as clients that were open knew it when the run ended, by client.
    groups: dict[str, dict] = field(default_factory=dict)
    #: What processes said at the end: server, user and count of unread messages; digest of each file.
    unread: list[tuple[str, str, int]] = field(default_factory=list)
    served: dict[str, str] = field(default_factory=dict)
    #: The conversation that is a group.
    group: str = ""
    errors: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    messages: list[dict] = field(default_factory=list)
    receipts: list[dict] = field(default_factory=list)
    members: list[dict] = field(default_factory=list)
    attachments: list[dict] = field(default_factory=list)
    #: Of receipts, by message and user: the time in the row, in seconds since the run began.
    dated: dict[tuple[str, str], float] = field(default_factory=dict)
    #: Server, and the times at which its process ended.
    ends: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def is_late_for_good(self, sent):
        """Holds if the message may be shown at any time: Django broadcasts once or never, and a process that ended
        before any other had shown the message live leaves it in the tables alone. One that had longer than it takes
        to send is held to it."""
        if on_django(sent.server):
            return True
        end = next((end for end in self.ends[sent.server] if end > sent.at), None)
        if end is None or end - sent.at > self.UNSENT_S:
            return False
        return not any(at < end for server, at in sent.shown_on.items() if server != sent.server)


def key_of(content):
    """`SENDER/NUMBER`, which every message begins with."""
    return content.split(None, 1)[0] if content.strip() else ""


#: Name of each file of a message.
FILE = "chaos-file"
#: A line behind the content of a message in the tables: a file, and its id.
FILE_LINE = re.compile(r"\n\[" + FILE + r"\.txt\]\([^)\s]*attachments/([0-9a-f-]+)/file [^\n]*")


def parted(content):
    """A content as clients of chatferry.v1 see it, and the ids of its files."""
    return FILE_LINE.sub("", content), FILE_LINE.findall(content)


#: Stands before the number of a change, at the end of a content.
CHANGE = " ✎"


def unchanged(content):
    """The content with which a message was sent."""
    return content.partition(CHANGE)[0]


#: Columns of ids that are written with dashes or without; and where the rows of each table go.
IDS = ("id", "message_id", "conversation_id")
TABLES = {
    "messages": "messages",
    "delivery_receipts": "receipts",
    "chatferry_members": "members",
    "chatferry_attachments": "attachments",
}


def read(directory):
    record = Record()
    for file in sorted(directory.glob("client-*.jsonl")):
        with file.open(encoding="utf-8") as lines:
            Reader(record).take(map(json.loads, lines))
    with (directory / "tables.jsonl").open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            row = {name: bare(value) if value and name in IDS else value for name, value in row.items()}
            if row["table"] == "messages":
                row["content"], row["files"] = parted(row["content"])
            getattr(record, TABLES[row["table"]]).append(row)
    for line in (directory / "ends.jsonl").read_text().splitlines():
        end = json.loads(line)
        if began := end.get("began"):
            note_dated(record, time_of(began))
        else:
            record.ends[end["server"]].append(end["t"])
    note_first_shown(record)
    return record


class Reader:
    """Reads the log of one client."""

    def __init__(self, record):
        self.record = record
        self.client = self.conversation = self.asked = None
        self.connection = None

    def take(self, events):
        for event in events:
            getattr(self, f"on_{event['e']}")(event)

    def on_client(self, event):
        self.client, self.conversation = event["client"], bare(event.get("conversation", ""))

    def on_connect(self, event):
        self.connection = Connection(self.client, event["n"], event["server"], self.conversation, event["t"])
        self.record.connections.append(self.connection)

    def on_history(self, event):
        self.connection.history = shown_of(event["t"], event["messages"])
        self.connection.history_at = event["t"]

    def on_frame(self, event):
        message = event["id"], event["sender"], event["content"]
        self.connection.live += shown_of(event["t"], [message])

    def on_read(self, event):
        self.connection.reads.append((event["t"], bare(event["message"]), event["user"]))
        mark = self.record.marks.get(event["user"])
        if mark and mark.by == (self.client, event["n"]) and mark.done_at is None:
            mark.done_at = event["t"]

    def on_typed(self, event):
        self.connection.typed.append(event["user"])

    def on_error(self, event):
        self.record.errors[event["text"]] += 1

    def on_sent(self, event):
        key = f"{event['sender']}/{event['number']}"
        by = (self.client, event["n"])
        self.record.sent[key] = Sent(
            key, event["t"], self.connection.server, self.conversation, by, False, event["number"]
        )

    def on_acked(self, event):
        key = f"{self.client}/{event['number']}"
        self.record.acknowledged.append((bare(event["id"]), key, self.client, event["t"]))

    def on_refused(self, event):
        key = f"{self.client}/{event['number']}"
        self.record.refused.append((bare(event["id"]), key, event["tries"]))

    def on_attached(self, event):
        self.record.attached[bare(event["file"])] = f"{self.client}/{event['number']}", event["sha256"]

    def on_group(self, event):
        self.record.group, self.record.groups[self.client] = self.conversation, event["group"]

    def on_unread(self, event):
        self.record.unread.append((event["server"], event["user"], event["count"]))

    def on_file(self, event):
        self.record.served[bare(event["file"])] = event["sha256"]

    def on_versions(self, event):
        self.connection.versions = {bare(number): content for number, content in event["messages"]}

    def on_unanswered(self, event):
        self.record.unanswered.append(f"{self.client}/{event['number']}")

    def on_marked(self, event):
        server, by = self.connection.server, (self.client, event["n"])
        mark = Mark(event["user"], event["t"], bare(event["message"]), server, self.conversation, by)
        self.record.marks[mark.user] = mark

    def on_typing(self, event):
        self.record.typings.add(event["user"])

    def on_close(self, event):
        self.connection.code, self.connection.reason = event["code"], event["reason"]

    def on_end(self, event):
        if self.connection and event["open"]:
            self.connection.lasted = True
        elif not event["open"]:
            self.record.shut.append(f"{self.client}, {self.connection}")

    def on_posting(self, event):
        key, by = f"{event['sender']}/{event['number']}", (self.client, 0)
        conversation = bare(event["conversation"])
        self.record.sent[key] = Sent(key, event["t"], event["server"], conversation, by, True, event["number"])

    def on_posted(self, event):
        if event["status"] == 201:
            self.record.acknowledged.append(
                (bare(event["id"]), f"{self.client}/{event['number']}", self.client, event["t"])
            )

    def on_putting(self, event):
        mark = Mark(event["user"], event["t"], bare(event["message"]), event["server"], None, (self.client, 0))
        self.record.marks[mark.user] = mark

    def on_put(self, event):
        if event["status"] == 200:
            self.record.marks[event["user"]].done_at = event["t"]

    def on_asking(self, event):
        self.asked = event["server"]

    def on_listed(self, event):
        conversation, messages = bare(event["conversation"]), shown_of(event["t"], event["messages"])
        self.record.listings.append(
            Listing(self.client, self.asked, conversation, event["since"], event["t"], messages)
        )


def shown_of(at, messages):
    return [Shown(at, bare(number), key_of(content), sender, content) for number, sender, content in messages]


def time_of(text):
    """A time as a log or a table has it; UTC if nothing is said."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def note_dated(record, began):
    for row in record.receipts:
        since = time_of(row["timestamp"]) - began
        record.dated[row["message_id"], row["user_id"]] = since.total_seconds()


def note_first_shown(record):
    def note(key, at, by, server=None):
        if sent := record.sent.get(key):
            if sent.shown_at is None or at < sent.shown_at:
                sent.shown_at, sent.shown_by = at, by
            if server:
                sent.shown_on[server] = min(at, sent.shown_on.get(server, at))

    for connection in record.connections:
        for shown in connection.history or ():
            note(shown.key, shown.at, connection.client)
        for shown in connection.live:
            note(shown.key, shown.at, connection.client, connection.server)
    for listing in record.listings:
        for shown in listing.messages:
            note(shown.key, shown.at, listing.client)
    for _, key, client, at in record.acknowledged:
        note(key, at, client)
