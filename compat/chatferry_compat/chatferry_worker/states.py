"""The state of a parked consumer as plain data: written when its socket leaves a worker, read by the one that wakes it.

No pickle. Written are the attributes of the instance and what middleware has put into the scope, in the values that
`Writer` lists. Channels' own attributes are made anew: the application is called again with the scope of the handshake.
"""

import datetime
import decimal
import importlib
import sys
import uuid

from channels.db import database_sync_to_async
from django.apps import apps
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.db.models import Model
from django.utils import timezone, translation
from django.utils.functional import LazyObject, empty

from . import holding, wire

try:
    from zoneinfo import ZoneInfo
except ImportError:  # Python without time zones.
    ZoneInfo = None

#: Version of what is written here.
VERSION = 1

#: What is written.
PARTS = {"version", "class", "source", "scope", "kept", "attributes", "absent"}

#: Keys of the scope that Chatferry sends with a handshake.
SCOPE = (
    "type",
    "path",
    "raw_path",
    "root_path",
    "headers",
    "query_string",
    "client",
    "server",
    "subprotocols",
)

#: Entries that follow from those, by code of Channels.
MADE_ANEW = {*SCOPE, "asgi", "url_route", "path_remaining", "cookies"}

#: Entries by which a consumer knows its client. One that cannot be written must not be another one afterwards.
IDENTITY = {"user", "session"}

#: Attributes that Channels sets.
CHANNELS = {"scope", "channel_layer", "channel_name", "channel_receive", "base_send"}

#: Context variables that are passed by: those of asgiref, in which Django has the language and the time zone, and what
#: arithmetic leaves behind.
CONTEXT = {"asgiref.local", "decimal_context"}

#: Levels of nesting.
MAX_DEPTH = 20


class StateError(Exception):
    """A state that cannot be written, or does not fit."""


def why_not(cls):
    """Why no state of this class can be written; empty if one may."""
    return "it has __slots__" if any(vars(base).get("__slots__") for base in cls.__mro__) else ""


def write(socket):
    """The state of a socket whose consumer is parked and is not called now."""
    if holding.is_held(socket):
        raise StateError("something else holds it, as a task, a dictionary of a module or a signal")
    consumer = socket.consumer
    if socket.channels:
        raise StateError("it has channels of its own")
    why = why_not(type(consumer))
    if why:
        raise StateError(why)
    kind = socket.worker.classes.of(type(consumer))
    writer = Writer(type(consumer))
    attributes = vars(consumer)
    state = {
        "version": VERSION,
        "class": kind.name,
        "source": kind.source,
        "scope": dict(zip(SCOPE, socket.origin, strict=True)),
        "kept": writer.scope(consumer.scope),
        "attributes": {name: writer.attribute(name, value) for name, value in _own(attributes)},
        "absent": [name for name in kind.sets if name not in attributes],
    }
    if socket.changed is not None:
        state.update(_context(socket, writer))
    try:
        body = wire.pack(state)
    except (UnicodeError, ValueError, TypeError, OverflowError) as error:
        raise StateError(str(error)) from error
    if len(body) > wire.MAX_STATE:
        raise StateError(f"its state has {len(body)} bytes: at most {wire.MAX_STATE}")
    return body


def _context(socket, writer):
    """What calls have set in their context: the language and the time zone. Other variables cannot be written."""
    for variable, value in socket.changed.items():
        if variable.name in CONTEXT or socket.context.get(variable) is value:
            continue
        raise StateError(f"the context variable {variable.name!r} is set")
    made = {}
    for name, current in (("language", translation.get_language), ("zone", timezone.get_current_timezone)):
        value = socket.changed.run(current)
        if value != socket.context.run(current):
            writer.where = f"the current {name}"
            made[name] = writer.write(value)
    return made


def load(body):
    """A state that Chatferry has kept. Its scope is that of the handshake."""
    try:
        state = wire.unpack(body)
    except (ValueError, TypeError) as error:
        raise StateError("it is no state") from error
    if type(state) is not dict or state.get("version") != VERSION:
        raise StateError(f"it is of another version than {VERSION}")
    scope = state.get("scope")
    if not PARTS <= state.keys() or type(scope) is not dict or type(scope.get("headers")) is not list:
        raise StateError("it lacks a part")
    return state


