"""The verdict of `chatferry_check`: served by Chatferry itself, hosted by it, or neither."""

import json
import unittest

from support import Project, ProjectCase

#: A chat as Channels' tutorial has it: a room by its name, text frames, no tables.
TUTORIAL = {
    "chat/models.py": "",
    "chat/migrations/0001_initial.py": "from django.db import migrations\n\n\n"
    "class Migration(migrations.Migration):\n    pass\n",
    "chat/urls.py": "from django.urls import path\n\nfrom . import views\n\n"
    'urlpatterns = [\n    path("", views.index),\n    path("<str:room_name>/", views.room),\n]\n',
    "chat/views.py": "from django.shortcuts import render\n\n\ndef index(request):\n"
    '    return render(request, "chat/index.html")\n\n\n'
    'def room(request, room_name):\n    return render(request, "chat/room.html", {"room_name": room_name})\n',
    "chat/routing.py": "from django.urls import re_path\n\nfrom . import consumers\n\nwebsocket_urlpatterns = [\n"
    '    re_path(r"ws/chat/(?P<room_name>\\w+)/$", consumers.ChatConsumer.as_asgi()),\n]\n',
    "chat/consumers.py": """import json

from channels.generic.websocket import AsyncWebsocketConsumer


class ChatConsumer(AsyncWebsocketConsumer):
    async def connect(self):
        self.room_name = self.scope["url_route"]["kwargs"]["room_name"]
        self.room_group_name = f"chat_{self.room_name}"
        await self.channel_layer.group_add(self.room_group_name, self.channel_name)
        await self.accept()

    async def disconnect(self, close_code):
        await self.channel_layer.group_discard(self.room_group_name, self.channel_name)

    async def receive(self, text_data):
        message = json.loads(text_data)["message"]
        await self.channel_layer.group_send(self.room_group_name, {"type": "chat.message", "message": message})

    async def chat_message(self, event):
        await self.send(text_data=json.dumps({"message": event["message"]}))
""",
}
NOTIFY = """
from channels.generic.websocket import WebsocketConsumer


class Notify(WebsocketConsumer):
    def connect(self):
        self.accept()
"""
WITH_NOTIFY = (
    ("chat/routing.py", "as_asgi()),\n", 'as_asgi()),\n    path("ws/notify/", Notify.as_asgi()),\n'),
    ("chat/routing.py", "import ChatConsumer\n", "import ChatConsumer\nfrom .notify import Notify\n"),
)


class Verdicts(ProjectCase):
    def verdict_of(self, project, *arguments):
        done = project.manage("chatferry_check", "--json", *arguments)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        document = json.loads(done.stdout)
        return document["verdict"], document["findings"]

    def test_the_unchanged_reference_is_native(self):
        verdict, _ = self.verdict_of(Project(self))
        self.assertEqual((verdict["verdict"], verdict["why"], verdict["consumers"]), ("native", "", []))
        done = Project(self).manage("chatferry_check")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stdout.splitlines()[-1], "Verdict: native. Chatferry serves this chat itself.")

    def test_a_native_chat_says_what_comes_first_and_what_stays(self):
        project = Project(self, *WITH_NOTIFY, settings="DEBUG = True\n", files={"chat/notify.py": NOTIFY})
        verdict, _ = self.verdict_of(project)
        self.assertEqual(verdict["verdict"], "native")
        self.assertIn("2 rows marked `breaks`", verdict["why"])
        self.assertIn("chat.notify.Notify stay with Django", verdict["why"])
        self.assertEqual([it["consumer"] for it in verdict["consumers"]], ["chat.notify.Notify"])

    def test_the_tutorial_gets_one_row_and_one_verdict(self):
        project = Project(self, files=TUTORIAL)
        verdict, findings = self.verdict_of(project)
        self.assertEqual(verdict["verdict"], "hosted")
        self.assertIn("`chatferry host`", verdict["meaning"])
        self.assertEqual(
            verdict["consumers"],
            [
                {
                    "consumer": "chat.consumers.ChatConsumer",
                    "route": r"ws/chat/(?P<room_name>\w+)/$",
                    "fits": True,
                    "why": "asynchronous, without tasks or threads",
                    "level": "hibernated",
                    "why_not_less": "",
                }
            ],
        )
        self.assertEqual([(it["severity"], it["subject"]) for it in findings], [("breaks", "another chat")])
        done = project.manage("chatferry_check")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout.count("Verdict: "), 1)

    def test_no_settings_are_made_for_the_tutorial(self):
        done = Project(self, files=TUTORIAL).manage("chatferry_settings")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("chatferry_check", done.stderr)

    def test_rows_that_follow_from_another_chat_are_gathered(self):
        edits = [
            ("chat/consumers.py", '"chat_message"', '"say"'),
            ("chat/consumers.py", "async def chat_message", "async def say"),
        ]
        project = Project(self, *edits, settings="DEBUG = True\n")
        verdict, findings = self.verdict_of(project)
        self.assertEqual((verdict["verdict"], len(findings)), ("hosted", 1))
        self.assertIn("no `chat_message`", verdict["why"])
        self.assertGreater(len(self.verdict_of(project, "--all")[1]), 1)
        self.assertIn("This is another chat", project.manage("chatferry_settings").stderr)
        self.assertNotIn("another chat", Project(self).manage("chatferry_settings").stderr)

    def test_keys_of_another_kind_are_not_native(self):
        edit = (
            "chat/models.py",
            "id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)\n    conv",
            "conv",
        )
        verdict, _ = self.verdict_of(Project(self, edit))
        self.assertEqual(verdict["verdict"], "hosted")
        self.assertIn("Message is keyed by BigAutoField", verdict["why"])

    def test_consumers_that_hold_a_loop_or_a_thread_do_not_fit(self):
        source = TUTORIAL["chat/consumers.py"]
        for added, why in (
            ("        while True:\n            await self.tick()\n", "endless loop"),
            ("        threading.Thread(target=self.tick).start()\n", "thread or a process"),
        ):
            changed = source.replace("        await self.accept()\n", "        await self.accept()\n" + added)
            verdict, _ = self.verdict_of(Project(self, files={**TUTORIAL, "chat/consumers.py": changed}))
            self.assertEqual(verdict["verdict"], "neither")
            self.assertIn(why, verdict["consumers"][0]["why"])

    def test_the_level_of_each_consumer_comes_with_its_reason(self):
        source = TUTORIAL["chat/consumers.py"]
        for old, new, level, why in (
            ("        await self.accept()\n", "        asyncio.create_task(self.accept())\n", "awake", "starts tasks"),
            ("    async def connect", '    __slots__ = ("room",)\n\n    async def connect', "parked", "it has __slots__"),
            ("", "", "hibernated", ""),
        ):
            project = Project(self, files={**TUTORIAL, "chat/consumers.py": source.replace(old, new, 1)})
            verdict, _ = self.verdict_of(project)
            [consumer] = verdict["consumers"]
            self.assertEqual(consumer["level"], level)
            self.assertIn(why, consumer["why_not_less"])
            line = project.manage("chatferry_check").stdout.splitlines()[-1]
            self.assertIn(f"; {level}", line)
            self.assertTrue(line.endswith(why), line)

    def test_a_project_without_any_consumer_is_neither(self):
        routing = {"chat/routing.py": "websocket_urlpatterns = []\n"}
        verdict, _ = self.verdict_of(Project(self, files={**TUTORIAL, **routing}))
        self.assertEqual((verdict["verdict"], verdict["consumers"]), ("neither", []))
        self.assertIn("no consumer was found", verdict["why"])


if __name__ == "__main__":
    unittest.main()
