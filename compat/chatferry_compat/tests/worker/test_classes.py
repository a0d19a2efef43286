"""What the source of a class says: which handlers are called once for all, and what stays awake. In doubt neither."""

import importlib.util
import itertools
import sys
import tempfile
import unittest
from pathlib import Path

import configured  # noqa: F401
from chatferry_worker import classes, parking

HEAD = '''
import asyncio, datetime, json, random, threading
from channels.consumer import AsyncConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer, WebsocketConsumer
from channels.generic.websocket import JsonWebsocketConsumer
NAME = "chat"
NUMBERS = [1, 2]
JSON = json

class Mixin:
    pass

'''
#: Bodies of an async handler `h(self, event)` that depend on the event alone.
PURE = (
    'await self.send(text_data=json.dumps({"message": event["message"]}))',
    'await self.send(text_data=event["text"])',
    'await self.send(event["text"])',
    'await self.send(bytes_data=event["data"])',
    "await self.send_json(event)",
    'await self.send_json({**event, "name": NAME})',
    '"""Says it."""\n        message = event.get("message", "").strip()\n        await self.send(text_data=f"{message!r:>10} {NAME}")',
    'if event["a"] and not event.get("b"):\n            await self.send_json([event["a"], *event["c"]])\n'
    '        elif len(event["a"]) > 3:\n            await self.send_json(str(event["a"][1:2]))\n        else:\n            pass',
    "a: int = event['a']\n        await self.send_json(a + 1 if a else -a)\n        await self.send_json(a)\n        return",
    'await self.send(text_data=JSON.dumps(event, ensure_ascii=False, separators=(",", ":")))',
)
#: Bodies that do not, or that may not.
IMPURE = (
    "pass",
    "await self.send_json(self.user)",
    "await self.send_json(self.scope['user'].id)",
    "await self.send_json(event['id'] == self.channel_name)",
    "if event['sender'] != self.channel_name:\n            await self.send_json(event)",
    "self.count = 1\n        await self.send_json(event)",
    "await self.send_json(NUMBERS)",
    "await self.send_json(random.random())",
    "await self.send_json(str(datetime.datetime.now()))",
    "await self.send_json(await self.read(event))",
    "await asyncio.sleep(0)\n        await self.send_json(event)",
    "await self.close()",
    "await self.send_json(event, close=True)",
    "await self.send_json(event, True)",
    "await self.channel_layer.group_send('a', event)",
    "print(event)\n        await self.send_json(event)",
    "event['seen'].append(1)\n        await self.send_json(event)",
    "event['a'] = 1\n        await self.send_json(event)",
    "for it in event['all']:\n            await self.send_json(it)",
    "try:\n            await self.send_json(event)\n        except KeyError:\n            pass",
    "await self.send_json([it for it in event])",
    "await self.send_json(hash(event['a']))",
    "await self.send_json(id(event))",
    "await self.send_json(str(self))",
    "self = event\n        await self.send_json(event)",
    "await self.send(text_data=json.dumps(event, default=str))",
    "await self.send(text_data=json.dumps(event, cls=NAME))",
    "await self.send(**event)",
    "await self.send(*event)",
    "await getattr(self, 'send')(text_data='a')",
    "raise ValueError(event)",
    "await self.send_json(lambda: event)",
    "global NAME\n        NAME = event['a']\n        await self.send_json(event)",
    "await self.send_json({1, 2})",
    "await self.send_json((yield))",
)
numbers = itertools.count()


class ClassesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.directory.cleanup)

    def module(self, source):
        name = f"consumers_of_a_test_{next(numbers)}"
        path = Path(self.directory.name) / f"{name}.py"
        path.write_text(HEAD + source, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    def kind(self, source, name="C"):
        return classes.look_at(getattr(self.module(source), name))

    def handler(self, body, base="AsyncJsonWebsocketConsumer", rest=""):
        return self.kind(f"class C({base}):\n    async def h(self, event):\n        {body}\n{rest}")

    def test_handlers_that_depend_on_their_event_alone(self):
        for body in PURE:
            self.assertEqual(self.handler(body).once, ("h",), body)

    def test_handlers_that_may_not(self):
        for body in IMPURE:
            self.assertEqual(self.handler(body).once, (), body)

    def test_sync_handlers_are_read_as_well(self):
        for base, body, once in (
            ("JsonWebsocketConsumer", "self.send_json(event)", ("h",)),
            ("WebsocketConsumer", "self.send(text_data=event['a'])", ("h",)),
            ("JsonWebsocketConsumer", "self.send_json(self.user)", ()),
            ("JsonWebsocketConsumer", "self.close()", ()),
        ):
            kind = self.kind(f"class C({base}):\n    def h(self, event):\n        {body}\n")
            self.assertEqual((kind.why, kind.once), ("", once), body)

    def test_what_hides_or_changes_a_send_makes_nothing_pure(self):
        pure = "await self.send_json(event)"
        for rest in (
            "    async def send(self, *args, **kwargs):\n        await super().send(*args, **kwargs)\n",
            "    async def send_json(self, content, close=False):\n        pass\n",
            "    @classmethod\n    async def encode_json(cls, content):\n        return ''\n",
            "    async def connect(self):\n        self.send_json = None\n",
            "    async def connect(self):\n        self.h = None\n",
            "    async def connect(self):\n        setattr(self, 'h', None)\n",
            "    async def connect(self):\n        self.__dict__['h'] = None\n",
            "    def __getattribute__(self, name):\n        return super().__getattribute__(name)\n",
            "    async def dispatch(self, message):\n        await super().dispatch(message)\n",
            "    async def h(self, event):\n        await self.send_json(self.user)\n",
            "    h = None\n",
        ):
            self.assertEqual(self.handler(pure, rest=rest).once, (), rest)

    def test_a_method_that_something_has_put_in_its_place_is_not_what_the_source_says(self):
        source = (
            "import functools\n"
            "def watched(f):\n    @functools.wraps(f)\n    async def h(self, event):\n"
            "        await f(self, {**event, 'for': self.channel_name})\n    return h\n"
            "def all_watched(cls):\n    cls.h = watched(cls.h)\n    return cls\n"
            "BEFORE\nclass C(AsyncJsonWebsocketConsumer):\n    async def h(self, event):\n"
            "        await self.send_json(event)\nAFTER\n"
        )

        def changed(before="", after=""):
            return source.replace("BEFORE", before).replace("AFTER", after)

        self.assertEqual(self.kind(changed()).once, ("h",))
        for before, after in (
            ("@all_watched", ""),
            ("", "C.h = watched(C.h)"),
            ("", "async def h(self, event):\n    await self.send_json(self.user)\nC.h = h"),
            ("", "C.send_json = watched(C.send_json)"),
        ):
            self.assertEqual(self.kind(changed(before, after)).once, (), before + after)
        module = self.module(changed())
        base = module.AsyncWebsocketConsumer
        send = base.send
        base.send = module.watched(send)
        self.addCleanup(setattr, base, "send", send)
        self.assertEqual(classes.look_at(module.C).once, ())

    def test_other_shapes_of_a_function_are_not_pure(self):
        for head in (
            "    @staticmethod\n    async def h(self, event):",
            "    async def h(self, event, more=1):",
            "    async def h(self, *event):",
            "    async def h(self, event, *, more=NUMBERS):",
            "    def h(self, event):",
            "    async def _h(self, event):",
            "    async def websocket_h(self, event):",
        ):
            source = f"class C(AsyncJsonWebsocketConsumer):\n{head}\n        await self.send_json(event)\n"
            source = source if "async" in head else source.replace("await ", "")
            self.assertEqual(self.kind(source).once, (), head)

    def test_the_handler_of_the_nearest_base_counts(self):
        source = (
            "class B(AsyncJsonWebsocketConsumer):\n    async def h(self, event):\n        await self.send_json(event)\n"
            "class C(Mixin, B):\n    pass\n"
            "class D(B):\n    async def h(self, event):\n        await self.send_json(self.user)\n"
        )
        self.assertEqual(self.kind(source).once, ("h",))
        self.assertEqual(self.kind(source, "D").once, ())

    def test_the_fingerprint_is_of_the_source_and_of_the_constants(self):
        source = "class C(AsyncJsonWebsocketConsumer):\n    async def h(self, event):\n        await self.send_json(NAME)\n"
        kinds = [self.kind(text) for text in (source, source, f'NAME = "other"\n{source}', source.replace("(NAME", "([NAME]"))]
        # The name of the module is part of it, so compare what is hashed beside it.
        self.assertEqual(len({kind.source for kind in kinds}), 4)
        module = self.module(source)
        self.assertEqual(classes.look_at(module.C).source, classes.look_at(module.C).source)
        before = classes.look_at(module.C).source
        module.NAME = "other"
        self.assertNotEqual(classes.look_at(module.C).source, before)

    def test_what_stays_awake_and_why(self):
        for body, why in (
            ("asyncio.create_task(self.tick())", "starts tasks"),
            ("asyncio.ensure_future(self.tick())", "starts tasks"),
            ("threading.Thread(target=print).start()", "starts threads"),
            ("asyncio.get_running_loop().call_later(1, print)", "sets timers"),
            ("while True:\n            await asyncio.sleep(1)", "has an endless loop"),
            ("async for it in event:\n            pass", "waits for what has no end"),
            ("await self.channel_receive()", "receives by itself"),
        ):
            self.assertEqual(self.handler(body).why, f"C {why}", body)
        own_call = "class C(AsyncWebsocketConsumer):\n    async def __call__(self, *args):\n        pass\n"
        self.assertEqual(self.kind(own_call).why, "it has a __call__ of its own")
        dispatch = "class C(AsyncWebsocketConsumer):\n    async def dispatch(self, message):\n        pass\n"
        self.assertEqual(self.kind(dispatch).why, "it has a dispatch of its own")
        bases = "class B(Mixin):\n    def start(self):\n        asyncio.create_task(1)\nclass C(B, AsyncWebsocketConsumer):\n    pass\n"
        self.assertEqual(self.kind(bases).why, "B starts tasks")
        made = self.module("C = type('C', (AsyncWebsocketConsumer,), {'x': 1})\n")
        self.assertEqual(classes.look_at(made.C).why, "its source cannot be read")

    def test_a_class_may_say_it_itself(self):
        tick = "    async def h(self, event):\n        asyncio.create_task(self.tick())\n"
        said = "import chatferry_worker\n@chatferry_worker.{}\nclass C(AsyncWebsocketConsumer):\n" + tick
        self.assertEqual(self.kind(said.format("parked")).why, "")
        self.assertEqual(self.kind(said.format("awake")).why, "chatferry_level says so")

    def test_where_a_call_must_stand_to_be_the_last_act_of_a_function(self):
        source = """
async def returned(inner):
    scope = 1
    return await inner()

async def said(inner):
    await inner()

async def branch(inner):
    if inner:
        return await inner()
    else:
        pass
    print()

async def last_branch(inner):
    if inner:
        await inner()

async def looped(inner):
    for it in (1,):
        if it:
            return await inner()
    raise ValueError

async def printed(inner):
    await inner()
    print()

async def caught(inner):
    try:
        return await inner()
    except ValueError:
        pass

async def held(inner):
    async with inner:
        return await inner()

async def again(inner):
    for it in (1,):
        await inner()

async def wrapped(inner):
    return str(await inner())
"""
        module = self.module(source)
        lines = (HEAD + source).splitlines()
        ends = {}
        for name in ("returned", "said", "branch", "last_branch", "looped", "printed", "caught", "held", "again", "wrapped"):
            code = getattr(module, name).__code__
            line = next(n for n in range(code.co_firstlineno, len(lines)) if "await inner()" in lines[n])
            ends[name] = parking._is_last_act(code, line + 1)
        last = {"returned", "said", "branch", "last_branch", "looped"}
        self.assertEqual({name for name, is_last in ends.items() if is_last}, last)


if __name__ == "__main__":
    unittest.main()
