"""The worker's end of the wire: the vectors that Chatferry's end is held to as well, and whatever else may come."""

import random
import unittest
from pathlib import Path

import support  # noqa: F401
from chatferry_worker import packing, wire

VECTORS = Path(__file__).resolve().parents[4] / "src" / "host" / "wire" / "vectors.txt"


def vectors(side):
    for line in VECTORS.read_text(encoding="utf-8").splitlines():
        if line.startswith(side):
            _, kind, digits, *_ = line.split(" ")
            yield kind, bytes.fromhex(digits)


class WireTest(unittest.TestCase):
    def test_every_message_of_chatferry_is_read_however_it_comes(self):
        found = []
        buffer = bytearray()
        for _, data in vectors("chatferry"):
            for byte in data:
                buffer.append(byte)
                found += wire.messages(buffer)
        kinds = [kind for kind, _, _ in found]
        self.assertEqual(set(kinds), set(range(wire.WELCOME, wire.CHALLENGE + 1)))
        self.assertEqual(bytes(buffer), b"")
        bodies = {(kind, subject): body for kind, subject, body in found}
        self.assertEqual(wire.unpack(bodies[wire.CLOSED, 5]), 1001)
        self.assertIsNone(wire.unpack(bodies[wire.CLOSED, 6]))
        self.assertEqual(wire.unpack(bodies[wire.EVENT, 5]), {"type": "chat.message", "message": "안녕"})
        self.assertEqual(wire.unpack(bodies[wire.ANSWER, 12])["kind"], "full")
        self.assertEqual(wire.unpack(bodies[wire.REQUEST, 8]), {"type": "http", "method": "GET", "path": "/"})
        self.assertEqual(wire.unpack(bodies[wire.TAKEN_IN, 8]), 32768)

    def test_what_is_sent_has_the_bytes_of_the_vectors(self):
        event = wire.pack({"type": "chat.message", "message": "안녕"})
        sent = {
            "ACCEPT": (5, wire.pack({"subprotocol": "chat", "headers": [[b"x-a", b"1"]]})),
            "TEXT": (5, "안녕".encode()),
            "CLOSE": (5, wire.pack({"code": 4001, "reason": "bye"})),
            "DONE": (5, b""),
            "ENDED": (5, wire.pack(True)),
            "GROUP_ADD": (9, wire.pack(["room", "specific.x!s5"])),
            "GROUP_SEND": (11, wire.pack(["room", event])),
            "SEND": (12, wire.pack(["specific.x!s5", event])),
            "STATE": (5, wire.pack({"version": 1})),
            "REFUSED": (5, wire.pack("it is awake")),
            "RESPONSE": (8, wire.pack({"status": 200, "headers": [[b"x-a", b"1"]]})),
            "BODY": (8, b"<p>"),
            "BODY_END": (8, b"</p>"),
            "TAKEN": (8, wire.pack(512)),
        }
        known = dict(vectors("worker"))
        for name, (subject, body) in sent.items():
            self.assertEqual(wire.message(getattr(wire, name), subject, body), known[name], name)

    def test_what_is_no_message_is_refused(self):
        for data in ("00000000" + "01" + "00" * 8, "00000009" + "41" + "00" * 8, "ffffffff" + "01" + "00" * 8):
            with self.assertRaises(wire.WireError):
                list(wire.messages(bytearray.fromhex(data)))

    def test_random_bytes_raise_nothing_else(self):
        chance = random.Random(1)
        data = [data for _, data in vectors("chatferry")]
        read = refused = 0
        for _ in range(5000):
            buffer = bytearray(chance.choice(data) + chance.choice(data))
            for _ in range(chance.randrange(4)):
                buffer[chance.randrange(len(buffer))] = chance.randrange(256)
            try:
                read += len(list(wire.messages(buffer)))
            except wire.WireError:
                refused += 1
        self.assertTrue(read > 500 and refused > 500, (read, refused))


class PackingTest(unittest.TestCase):
    """msgpack in plain Python against the package."""

    VALUES = (
        None,
        True,
        False,
        *(sign * (1 << bits) + add for bits in (0, 5, 7, 8, 15, 16, 31, 32, 62) for sign in (1, -1) for add in (-1, 0, 1)),
        (1 << 64) - 1,
        -(1 << 63),
        1.5,
        float("inf"),
        *("ä" * count for count in (0, 1, 15, 16, 127, 128, 40_000)),
        *(b"x" * count for count in (0, 1, 255, 256, 70_000)),
        *([1] * count for count in (0, 1, 15, 16, 70_000)),
        {str(n): [n, {"a": None}] for n in range(20)},
        {b"bytes": "text"},
    )

    def setUp(self):
        try:
            import msgpack
        except ImportError:
            self.skipTest("no msgpack")
        self.msgpack = msgpack

    def test_both_write_the_same_bytes_and_read_each_others(self):
        for value in self.VALUES:
            packed = packing.pack(value)
            self.assertEqual(packed, self.msgpack.packb(value, use_bin_type=True))
            self.assertEqual(packing.unpack(packed), value)

    def test_both_refuse_the_same(self):
        for value in ({1}, object(), [object()], 1 << 64, -(1 << 63) - 1):
            with self.assertRaises((TypeError, OverflowError)):
                packing.pack(value)
        for data in (b"", b"\xc1", b"\xa5ab", b"\x91", b"\x81\x01\x01", b"\xc0\xc0", b"\xd9", b"\xa1\xff"):
            with self.assertRaises(ValueError):
                packing.unpack(data)

    def test_what_is_deep_or_claims_to_be_long_is_refused(self):
        for data in (b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"):
            with self.assertRaises(ValueError):
                packing.unpack(data)


if __name__ == "__main__":
    unittest.main()
