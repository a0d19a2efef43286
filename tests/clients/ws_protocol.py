"""The cases of Autobahn's test suite, written and read by Python's `websockets` as it is without its sockets.

BASE_URL   the server (default http://127.0.0.1:8000), started with CHATFERRY__WS__MAX_MESSAGE_BYTES=20000000
           and CHATFERRY__WS__FRAMES_PER_S=0

The cases are the rows of `../protocol/autobahn.txt`, which says how they are read. Frames that `websockets` knows are laid out
by it, of those that nobody may send the first byte is by hand; every answer goes through its parser, which takes nothing that breaks the protocol.
Prints one line per section, closes with `N passed, N failed` and exits non-zero on a failure.
"""

import json
import os
import socket
import sys
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from websockets.client import ClientProtocol
from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

BASE_URL = os.environ.get("BASE_URL", "http://127.0.0.1:8000").rstrip("/")
TABLE = Path(__file__).parent.parent / "protocol" / "autobahn.txt"
# What stands around the text of a typing frame.
BEFORE, AFTER = b'{"type": "typing", "user_id": "', b'"}'
PATIENCE_S = 60


def times(text, sign):
    count, found, rest = text.partition(sign)
    return (int(count), rest) if found and count.isdigit() else (1, text)


def part_bytes(part):
    """`*N`, `~N`, `=TEXT` or `0xHEX`."""
    if part[0] in "*~":
        return {"*": b"*", "~": b"\xfe"}[part[0]] * int(part[1:])
    return part[1:].encode() if part[0] == "=" else bytes.fromhex(part[2:])


def wire(first, payload):
    """A masked frame, laid out by `websockets`; of one that it would not send the first byte is ours."""
    try:
        fin, *rsv = (bool(first & bit) for bit in (0x80, 0x40, 0x20, 0x10))
        return Frame(Opcode(first & 0x0F), payload, fin, *rsv).serialize(mask=True)
    except (ValueError, ProtocolError):
        return bytes([first]) + Frame(Opcode.BINARY, payload).serialize(mask=True)[1:]


class Case:
    def __init__(self, line):
        self.name, self.cut, frames, answers = (column.strip() for column in line.split("|"))
        self.frames, self.texts, self.pings, self.begun = [], [], [], b""
        for frame in frames.split(" "):
            count, frame = times(frame, "x")
            for _ in range(count):
                self.add(frame)
        self.optional = "?" in answers
        counted = [times(answer.rstrip("?"), "*") for answer in answers.split(" ")]
        self.answers = [answer for count, answer in counted for _ in range(count)]

    def add(self, text):
        head, _, payload = text.partition(":")
        first, _, size = head.partition("/")
        first, data = int(first, 16), b""
        for part in filter(None, payload.split(",")):
            if part == "{":
                self.begun, more = b"", BEFORE
            elif part == "}":
                self.texts.append(self.begun)
                more = AFTER
            else:
                more = part_bytes(part)
                if not first & 0x08:
                    self.begun += more
            data += more
        if first & 0x0F == Opcode.PING:
            self.pings.append(data)
        size = int(size or len(data) or 1)
        pieces = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
        for number, piece in enumerate(pieces):
            opcode = first & 0x7F if number == 0 else 0
            fin = first & 0x80 if number + 1 == len(pieces) else 0
            self.frames.append(wire(fin | opcode, piece))

    def play(self, peer):
        heard = []
        if self.cut == "turn":
            for frame in self.frames:
                peer.send(frame)
                heard.append(self.next(peer, heard))
        else:
            whole = b"".join(self.frames)
            size = int(self.cut) if self.cut.isdigit() else len(whole)
            pieces = self.frames if self.cut == "frame" else [whole[at : at + size] for at in range(0, len(whole), size)]
            for piece in pieces:
                peer.send(piece)
        ends = self.answers[-1] not in ("echo", "pong", "error")
        while len(heard) < len(self.answers) and not (ends and heard[-1:] == self.answers[-1:]):
            heard.append(self.next(peer, heard))
        assert heard in (self.answers, self.answers[self.optional :]), f"{heard} instead of {self.answers}"
        if not ends:
            peer.send(wire(0x80 | Opcode.CLOSE, b"\x03\xe8"))
            assert self.next(peer, heard) == "1000", "it does not close"
        if self.answers[-1] != "drop":
            assert peer.frame() is None, "something comes after the end"

    def next(self, peer, heard):
        """The next answer in the table's word for it."""
        frame = peer.frame()
        if frame is None:
            return "drop"
        if frame.opcode is Opcode.CLOSE:
            return str(int.from_bytes(frame.data[:2], "big"))
        if frame.opcode is Opcode.PONG:
            assert frame.data == self.pings[heard.count("pong")], f"a pong with {frame.data[:50]!r}"
            return "pong"
        assert frame.opcode is Opcode.TEXT and frame.fin, frame
        answer = json.loads(frame.data)
        if "error" in answer:
            return "error"
        assert answer["user_id"].encode() == self.texts[heard.count("echo")], "another text"
        return "echo"


