"""The messages between Chatferry and a worker: `u32 length, u8 kind, u64 subject, body`, big-endian.

The length counts what follows it. Texts are as they are; every other body is msgpack.
"""

import struct

try:
    import msgpack

    def pack(value):
        return msgpack.packb(value, use_bin_type=True)

    def unpack(body):
        return msgpack.unpackb(body, raw=False, strict_map_key=True)

except ImportError:  # A project without channels_redis need not have it.
    from .packing import pack, unpack

VERSION = 3

(
    WELCOME,
    OPEN,
    TEXT_IN,
    BINARY_IN,
    EVENT,
    CLOSED,
    CHANNEL,
    ANSWER,
    FORGET,
    PING,
    WAKE,
    SLEEP,
    REQUEST,
    BODY_IN,
    BODY_END_IN,
    GONE,
    TAKEN_IN,
    CHALLENGE,
) = range(0x01, 0x13)
(
    HELLO,
    CLASS,
    SERVES,
    ACCEPT,
    TEXT,
    BINARY,
    CLOSE,
    DONE,
    ENDED,
    GROUP_ADD,
    GROUP_DISCARD,
    GROUP_SEND,
    SEND,
    PONG,
    STATE,
    REFUSED,
    RESPONSE,
    BODY,
    BODY_END,
    TAKEN,
) = range(0x41, 0x55)

HEAD = struct.Struct(">IBQ")
#: Bytes of a head that its length counts.
COUNTED = HEAD.size - 4

#: Most bytes of a frame for a client, of an event, and of the state of a socket.
MAX_FRAME = 16 << 20
MAX_EVENT = 4 << 20
MAX_STATE = 64 << 10
#: Most bytes of a part of the body of an answer; of one that is on its way; and what a part counts as, at least.
MAX_PART = 32 << 10
WINDOW = 64 << 10
LEAST_PART = 512
#: Most headers of an answer, and bytes of its head.
MAX_HEADERS = 100
MAX_HEAD = 64 << 10
#: Chatferry sends nothing longer: a frame of a client, or an event.
MAX_LENGTH = 64 << 20

__all__ = ["message", "messages", "pack", "unpack"]


class WireError(Exception):
    """What came is no message."""


def message(kind, subject, body=b""):
    return HEAD.pack(COUNTED + len(body), kind, subject) + body


def messages(buffer):
    """Takes the whole messages out of a bytearray: kind, subject and body of each."""
    place = 0
    try:
        while len(buffer) - place >= HEAD.size:
            length, kind, subject = HEAD.unpack_from(buffer, place)
            if not COUNTED <= length <= MAX_LENGTH or not WELCOME <= kind <= CHALLENGE:
                raise WireError(f"a message of the kind {kind:#04x} with {length} bytes")
            end = place + 4 + length
            if len(buffer) < end:
                break
            body = bytes(memoryview(buffer)[place + HEAD.size : end])
            place = end
            yield kind, subject, body
    finally:
        del buffer[:place]
