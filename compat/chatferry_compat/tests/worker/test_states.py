"""The states of consumers: what is written comes back as it was, and what cannot be written is named."""

import asyncio
import datetime
import decimal
import random
import unittest
import uuid
from zoneinfo import ZoneInfo

import configured  # noqa: F401
from asgiref.sync import async_to_sync
from channels.auth import UserLazyObject
from channels.consumer import AsyncConsumer
from chatferry_worker import classes, states, wire
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
from django.utils.functional import LazyObject, SimpleLazyObject
from test_wire import vectors

SHARED = {"of": "the module"}


class Consumer(AsyncConsumer):
    of_the_class = []

    async def websocket_receive(self, message):
        self.seen = 1


class Worker:
    def __init__(self):
        self.classes = classes.Classes()


class Socket:
    channels = ()
    changed = None
    origin = ("websocket", "/ws/", b"/ws/", "", [(b"a", b"b")], b"", None, None, [])

    def __init__(self, scope, **attributes):
        self.worker = Worker()
        self.consumer = Consumer()
        self.consumer.scope = {"type": "websocket", **scope}
        self.consumer.channel_name = "not written"
        vars(self.consumer).update(attributes)


def moved(scope=None, anew=None, **attributes):
    """The consumer after its state has travelled. `anew` is the scope that middleware makes there."""
    state = states.load(states.write(Socket(scope or {}, **attributes)))
    consumer = Consumer()
    consumer.scope = {**state["scope"], **(anew or {})}
    async_to_sync(states.restore)(state, consumer, Worker().classes.of(Consumer))
    return consumer


def seen(value):
    """A value with its types, sets in one order."""
    if isinstance(value, dict):
        return ["dict", *([seen(key), seen(item)] for key, item in value.items())]
    if isinstance(value, set | frozenset):
        return [type(value).__name__, *sorted(map(repr, map(seen, value)))]
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(seen, value)]
    return repr(value)


def refusal(scope=None, **attributes):
    try:
        states.write(Socket(scope or {}, **attributes))
    except states.StateError as error:
        return str(error)
    return None


VALUES = (
    None,
    True,
    1,
    -(1 << 80),
    1.5,
    "안녕",
    b"\x00\xff",
    [],
    ["model", "list", ["dict"], {"tuple": ()}],
    ("a", [1, (2,)]),
    {1, "a", (2, 3)},
    frozenset({b"x"}),
    {1: "int", (1, 2): {"nested": {3}}, None: [], "text": b""},
    uuid.UUID(int=5),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 6),
    datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
    datetime.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=-3, seconds=5))),
    datetime.date(2026, 1, 2),
    datetime.time(1, 2, 3, 4),
    datetime.timedelta(days=-1, microseconds=3),
    decimal.Decimal("1.50"),
    decimal.Decimal("NaN"),
    ZoneInfo("Asia/Seoul"),
    datetime.timezone.utc,
)


class ScopeTest(unittest.TestCase):
    def test_a_state_knows_every_key_of_the_scope_that_chatferry_sends(self):
        [data] = [data for kind, data in vectors("chatferry") if kind == "OPEN"]
        [(_, _, body)] = wire.messages(bytearray(data))
        self.assertEqual(tuple(wire.unpack(body)), states.SCOPE)


class StatesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        call_command("migrate", verbosity=0)

    def test_plain_values_come_back_as_they_were(self):
        for value in VALUES:
            self.assertEqual(seen(moved(value=value).value), seen(value))

    def test_random_values_come_back_as_they_were(self):
        chance = random.Random(1)

        def value(depth):
            kind = chance.choice((list, tuple, set, dict, None, None)) if depth else None
            items = [value(depth - 1) for _ in range(chance.randrange(4))] if kind else []
            if kind in (list, tuple):
                return kind(items)
            hashable = [it for it in VALUES[:8] + VALUES[13:] if not isinstance(it, list)]
            if kind is set:
                return set(chance.sample(hashable, 3))
            if kind is dict:
                return dict(zip(chance.sample(hashable, 3), items))
            return chance.choice(hashable)

        for _ in range(500):
            expected = value(4)
            self.assertEqual(seen(moved(value=expected).value), seen(expected))

    def test_what_channels_sets_is_not_written(self):
        state = states.load(states.write(Socket({}, groups=[], count=1)))
        self.assertEqual(state["attributes"], {"count": 1})
        self.assertEqual(moved(groups=["added"]).groups, ["added"])

    def test_what_cannot_be_written_is_named_with_its_type(self):
        class Text(str):
            pass

        shared = [1]
        for value, kind in (
            (asyncio.Lock(), "asyncio.locks.Lock cannot be written"),
            (Text("a"), "Text cannot be written"),
            ([{"a": print}], "builtins.builtin_function_or_method cannot be written"),
            (SHARED, "builtins.dict is held by something else too"),
            (Consumer.of_the_class, "builtins.list is held by something else too"),
            ([shared, shared], "builtins.list is held by something else too"),
            (User(username="new"), "User is not stored"),
            (SimpleLazyObject(User), "SimpleLazyObject cannot be written"),
        ):
            why = refusal(value=value)
            self.assertTrue(why and why.startswith("value: ") and why.endswith(kind), why)
        loop = []
        loop.append(loop)
        self.assertIn("something else", refusal(value=loop))
        deep = 0
        for _ in range(50):
            deep = [deep]
        self.assertIn("too deep", refusal(value=deep))
        self.assertIn("at most 65536", refusal(value="x" * wire.MAX_STATE))
        self.assertIn("surrogates not allowed", refusal(value="\udc80"))

    def test_instances_of_models_are_read_anew_once(self):
        user = User.objects.create(username="one")
        User.objects.filter(pk=user.pk).update(first_name="renamed")
        lazy = UserLazyObject()
        lazy._wrapped = user
        consumer = moved({"user": lazy}, {"user": UserLazyObject()}, user=lazy, users=[user])
        self.assertEqual((consumer.user, consumer.user.first_name), (user, "renamed"))
        self.assertIs(consumer.user, consumer.users[0])
        self.assertIs(consumer.scope["user"]._wrapped, consumer.user)
        body = states.load(states.write(Socket({}, user=user)))
        user.delete()
        with self.assertRaises(User.DoesNotExist):
            async_to_sync(states.restore)(body, Consumer(), Worker().classes.of(Consumer))

    def test_a_socket_keeps_the_user_of_its_handshake(self):
        user = User.objects.create(username="two")
        # A token may have expired, or a session ended, since.
        self.assertEqual(moved({"user": user}, {"user": AnonymousUser()}).scope["user"], user)
        self.assertTrue(moved({"user": AnonymousUser()}, {"user": user}).scope["user"].is_anonymous)
        self.assertIn('scope["user"]', refusal({"user": object()}))

    def test_the_session_keeps_its_key_and_what_is_not_saved(self):
        stored = SessionStore()
        stored["a"] = 1
        stored.save()
        lazy, anew = LazyObject(), LazyObject()
        lazy._wrapped = SessionStore(stored.session_key)
        lazy["b"] = {"list": [1, None]}
        anew._wrapped = SessionStore()
        consumer = moved({"session": lazy}, {"session": anew}, session=lazy)
        session = consumer.scope["session"]
        self.assertIs(session, anew, "the send of its middleware saves it")
        self.assertEqual(dict(session.items()), {"a": 1, "b": {"list": [1, None]}})
        self.assertTrue(session.modified)
        self.assertIs(consumer.session, session._wrapped)
        unread = LazyObject()
        unread._wrapped = SessionStore(stored.session_key)
        self.assertEqual(moved({"session": unread}, {"session": anew}).scope["session"]["a"], 1)

    def test_other_entries_of_the_scope_are_kept_or_made_anew(self):
        old = {"plain": {"a": 1}, "loader": object(), "url_route": {"kwargs": {"old": 1}}}
        new = {"plain": "new", "loader": "made anew", "url_route": {"kwargs": {"new": 1}}}
        scope = moved(old, new).scope
        self.assertEqual([scope[key] for key in old], [{"a": 1}, "made anew", {"kwargs": {"new": 1}}])
        self.assertEqual(scope["headers"], [[b"a", b"b"]])

    def test_a_class_that_has_changed_gets_a_state_that_has_all_it_sets(self):
        state = states.load(states.write(Socket({})))
        self.assertEqual(state["absent"], ["seen"])
        for source, sets, fits in (
            ("other", ("seen",), True),
            ("other", ("of_the_class", "seen"), True),
            ("other", ("room", "seen"), False),
            (state["source"], ("room",), True),
        ):
            consumer = Consumer()
            consumer.scope = {}
            kind = classes.Kind("Consumer", "", source, (), sets)
            restore = async_to_sync(states.restore)
            if fits:
                restore(state, consumer, kind)
            else:
                with self.assertRaisesRegex(states.StateError, "now sets room"):
                    restore(state, consumer, kind)

    def test_a_state_of_another_version_is_refused(self):
        for other in ({"version": 2}, {"version": 1}, {}, [], None):
            with self.assertRaises(states.StateError):
                states.load(wire.pack(other))

    def test_junk_is_refused_and_changes_nothing(self):
        chance = random.Random(1)
        written = states.write(Socket({"plain": [1]}, value=list(VALUES)))
        refused = 0
        for _ in range(500):
            body = bytearray(written)
            for _ in range(chance.randrange(1, 4)):
                body[chance.randrange(len(body))] = chance.randrange(256)
            consumer = Consumer()
            consumer.scope = {}
            try:
                state = states.load(bytes(body))
            except states.StateError:
                refused += 1
                continue
            try:
                async_to_sync(states.restore)(state, consumer, Worker().classes.of(Consumer))
            except Exception:
                refused += 1
                self.assertEqual(vars(consumer), {"scope": {}})
        self.assertGreater(refused, 100)


if __name__ == "__main__":
    unittest.main()