class Peer:
    """One connection: the parser of `websockets`, and what it has read."""

    def __init__(self, conversation):
        address = urlsplit(BASE_URL)
        self.socket = socket.create_connection((address.hostname, address.port), PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.protocol = ClientProtocol(parse_uri(f"ws://{address.netloc}/ws/chat/{conversation}/"), max_size=None)
        self.protocol.send_request(self.protocol.connect())
        self.frames, self.ended = [], False
        self.flush()
        while self.protocol.state is not OPEN:
            assert self.read(), f"no socket: {self.protocol.handshake_exc}"
        self.frames = [frame for frame in self.frames if isinstance(frame, Frame)]
        history = self.frame()
        assert json.loads(history.data)["type"] == "conversation_history"

    def flush(self):
        for data in self.protocol.data_to_send():
            if data:
                self.send(data)

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            # The server has ended it; what it said before is still read.
            pass

    def read(self):
        """Reads what there is; false at the end."""
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionError:
            data = b""
        if not data:
            return False
        self.protocol.receive_data(data)
        self.frames += self.protocol.events_received()
        assert self.protocol.parser_exc is None, f"the server broke the protocol: {self.protocol.parser_exc}"
        return True

    def frame(self):
        """The next frame but for pings, which are answered; `None` at the end."""
        while True:
            while self.frames:
                frame = self.frames.pop(0)
                if frame.opcode is not Opcode.PING:
                    return frame
                self.send(wire(0x80 | Opcode.PONG, frame.data))
            if not self.read():
                return None

    def close(self):
        self.socket.close()


def played(case, rest):
    """Why a case failed, if it did."""
    answer = rest.post("conversations/", json={"participant1_id": f"{case.name} {uuid.uuid4()}", "participant2_id": "nobody"})
    peer = Peer(answer.json()["id"])
    try:
        case.play(peer)
    except (AssertionError, OSError, IndexError, KeyError) as error:
        return f"{case.name}: {error!r}"
    finally:
        peer.close()
    return None


def main():
    sections, failures = {}, []
    with httpx.Client(base_url=f"{BASE_URL}/api/chat/", timeout=PATIENCE_S) as rest:
        for line in TABLE.read_text().splitlines():
            if not line or line.startswith("#"):
                continue
            section = sections.setdefault(line.split(".")[0], [])
            section.append(played(Case(line), rest))
    for section, outcomes in sections.items():
        failures += (failed := [outcome for outcome in outcomes if outcome])
        print(f"{'FAIL' if failed else 'ok':<5} section {section}: {len(outcomes)} cases", flush=True)
    for failure in failures:
        print(f"FAIL  {failure}")
    count = sum(map(len, sections.values()))
    print(f"{count - len(failures)} passed, {len(failures)} failed")
    return 1 if failures or not count else 0


if __name__ == "__main__":
    sys.exit(main())
