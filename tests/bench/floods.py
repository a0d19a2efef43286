"""What neighbours wait for while 100 sockets flood the server, each kind of flood in turn.

    tests/bench/floods.py BINARY [BINARY…] [--flooders 100] [--seconds 10] [--only KIND] [--set KEY=VALUE]

Prints a table: for each kind the 50th and 99th percentile and the longest time from sending a message to receiving it,
of ten neighbours that send 100 messages a second together, how many of the flooders were closed, and the most memory
that the server had. With several binaries they stand side by side. Flooders have conversations of their own. It
measures, and fails only if a neighbour loses its socket, or a message, which is one that is not there 30 s after the
last was sent: what is good enough depends on the machine.

The server has a SQLite file in a directory of its own. Flooders, neighbours and server share the machine, so the line
`nobody` is what all others are to be compared with.
"""

import argparse
import json
import multiprocessing
import os
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid

NEIGHBOURS = 10
INTERVAL = 0.1
MASK = b"\0\0\0\0"
CHUNK = 64 * 1024


def frame(first, payload=b""):
    """A frame of a client's; the mask of zeros changes nothing."""
    length = len(payload)
    if length < 126:
        head = bytes([first, 0x80 | length])
    elif length < 65536:
        head = bytes([first, 0xFE]) + struct.pack(">H", length)
    else:
        head = bytes([first, 0xFF]) + struct.pack(">Q", length)
    return head + MASK + payload


def text(value):
    return frame(0x81, value if isinstance(value, bytes) else json.dumps(value).encode())


def large():
    """A quarter of a MiB of nothing but tiny values."""
    return text(b'{"type":"typing","user_id":"m","is_typing":[' + b"0," * 120_000 + b"0]}")


#: What each kind sends again and again, after what it sends once.
KINDS = {
    "nobody": None,
    "pings": (b"", frame(0x89)),
    "empty fragments": (frame(0x01), frame(0x00)),
    "bad JSON": (b"", text(b"{")),
    "unknown types": (b"", text({"type": "dance"})),
    "binary": (b"", frame(0x82, b"x")),
    "typing": (b"", text({"type": "typing", "user_id": "mallory", "is_typing": True})),
    "large JSON": (b"", large()),
    "reconnects": "reconnects",
}


