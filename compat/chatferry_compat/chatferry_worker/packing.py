"""msgpack in plain Python, for projects without the package of that name: what channel layers and scopes hold."""

import struct

#: Levels of nesting; deeper is refused before Python's own limit is met.
MAX_DEPTH = 300


def pack(value):
    out = bytearray()
    _pack(out, value, MAX_DEPTH)
    return bytes(out)


def _pack(out, value, depth):
    if depth == 0:
        raise ValueError("recursion limit exceeded")
    if value is None:
        out.append(0xC0)
    elif value is True or value is False:
        out.append(0xC2 + value)
    elif isinstance(value, int):
        _pack_int(out, value)
    elif isinstance(value, float):
        out += struct.pack(">Bd", 0xCB, value)
    elif isinstance(value, str):
        data = value.encode()
        _head(out, len(data), (0xA0, 31), 0xD9)
        out += data
    elif isinstance(value, bytes | bytearray | memoryview):
        _head(out, len(value), None, 0xC4)
        out += value
    elif isinstance(value, list | tuple):
        _head(out, len(value), (0x90, 15), 0xDB)
        for item in value:
            _pack(out, item, depth - 1)
    elif isinstance(value, dict):
        _head(out, len(value), (0x80, 15), 0xDD)
        for key, item in value.items():
            _pack(out, key, depth - 1)
            _pack(out, item, depth - 1)
    else:
        raise TypeError(f"can not serialize {type(value).__name__!r} object")


def _pack_int(out, value):
    if 0 <= value < 128:
        out.append(value)
    elif -32 <= value < 0:
        out.append(256 + value)
    elif value >= 0:
        for code, form, most in ((0xCC, "B", 8), (0xCD, "H", 16), (0xCE, "I", 32), (0xCF, "Q", 64)):
            if value < 1 << most:
                out += struct.pack(f">B{form}", code, value)
                return
        raise OverflowError("Integer value out of range")
    else:
        for code, form, most in ((0xD0, "b", 7), (0xD1, "h", 15), (0xD2, "i", 31), (0xD3, "q", 63)):
            if value >= -(1 << most):
                out += struct.pack(f">B{form}", code, value)
                return
        raise OverflowError("Integer value out of range")


def _head(out, length, fix, code):
    """A kind and a length; `code` is that of the form with one byte, which lists and maps do not have."""
    if fix and length <= fix[1]:
        out.append(fix[0] | length)
    elif length < 1 << 8 and code in (0xD9, 0xC4):
        out += struct.pack(">BB", code, length)
    elif length < 1 << 16:
        out += struct.pack(">BH", code + 1, length)
    else:
        out += struct.pack(">BI", code + 2, length)


def unpack(body):
    value, place = _unpack(memoryview(body), 0, MAX_DEPTH)
    if place != len(body):
        raise ValueError("unpack(b) received extra data.")
    return value


_NUMBERS = {
    0xCA: "f",
    0xCB: "d",
    0xCC: "B",
    0xCD: "H",
    0xCE: "I",
    0xCF: "Q",
    0xD0: "b",
    0xD1: "h",
    0xD2: "i",
    0xD3: "q",
}
_LENGTHS = {
    **dict.fromkeys((0xC4, 0xD9), ">B"),
    **dict.fromkeys((0xC5, 0xDA, 0xDC, 0xDE), ">H"),
    **dict.fromkeys((0xC6, 0xDB, 0xDD, 0xDF), ">I"),
}


def _read(form, body, place):
    try:
        return struct.unpack_from(form, body, place)[0], place + struct.calcsize(form)
    except struct.error:
        raise ValueError("Unpack failed: incomplete input") from None


def _unpack(body, place, depth):
    if depth == 0:
        raise ValueError("recursion limit exceeded")
    code, place = _read(">B", body, place)
    if code < 0x80:
        return code, place
    if code >= 0xE0:
        return code - 256, place
    if code in _NUMBERS:
        return _read(f">{_NUMBERS[code]}", body, place)
    if code in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[code], place
    if code < 0xC0:
        length = code & (0x1F if code >= 0xA0 else 0x0F)
    elif code in _LENGTHS:
        length, place = _read(_LENGTHS[code], body, place)
    else:
        raise ValueError(f"Unpack failed: {code:#04x}")
    if 0xA0 <= code < 0xC0 or 0xC4 <= code <= 0xDB:
        end = place + length
        if end > len(body):
            raise ValueError("Unpack failed: incomplete input")
        data = bytes(body[place:end])
        return (data if code <= 0xC6 and code >= 0xC4 else data.decode()), end
    if 0x90 <= code < 0xA0 or code in (0xDC, 0xDD):
        return _unpack_list(body, place, length, depth)
    return _unpack_map(body, place, length, depth)


def _unpack_list(body, place, length, depth):
    items = []
    for _ in range(length):
        item, place = _unpack(body, place, depth - 1)
        items.append(item)
    return items, place


def _unpack_map(body, place, length, depth):
    members = {}
    for _ in range(length):
        key, place = _unpack(body, place, depth - 1)
        if not isinstance(key, str | bytes):
            raise ValueError(f"{type(key).__name__} is not allowed for map key when strict_map_key=True")
        members[key], place = _unpack(body, place, depth - 1)
    return members, place
