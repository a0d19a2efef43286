"""What the source of a consumer's class says: whether it may be parked, and which of its handlers depend on their
event alone. In doubt it stays awake, and every member of a group is called."""

import ast
import contextlib
import functools
import hashlib
import inspect
import sys
import textwrap
from dataclasses import dataclass, replace

from channels.consumer import AsyncConsumer, SyncConsumer

from . import purity

#: Calls by which code goes on by itself, or waits where parked consumers must not.
GOES_ON = {
    "create_task": "starts tasks",
    "ensure_future": "starts tasks",
    "TaskGroup": "starts tasks",
    "run_coroutine_threadsafe": "starts tasks",
    "call_later": "sets timers",
    "call_at": "sets timers",
    "call_soon": "sets timers",
    "Thread": "starts threads",
    "Timer": "starts threads",
    "ThreadPoolExecutor": "starts threads",
    "run_in_executor": "starts threads",
    "await_many_dispatch": "has a loop of its own",
    "channel_receive": "receives by itself",
}


@dataclass(frozen=True)
class Kind:
    """How sockets of one class are served. Numbered by the worker, which tells Chatferry of it."""

    name: str
    #: Why it must stay awake; empty if it may be parked.
    why: str
    source: str = ""
    #: Handlers that depend on their event alone.
    once: tuple = ()
    #: Attributes of instances that the source sets.
    sets: tuple = ()

    def awake(self, why):
        return replace(self, why=why, once=())

    def each(self):
        """The same for a socket whose frames something changes on their way."""
        return replace(self, once=())


def is_framework(module):
    """Whether a module is of those that are known here."""
    return module.split(".")[0] in ("channels", "asgiref")


class Classes:
    """The classes that a worker has met."""

    def __init__(self):
        self.kinds = {}

    def of(self, cls):
        kind = self.kinds.get(cls)
        if kind is None:
            kind = self.kinds[cls] = look_at(cls)
        return kind

    def look_at_all(self):
        """Looks at all classes that there are by now: a deploy may write other sources while this process goes on."""
        for cls in _below(AsyncConsumer):
            if not is_framework(cls.__module__):
                # An odd one fails its own sockets, when it is met, and not the start.
                with contextlib.suppress(Exception):
                    self.of(cls)


def _below(cls):
    for sub in type.__subclasses__(cls):
        yield sub
        yield from _below(sub)


def look_at(cls):
    """The kind of a class, by its source and its bases."""
    name = f"{cls.__module__}.{cls.__qualname__}"
    chosen = getattr(cls, "chatferry_level", None)
    if chosen == "awake":
        return Kind(name, "chatferry_level says so")
    own = [base for base in cls.__mro__ if base is not object and not is_framework(base.__module__)]
    try:
        sources = {base: source_of(base) for base in own}
    except (OSError, TypeError, SyntaxError, ValueError):
        why = "" if chosen == "parked" else "its source cannot be read"
        return Kind(name, why)
    why = "" if chosen == "parked" else _why_awake(cls, own, sources)
    if why:
        return Kind(name, why)
    once, constants = purity.once(cls, own, {base: tree for base, (_, tree) in sources.items()})
    text = "\0".join([name, *(text for text, _ in sources.values()), *constants])
    sets = {name for _, tree in sources.values() for name in _sets(tree)}
    return Kind(name, "", hashlib.sha256(text.encode()).hexdigest(), tuple(sorted(once)), tuple(sorted(sets)))


@functools.lru_cache(maxsize=1000)
def source_of(cls):
    """Text and syntax tree of a class."""
    text = textwrap.dedent(inspect.getsource(cls))
    return text, ast.parse(text)


def _why_awake(cls, own, sources):
    if not issubclass(cls, AsyncConsumer):
        return "it is not one of Channels' consumers"
    if any("__call__" in vars(base) for base in own):
        return "it has a __call__ of its own"
    if cls.dispatch not in (AsyncConsumer.dispatch, SyncConsumer.dispatch) and _is_odd_dispatch(own):
        return "it has a dispatch of its own"
    for base in own:
        why = _goes_on(sources[base][1])
        if why:
            return f"{base.__name__} {why}"
    return ""


def _is_odd_dispatch(own):
    """A dispatch that goes on to Channels' own, as mixins have it, is none."""
    for base in own:
        dispatch = vars(base).get("dispatch")
        if dispatch is None:
            continue
        try:
            text = inspect.getsource(dispatch)
        except (OSError, TypeError):
            return True
        if "super()" not in text:
            return True
    return False


def _goes_on(tree):
    for node in ast.walk(tree):
        name = _name_of(node)
        if name in GOES_ON:
            return GOES_ON[name]
        if isinstance(node, ast.While) and _is_true(node.test):
            return "has an endless loop"
        if isinstance(node, ast.AsyncFor):
            return "waits for what has no end"
    return ""


def _sets(tree):
    """The attributes that a class sets on `self`."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield name


def _name_of(node):
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else None


def _is_true(test):
    return isinstance(test, ast.Constant) and bool(test.value)


def module_of(cls):
    return sys.modules.get(cls.__module__)
