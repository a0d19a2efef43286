"""A consumer that sends less than the whole history when a client connects, and `ws.history_limit`."""

import ast
import re
from dataclasses import dataclass

from .finding import BREAKS, NOTE, Finding
from .toml import Entry, undecided

ROWS = re.compile(r"\.objects\b|order_by|filter\(|\bmessages\b|history|queryset|\bqs\b")
#: Names of one message's text, whose cuts are no cuts of a list.
TEXTS = re.compile(r"(content|message|text|body|\bcontent'\]|\btext'\])$")


@dataclass(frozen=True)
class Slice:
    shown: str
    #: How many of the newest rows; None if other rows are taken.
    newest: int | None


def history_slices(sources):
    """Yields each slice of rows, as `messages.order_by("-created_at")[:50]`."""
    for read in sources:
        held = {ast.unparse(t): ast.unparse(n.value) for n in read.nodes(ast.Assign) for t in n.targets}
        for node in read.nodes(ast.Subscript):
            text = ast.unparse(node.value)
            if isinstance(node.slice, ast.Slice) and not _is_reversal(node.slice) and not TEXTS.search(text):
                whole = f"{text} {held.get(text, '')}"
                if ROWS.search(whole):
                    yield Slice(read.shown(node), _newest(node.slice, whole))
        for call in read.nodes(ast.Call):
            if ast.unparse(call.func).rpartition(".")[2] in ("Paginator", "islice", "paginate_queryset"):
                yield Slice(read.shown(call), None)


def entries(sources):
    """Returns `ws.history_limit` for a consumer's sources; nothing if it sends all."""
    found = list(history_slices(sources))
    if not found:
        return []
    key, subject, shown = "ws.history_limit", "sliced history", found[0].shown
    if len(found) == 1 and found[0].newest:
        text = f"the consumer sends the newest {found[0].newest} ({shown}); so does Chatferry with ws.history_limit"
        return [Entry(key, found[0].newest, findings=[Finding(NOTE, "socket", subject, text, "Nothing to do.")])]
    text = f"the consumer does not send all messages ({shown}); Chatferry sends all, or the newest ws.history_limit"
    finding = Finding(BREAKS, "socket", subject, text, "Write the number that is sent at most.")
    return [undecided(key, finding, "how many of the newest messages are sent, 0 for all")]


def _is_reversal(cut):
    return cut.lower is None and cut.upper is None


def _newest(cut, text):
    """Returns how many of the newest rows a slice takes; None if it takes others."""
    limit = _number(cut.upper)
    if cut.lower is None and limit and limit > 0 and re.search(r"['\"]-(created_at|id|timestamp)", text):
        return limit
    limit = _number(cut.lower)
    is_ascending = not re.search(r"order_by\(['\"]-", text)
    return -limit if cut.upper is None and limit and limit < 0 and is_ascending else None


def _number(node):
    try:
        value = ast.literal_eval(node) if node is not None else None
    except ValueError:
        return None
    return value if isinstance(value, int) else None
