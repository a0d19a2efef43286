"""Memory of a server while many clients ask for the same and do not read the answer, for every GET in turn.

    tests/bench/unread.py BINARY [BINARY…] [--peers 40] [--messages 20000] [--seconds 5] [--set KEY=VALUE]

Prints a table: for each path the MiB that the server has before and at its peak, how many of the peers were refused
(429 or 503), and the longest of the answers to a neighbour who asks for `/healthz` meanwhile. With several binaries they
stand side by side; a path that one of them does not have is a dash. It measures, and fails only if a neighbour is not
answered: what is good enough depends on the machine, and what is promised is held by
`rest::answers::unread_answers_hold_no_more_than_the_readme_says`.

The server has a SQLite file in a directory of its own, with one conversation of messages of 1,000 characters, and one user
with 2,000 conversations besides.
"""

import argparse
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid

from floods import conversation, peak_mib

CONVERSATIONS = 2000
CONTENT = "x" * 1000

#: Where the answer may be long, and every document and page; `{id}` is the conversation.
PATHS = (
    "/api/chat/conversations/{id}/messages/",
    "/api/chat/conversations/{id}/",
    "/api/chat/users/alice/conversations/",
    "HTML /api/chat/conversations/{id}/messages/",
    "HTML /api/chat/conversations/{id}/",
    "HEAD /api/chat/conversations/{id}/",
    "/api/v1/conversations?user=alice",
    "/api/v1/conversations/{id}/messages?user=alice&limit=500",
    "/api/v1/conversations/{id}/receipts?user=alice",
    "/api/v1/inbox?user=alice&limit=500",
    "/api/v1/search?user=alice&q=x",
    "/api/v1/unread?user=alice&conversations={id}",
    "/api/chat/",
    "/docs",
    "/openapi.json",
    "/asyncapi.json",
    "/metrics",
    "/status",
)


def fill(file, id, messages):
    """Adds the messages, and the conversations of one more user, to a file that the server has made."""
    now = "2026-01-01 00:00:00.000000"
    with sqlite3.connect(file) as database:
        rows = ((uuid.uuid4().hex, "alice", CONTENT, "text", now, now, 0, uuid.UUID(id).hex) for _ in range(messages))
        insert = "INSERT INTO messages (id, sender_id, content, message_type, created_at, updated_at, is_deleted, conversation_id) "
        database.executemany(insert + "VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        rows = ((uuid.uuid4().hex, "alice", f"peer{number}", now, now, 1) for number in range(CONVERSATIONS))
        insert = "INSERT INTO conversations (id, participant1_id, participant2_id, created_at, updated_at, is_active) "
        database.executemany(insert + "VALUES (?, ?, ?, ?, ?, ?)", rows)


def request_of(path):
    method, accept = "GET", "*/*"
    if path.startswith("HTML "):
        path, accept = path.removeprefix("HTML "), "text/html"
    if path.startswith("HEAD "):
        path, method = path.removeprefix("HEAD "), "HEAD"
    return f"{method} {path} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n".encode()


def ask(port, request):
    """A client with little room that has sent a request and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.settimeout(60)
    client.connect(("127.0.0.1", port))
    client.sendall(request)
    return client


def longest_answer(port, seconds):
    """The longest wait of a neighbour for a small answer."""
    end, longest = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        began = time.monotonic()
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=60).read()
        longest = max(longest, time.monotonic() - began)
        time.sleep(0.05)
    return longest


class Server:
    def __init__(self, binary, directory, settings):
        every = ["server.bind=127.0.0.1:0", f"store.url=sqlite://{directory}/chat.sqlite3", "log.level=error", *settings]
        arguments = [argument for setting in every for argument in ("--set", setting)]
        environment = {"PATH": os.environ["PATH"]}
        command = [binary, "serve", *arguments]
        self.process = subprocess.Popen(command, cwd=directory, env=environment, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def measure(binary, directory, path, options):
    """Before, peak, refused and the longest answer to a neighbour; None if the server does not have the path."""
    with Server(binary, directory, options.set) as server:
        first = ask(server.port, request_of(path))
        if first.recv(12, socket.MSG_WAITALL)[9:] == b"404":
            return None
        first.close()
    with Server(binary, directory, options.set) as server:
        before = peak_mib(server.process.pid)
        peers = [ask(server.port, request_of(path)) for _ in range(options.peers)]
        longest = longest_answer(server.port, options.seconds)
        statuses = [peer.recv(12, socket.MSG_WAITALL)[9:] for peer in peers]
        peak = peak_mib(server.process.pid)
        return before, peak, sum(status in (b"429", b"503") for status in statuses), longest


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", nargs="+", metavar="BINARY", type=os.path.abspath)
    parser.add_argument("--peers", type=int, default=40)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    columns = "before, MiB | peak, MiB | refused | neighbour, ms"
    print("| answer | " + " | ".join([columns] * len(options.binaries)) + " |")
    print("|---|" + "---|" * 4 * len(options.binaries))
    with tempfile.TemporaryDirectory() as directory:
        # The oldest makes the tables that all of them know.
        with Server(options.binaries[0], directory, options.set) as server:
            id = conversation(server.port, "alice", "bob")
        fill(os.path.join(directory, "chat.sqlite3"), id, options.messages)
        for path in PATHS:
            cells = [f"`{path.format(id='…')}`"]
            for binary in options.binaries:
                measured = measure(binary, directory, path.format(id=id), options)
                if measured is None:
                    cells += ["—"] * 4
                    continue
                before, peak, refused, longest = measured
                cells += [f"{before:.0f}", f"{peak:.0f}", str(refused), f"{longest * 1000:.0f}"]
            print("| " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