async def restore(state, consumer, kind):
    """Gives a new instance the state of an old one."""
    reader = Reader()
    models = [found for part in ("attributes", "kept") for value in state[part].values() for found in _models(value)]
    if models:
        await database_sync_to_async(reader.fetch)(models)
    attributes = {name: reader.read(value) for name, value in state["attributes"].items()}
    kept = {key: reader.read(value) for key, value in state["kept"].items()}
    if kind.source != state["source"]:
        known = {*state["absent"], *attributes, *vars(consumer)}
        new = [name for name in kind.sets if name not in known and not hasattr(type(consumer), name)]
        if new:
            raise StateError(f"the class now sets {', '.join(new)}, which the state does not have")
    if "language" in state:
        translation.activate(reader.read(state["language"]))
    if "zone" in state:
        timezone.activate(reader.read(state["zone"]))
    vars(consumer).update(attributes)
    for key, value in kept.items():
        _put(consumer.scope, key, value)


def _own(attributes):
    return [
        (name, value)
        for name, value in attributes.items()
        # `groups` is an empty list of Channels' unless the consumer adds to it.
        if name not in CHANNELS and not (name == "groups" and value == [])
    ]


def _put(scope, key, value):
    """Middleware shares what is lazy with the `send` that it wraps: it stays the same object."""
    lazy = scope.get(key)
    if isinstance(lazy, LazyObject) and value is not None:
        lazy._wrapped = value
    else:
        scope[key] = value


def _is_anonymous(kind):
    return kind.__name__ == "AnonymousUser" and kind.__module__ == "django.contrib.auth.models"


