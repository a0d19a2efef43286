"""What a consumer's source tells of its groups, frames and close codes.

Read, not run: a consumer cannot be run without its database. Only what stands there literally is found.
"""

import ast
import inspect
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from .source import FOREIGN

PLACE = "{conversation_id}"
GROUP_CALLS = ("group_add", "group_discard", "group_send")
#: A name or text that contains one of these is taken for the kind of a frame.
KIND_WORDS = ("type", "kind", "action", "command", "event")


@dataclass
class ConsumerFacts:
    readable: bool = False
    group_pattern: str | None = None
    #: `type` of a frame to the keys it is sent with, in order.
    frames: dict = field(default_factory=dict)
    #: (`type`, keys) of each event given to group_send.
    events: list = field(default_factory=list)
    commands: set = field(default_factory=set)
    errors: set = field(default_factory=set)
    close_codes: set = field(default_factory=set)


def facts(consumer):
    """Of a consumer class and the bases that are the project's own."""
    found = ConsumerFacts()
    for cls in consumer.__mro__:
        if cls.__module__.split(".")[0] in FOREIGN:
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
        except (OSError, TypeError, SyntaxError):
            continue
        found.readable = True
        _Reader(found, vars(sys.modules[cls.__module__])).read(tree)
    return found


def events_sent(directory):
    """(file, line, type, keys) of each event literal that any module below an app's directory gives to group_send."""
    for path in sorted(Path(directory).rglob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):
            continue
        for call in _calls(tree):
            # async_to_sync(layer.group_send)(group, event) is a call of a call.
            if "group_send" in ast.unparse(call.func):
                for keys, kind in _typed_dicts(call.args):
                    yield path.relative_to(directory), call.lineno, kind, keys


class _Reader:
    def __init__(self, found, module):
        self.found = found
        self.module = module
        self.assigned = {}

    def read(self, tree):
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                self.assigned[ast.unparse(node.targets[0])] = node.value
        sent_to_groups = set()
        for call in _calls(tree):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if name in GROUP_CALLS and call.args:
                self.found.group_pattern = self.found.group_pattern or self._pattern(call.args[0])
            if name == "group_send":
                dicts = [node for arg in call.args for node in ast.walk(arg) if isinstance(node, ast.Dict)]
                sent_to_groups |= set(map(id, dicts))
                self.found.events += [(kind, keys) for keys, kind in _typed_dicts(call.args)]
            if name == "close":
                codes = [*call.args[:1], *(k.value for k in call.keywords if k.arg == "code")]
                self.found.close_codes |= {c.value for c in codes if isinstance(c, ast.Constant) and c.value}
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict) and id(node) not in sent_to_groups:
                self._frame(node)
            elif isinstance(node, ast.Compare):
                self._comparison(node)
            elif isinstance(node, ast.MatchValue) and isinstance(node.value, ast.Constant):
                self.found.commands |= _texts([node.value])

    def _frame(self, node):
        keys, kind = _keys_and_type(node)
        if kind is not None:
            self.found.frames.setdefault(kind, keys)
        elif keys == ("error",) and isinstance(node.values[0], ast.Constant):
            self.found.errors |= _texts(node.values)

    def _comparison(self, node):
        sides = [node.left, *node.comparators]
        words = " ".join(self._spelled(side) for side in sides if not isinstance(side, ast.Constant)).lower()
        if any(word in words for word in KIND_WORDS):
            for side in sides:
                inner = side.elts if isinstance(side, (ast.Tuple, ast.List, ast.Set)) else [side]
                self.found.commands |= _texts(inner)

    def _spelled(self, node):
        text = ast.unparse(node)
        return f"{text} {ast.unparse(self.assigned[text])}" if text in self.assigned else text

    def _pattern(self, node):
        """A group's name with PLACE where the one variable part is; None if it cannot be told."""
        for _ in range(5):
            node = self.assigned.get(ast.unparse(node), node)
        parts = self._parts(node)
        if parts is None or parts.count(None) != 1:
            return None
        return "".join(PLACE if part is None else part for part in parts)

    def _parts(self, node):
        """The pieces of a text, None for each that is not known; None for what is no such text."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return [node.value]
        if isinstance(node, ast.JoinedStr):
            return [part for piece in node.values for part in self._parts(piece) or [None]]
        if isinstance(node, ast.FormattedValue):
            return self._variable(node.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
            return _around(str(node.left.value).split("%s"))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            sides = (node.left, node.right)
            return [part for side in sides for part in (self._parts(side) or self._variable(side))]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            text = node.func.value
            return _around(text.value.split("{}")) if isinstance(text, ast.Constant) else None
        return None

    def _variable(self, node):
        """A constant of the module counts as its text."""
        value = self.module.get(ast.unparse(node))
        return [value] if isinstance(value, str) else [None]


def _around(pieces):
    parts = [pieces[0]]
    for piece in pieces[1:]:
        parts += [None, piece]
    return parts


def _calls(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _typed_dicts(nodes):
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        if isinstance(node, ast.Dict):
            keys, kind = _keys_and_type(node)
            if kind is not None:
                yield keys, kind


def _keys_and_type(node):
    """A dict literal's keys, and the value of `type` if that is a text. `**rest` hides keys: then there is no type."""
    if not all(isinstance(key, ast.Constant) for key in node.keys):
        return (), None
    keys = tuple(key.value for key in node.keys)
    kinds = [
        value.value
        for key, value in zip(keys, node.values, strict=True)
        if key == "type" and isinstance(value, ast.Constant)
    ]
    return keys, kinds[0] if kinds and isinstance(kinds[0], str) else None


def _texts(nodes):
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