def handshake(conversation):
    return (
        f"GET /ws/chat/{conversation}/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def conversation(port, one, two):
    body = json.dumps({"participant1_id": one, "participant2_id": two}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/chat/conversations/", body, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["id"]


class Client:
    """One socket, whose frames are taken apart as they come."""

    def __init__(self, port, conversation):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(handshake(conversation))
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise ConnectionError(head)

    def more(self):
        got = self.socket.recv(CHUNK)
        if not got:
            raise ConnectionError("closed")
        self.buffer += got

    def frames(self):
        """The whole frames in the buffer: first byte and payload."""
        while len(self.buffer) >= 2:
            first, length, size = self.buffer[0], self.buffer[1], 2
            if length == 126:
                length, size = int.from_bytes(self.buffer[2:4], "big"), 4
            elif length == 127:
                length, size = int.from_bytes(self.buffer[2:10], "big"), 10
            if len(self.buffer) < size + length:
                return
            payload, self.buffer = self.buffer[size : size + length], self.buffer[size + length :]
            yield first, payload


def flood(port, conversations, kind, ready, stop, closed):
    """Writes what the server takes on every socket, and throws its answers away."""
    if kind == "reconnects":
        ready.set()
        return reconnect(port, conversations, stop)
    first, again = kind
    chunk = again * max(1, CHUNK // len(again))
    watched, gone = selectors.DefaultSelector(), 0
    left = {}
    for id in conversations:
        client = Client(port, id).socket
        client.setblocking(False)
        watched.register(client, selectors.EVENT_READ | selectors.EVENT_WRITE)
        left[client] = first + chunk
    ready.set()
    while not stop.is_set():
        for key, events in watched.select(0.1):
            client = key.fileobj
            try:
                if events & selectors.EVENT_READ and not client.recv(CHUNK):
                    raise ConnectionError
                if events & selectors.EVENT_WRITE:
                    sent = client.send(left[client])
                    left[client] = left[client][sent:] or chunk
            except BlockingIOError:
                pass
            except OSError:
                watched.unregister(client)
                client.close()
                gone += 1
    closed.value = gone


def reconnect(port, conversations, stop):
    """Opens sockets, reads their first bytes and leaves, again and again, so many at a time."""
    watched = selectors.DefaultSelector()

    def open_one(id):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
        watched.register(client, selectors.EVENT_WRITE, id)

    for id in conversations:
        open_one(id)
    while not stop.is_set():
        for key, events in watched.select(0.1):
            client, id = key.fileobj, key.data
            try:
                if events & selectors.EVENT_WRITE:
                    client.send(handshake(id))
                    watched.modify(client, selectors.EVENT_READ, id)
                    continue
                client.recv(CHUNK)
            except OSError:
                pass
            watched.unregister(client)
            client.close()
            open_one(id)


def talk(port, conversations, seconds):
    """Seconds from sending to receiving, of every message."""
    clients = [Client(port, id) for id in conversations]
    watched, waits, sent = selectors.DefaultSelector(), [], {}
    for client in clients:
        client.socket.setblocking(False)
        watched.register(client.socket, selectors.EVENT_READ, client)
    began = time.perf_counter()
    due = [(began + place * INTERVAL / len(clients)) for place in range(len(clients))]
    end = began + seconds
    while time.perf_counter() < end or sent and time.perf_counter() < end + 30:
        now = time.perf_counter()
        for place, client in enumerate(clients):
            if due[place] <= now < end:
                due[place] += INTERVAL
                id = str(uuid.uuid4())
                sent[id] = time.perf_counter()
                client.socket.send(text({"type": "chat_message", "sender_id": "alice", "content": id}))
        for key, _ in watched.select(max(0, min(due) - time.perf_counter()) if now < end else 0.1):
            key.data.more()
            for first, payload in key.data.frames():
                if first == 0x89:
                    key.data.socket.send(frame(0x8A, payload))
                elif first == 0x81 and b'"chat_message"' in payload:
                    waits.append(time.perf_counter() - sent.pop(json.loads(payload)["message"]["content"]))
    return sorted(waits), len(sent)


def peak_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))


def measure(binary, kind, options):
    with tempfile.TemporaryDirectory() as directory:
        settings = ["server.bind=127.0.0.1:0", f"store.url=sqlite://{directory}/chat.sqlite3", "log.level=error", *options.set]
        arguments = [argument for setting in settings for argument in ("--set", setting)]
        environment = {"PATH": os.environ["PATH"]}
        server = subprocess.Popen(
            [binary, "serve", *arguments], cwd=directory, env=environment, stdout=subprocess.PIPE, text=True
        )
        try:
            port = int(server.stdout.readline().rsplit(":", 1)[1])
            neighbours = [conversation(port, "alice", f"bob{number}") for number in range(NEIGHBOURS)]
            flooder = None
            closed = multiprocessing.Value("i", 0)
            stop, ready = multiprocessing.Event(), multiprocessing.Event()
            if kind:
                theirs = [conversation(port, "mallory", f"m{number}") for number in range(options.flooders)]
                flooder = multiprocessing.Process(target=flood, args=(port, theirs, kind, ready, stop, closed))
                flooder.start()
                ready.wait(60)
                time.sleep(1)
            waits, lost = talk(port, neighbours, options.seconds)
            peak = peak_mib(server.pid)
            stop.set()
            if flooder:
                flooder.join(60)
            return waits, lost, closed.value, peak
        finally:
            server.kill()
            server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", nargs="+", metavar="BINARY", type=os.path.abspath)
    parser.add_argument("--flooders", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--only", action="append", choices=KINDS)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    columns = "p50, ms | p99, ms | longest, ms | lost | closed | peak, MiB"
    print("| flood | " + " | ".join([columns] * len(options.binaries)) + " |")
    print("|---|" + "---|" * 6 * len(options.binaries))
    lost_any = 0
    for name, kind in KINDS.items():
        if options.only and name not in options.only:
            continue
        cells = [name]
        for binary in options.binaries:
            waits, lost, closed, peak = measure(binary, kind, options)
            at = [waits[int(len(waits) * share)] for share in (0.5, 0.99)] + [waits[-1]]
            cells += [f"{wait * 1000:.1f}" for wait in at] + [str(lost), str(closed), f"{peak:.0f}"]
            lost_any += lost
        print("| " + " | ".join(cells) + " |", flush=True)
    return int(lost_any > 0)


if __name__ == "__main__":
    sys.exit(main())