class Writer:
    """Writes values of exactly the types that are named here. None, bool, int, float, str and bytes are as they are, any
    other is a list: its name and its parts."""

    def __init__(self, cls):
        self.where = ""
        #: Containers that have been met: a second one who holds them would have a copy.
        self.met = set()
        self.sessions = {}
        for base in cls.__mro__:
            self.met.update(map(id, vars(base).values()))
            module = sys.modules.get(base.__module__)
            self.met.update(map(id, vars(module).values()) if module else ())

    def attribute(self, name, value):
        self.where = name
        return self.write(value)

    def scope(self, scope):
        """What middleware and the consumer have added to the scope of the handshake."""
        kept = {}
        for key, value in scope.items():
            if key in MADE_ANEW:
                continue
            self.where = f'scope["{key}"]'
            # Anything may be in there: what cannot be written is made anew by what has put it there.
            met = set(self.met)
            try:
                kept[key] = self.write(value)
            except StateError:
                if key in IDENTITY:
                    raise
                self.met = met
        return kept

    def write(self, value, depth=MAX_DEPTH):
        kind = type(value)
        if value is None or kind in (bool, float, str, bytes):
            return value
        if kind is int:
            return value if -(1 << 63) <= value < 1 << 64 else ["int", str(value)]
        if kind in (list, tuple, set, frozenset, dict):
            return self._container(kind, value, depth)
        if kind in SIMPLE:
            return [kind.__name__, *SIMPLE[kind](value)]
        if issubclass(kind, datetime.tzinfo):
            return self._zone(value)
        if kind in (datetime.datetime, datetime.time):
            naive = value.replace(tzinfo=None, fold=0)
            zone = None if value.tzinfo is None else self._zone(value.tzinfo)
            return [kind.__name__, naive.isoformat(), value.fold, zone]
        if issubclass(kind, LazyObject):
            if value._wrapped is empty or value._wrapped is None:
                raise self._refuse(kind)
            return self.write(value._wrapped, depth)
        if _is_anonymous(kind):
            return ["anonymous"]
        if issubclass(kind, SessionBase):
            return self._session(value)
        if issubclass(kind, Model):
            return self._model(value)
        raise self._refuse(kind)

    def _refuse(self, kind, why="cannot be written"):
        return StateError(f"{self.where}: {kind.__module__}.{kind.__qualname__} {why}")

    def _container(self, kind, value, depth):
        if depth == 0:
            raise self._refuse(kind, "is too deep")
        if kind in (list, set, dict):
            if id(value) in self.met:
                raise self._refuse(kind, "is held by something else too")
            self.met.add(id(value))
        items = [part for item in value.items() for part in item] if kind is dict else value
        return [kind.__name__, [self.write(item, depth - 1) for item in items]]

    def _zone(self, zone):
        if type(zone) is datetime.timezone:
            return ["timezone", zone.utcoffset(None) // MICROSECOND]
        if ZoneInfo is not None and type(zone) is ZoneInfo and zone.key:
            return ["ZoneInfo", zone.key]
        raise self._refuse(type(zone))

    def _model(self, instance):
        state = instance._state
        if state.adding or instance.pk is None:
            raise self._refuse(type(instance), "is not stored")
        meta = instance._meta
        return ["model", meta.app_label, meta.model_name, state.db, self.write(instance.pk, 1)]

    def _session(self, session):
        if type(session) is not _session_store():
            raise self._refuse(type(session))
        if id(session) not in self.sessions:
            data = vars(session).get("_session_cache")
            data = None if data is None else self.write(data)
            self.sessions[id(session)] = ["session", session.session_key, data, session.accessed, session.modified]
        return self.sessions[id(session)]


CONTAINERS = ("list", "tuple", "set", "frozenset", "dict")

MICROSECOND = datetime.timedelta(microseconds=1)

#: The parts of values that have no others inside.
SIMPLE = {
    uuid.UUID: lambda it: [it.bytes],
    decimal.Decimal: lambda it: [str(it)],
    datetime.date: lambda it: [it.isoformat()],
    datetime.timedelta: lambda it: [it.days, it.seconds, it.microseconds],
}


def _session_store():
    return importlib.import_module(settings.SESSION_ENGINE).SessionStore


def _zone(written):
    name, value = written
    if name == "timezone":
        offset = datetime.timedelta(microseconds=value)
        return datetime.timezone(offset) if offset else datetime.timezone.utc
    return ZoneInfo(value)


def _models(value):
    """The instances of models in what is written."""
    if type(value) is not list:
        return
    name, *parts = value
    if name == "model":
        yield value
    elif name == "session":
        yield from _models(parts[1])
    elif name in CONTAINERS:
        for item in parts[0]:
            yield from _models(item)


class Reader:
    """Reads what `Writer` has written."""

    def __init__(self):
        #: One object for each model instance and session, however often it is referred to.
        self.known = {}

    def fetch(self, models):
        """Reads instances of models from the database."""
        for value in models:
            key = wire.pack(value)
            if key not in self.known:
                _, label, name, alias, pk = value
                manager = apps.get_model(label, name)._base_manager
                self.known[key] = manager.using(alias).get(pk=self.read(pk))

    def read(self, value):
        if type(value) is not list:
            return value
        name, *parts = value
        return getattr(self, f"_read_{name}")(value, *parts)

    def _all(self, items):
        return [self.read(item) for item in items]

    def _read_int(self, _, text):
        return int(text)

    def _read_list(self, _, items):
        return self._all(items)

    def _read_tuple(self, _, items):
        return tuple(self._all(items))

    def _read_set(self, _, items):
        return set(self._all(items))

    def _read_frozenset(self, _, items):
        return frozenset(self._all(items))

    def _read_dict(self, _, items):
        items = self._all(items)
        return dict(zip(items[::2], items[1::2], strict=True))

    def _read_UUID(self, _, data):
        return uuid.UUID(bytes=data)

    def _read_Decimal(self, _, text):
        return decimal.Decimal(text)

    def _read_date(self, _, text):
        return datetime.date.fromisoformat(text)

    def _read_timedelta(self, _, days, seconds, microseconds):
        return datetime.timedelta(days, seconds, microseconds)

    def _read_datetime(self, _, text, fold, zone):
        return datetime.datetime.fromisoformat(text).replace(fold=fold, tzinfo=zone and _zone(zone))

    def _read_time(self, _, text, fold, zone):
        return datetime.time.fromisoformat(text).replace(fold=fold, tzinfo=zone and _zone(zone))

    def _read_timezone(self, value, _):
        return _zone(value)

    def _read_ZoneInfo(self, value, _):
        return _zone(value)

    def _read_anonymous(self, _):
        from django.contrib.auth.models import AnonymousUser

        return AnonymousUser()

    def _read_model(self, value, *_):
        return self.known[wire.pack(value)]

    def _read_session(self, value, key, data, accessed, modified):
        known = wire.pack(value)
        if known not in self.known:
            session = self.known[known] = _session_store()(key)
            if data is not None:
                session._session_cache = self.read(data)
            session.accessed, session.modified = accessed, modified
        return self.known[known]
