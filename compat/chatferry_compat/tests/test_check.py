"""`chatferry_check` on the reference and on deliberately changed copies of it."""

import unittest

from support import Project, ProjectCase

#: What the in-memory layer of the reference is always told.
MEMORY = ("note", "BACKEND")


class Check(ProjectCase):
    def found(self, *edits, **changes):
        return self.findings_of(Project(self, *edits, **changes)) - {MEMORY}

    def test_nothing_of_the_unchanged_reference_would_differ(self):
        self.assertEqual(self.found(), set())

    def test_the_table_names_severity_and_advice(self):
        project = Project(self, settings="DEBUG = True\n")
        done = project.manage("chatferry_check")
        self.assertEqual(done.returncode, 1)
        self.assertIn("breaks    settings       DEBUG", done.stdout)
        self.assertIn("breaks: clients, or Django beside Chatferry", done.stdout)

    def test_other_table_names_are_a_setting_and_no_difference(self):
        self.assertEqual(self.found(("chat/models.py", 'db_table = "messages"', 'db_table = "talk_message"')), set())

    def test_a_renamed_field(self):
        files = ("models", "serializers", "consumers", "events")
        edits = [(f"chat/{name}.py", "sender_id", "author_id") for name in files]
        found = self.found(*edits)
        self.assertLessEqual(
            {
                ("breaks", "Message.sender_id"),
                ("breaks", "Message.author_id"),
                ("breaks", "MessageSerializer.sender_id"),
                ("breaks", "MessageSerializer.author_id"),
            },
            found,
        )

    def test_columns_that_hold_less_more_or_other_things(self):
        found = self.found(
            (
                "chat/models.py",
                "sender_id = models.CharField(max_length=255",
                "sender_id = models.CharField(max_length=64",
            ),
            (
                "chat/models.py",
                "user_id = models.CharField(max_length=255",
                "user_id = models.CharField(max_length=300",
            ),
            ("chat/models.py", "content = models.TextField()", "content = models.JSONField()"),
            ("chat/models.py", '("file", "File")', '("file", "File"), ("voice", "Voice")'),
            ("chat/models.py", '        unique_together = ("message", "user_id")\n', ""),
            (
                "chat/models.py",
                "is_deleted = models.BooleanField(default=False)",
                "is_deleted = models.BooleanField(default=False)\n    stars = models.IntegerField(default=0)\n"
                "    note = models.TextField(null=True)",
            ),
        )
        self.assertLessEqual(
            {
                ("breaks", "Message.sender_id"),
                ("differs", "DeliveryReceipt.user_id"),
                ("breaks", "Message.content"),
                ("differs", "Message.message_type"),
                ("breaks", "DeliveryReceipt"),
                ("breaks", "Message.stars"),
                ("look", "Message.note"),
            },
            found,
        )

    def test_a_collation_that_may_take_two_users_for_one_is_named(self):
        ids = {"Conversation.participant1_id", "Conversation.participant2_id", "DeliveryReceipt.user_id"}
        mysql = 'DATABASES = {"default": {"ENGINE": "django.db.backends.mysql", "NAME": "chat"}}\n'
        found = self.found(settings=mysql)
        self.assertLessEqual({("note", name) for name in ids}, found)
        edits = [
            (
                "chat/models.py",
                f"{name} = models.CharField(max_length=255",
                f'{name} = models.CharField(max_length=255, db_collation="utf8mb4_nopad_bin"',
            )
            for name in ("participant1_id", "participant2_id", "user_id")
        ]
        self.assertFalse({("note", name) for name in ids} & self.found(*edits, settings=mysql))
        loose = [(file, text, new.replace("utf8mb4_nopad_bin", "NOCASE")) for file, text, new in edits[:1]]
        self.assertEqual(self.found(*loose), {("note", "Conversation.participant1_id")})

    def test_code_that_runs_when_django_writes(self):
        found = self.found(
            ("chat/models.py", "class DeliveryReceipt(", "def told(**_):\n    pass\n\n\nclass DeliveryReceipt("),
            ("chat/models.py", "import uuid\n", "import uuid\n\nfrom django.db.models.signals import post_save\n"),
            (
                "chat/models.py",
                '    class Meta:\n        db_table = "messages"',
                "    def save(self, *args, **kwargs):\n        super().save(*args, **kwargs)\n\n"
                '    class Meta:\n        db_table = "messages"',
            ),
            (
                "chat/apps.py",
                'name = "chat"',
                'name = "chat"\n\n    def ready(self):\n'
                "        from django.db.models.signals import post_save\n        from . import models\n"
                "        post_save.connect(models.told, sender=models.Message)",
            ),
        )
        self.assertEqual(found, {("look", "Message.save()"), ("look", "post_save: chat.models.told")})

    def test_serializers_with_other_fields_order_and_formats(self):
        found = self.found(
            ("chat/serializers.py", '"updated_at", "is_deleted"]', '"is_deleted", "updated_at", "conversation"]'),
            ("chat/serializers.py", '["id", "message", "user_id"', '["id", "user_id"'),
            (
                "chat/serializers.py",
                "class MessageSerializer(serializers.ModelSerializer):\n",
                "class MessageSerializer(serializers.ModelSerializer):\n"
                '    created_at = serializers.DateTimeField(format="%s", read_only=True)\n\n'
                "    def validate_content(self, value):\n        return value\n\n",
            ),
        )
        self.assertEqual(
            found,
            {
                ("breaks", "MessageSerializer.conversation"),
                ("differs", "MessageSerializer"),
                ("breaks", "DeliveryReceiptSerializer.message"),
                ("breaks", "MessageSerializer.created_at"),
                ("look", "MessageSerializer.validate_content()"),
            },
        )

    def test_paths_methods_and_descriptions(self):
        found = self.found(
            (
                "chat/urls.py",
                '    path("messages/<uuid:message_id>/read/", views.mark_message_as_read),\n',
                '    path("stats/", views.create_conversation),\n',
            ),
            (
                "chat/views.py",
                '@api_view(["POST"])\ndef send_message',
                '@api_view(["POST", "PATCH"])\ndef send_message',
            ),
            ("chat/views.py", "특정 유저의 모든 대화방 조회", "Another text"),
        )
        self.assertEqual(
            found,
            {
                ("breaks", "URL prefix"),
                ("differs", "api/chat/stats/"),
                ("differs", "conversations/<uuid>/messages/send/"),
                ("differs", "users/<str>/conversations/"),
            },
        )

    def test_pages_matter_where_a_view_pages(self):
        paging = (
            'REST_FRAMEWORK = {**REST_FRAMEWORK, "PAGE_SIZE": 10,\n'
            '    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination"}\n'
        )
        self.assertEqual(self.found(settings=paging), {("note", "PAGE_SIZE")})
        generic = (
            "class UserConversations(ListAPIView):\n"
            '    """특정 유저의 모든 대화방 조회"""\n\n'
            "    queryset = Conversation.objects.all()\n    serializer_class = ConversationSerializer\n\n\n"
        )
        found = self.found(
            ("chat/urls.py", "views.user_conversations", "views.UserConversations.as_view()"),
            ("chat/views.py", "import RetrieveAPIView", "import ListAPIView, RetrieveAPIView"),
            (
                "chat/views.py",
                '@api_view(["GET"])\ndef user_conversations',
                generic + '@api_view(["GET"])\ndef user_conversations',
            ),
            settings=paging,
        )
        self.assertEqual(found, {("note", "PAGE_SIZE"), ("breaks", "users/<str>/conversations/")})

    def test_settings_of_rest_framework(self):
        settings = (
            'REST_FRAMEWORK = {"DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],\n'
            '    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],\n'
            '    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],\n'
            '    "EXCEPTION_HANDLER": "service.errors.handler", "DATETIME_FORMAT": "%Y"}\n'
        )
        errors = {"service/errors.py": "def handler(exc, context):\n    return None\n"}
        self.assertEqual(
            self.found(settings=settings, files=errors),
            {
                ("note", "permission_classes"),
                ("breaks", "ChatConsumer"),
                ("breaks", "Origin"),
                ("differs", "refusals"),
                ("differs", "renderer_classes"),
                ("breaks", "parser_classes"),
                ("breaks", "EXCEPTION_HANDLER"),
                ("breaks", "DATETIME_FORMAT"),
            },
        )

    def test_settings_middleware_and_pages_of_django(self):
        settings = (
            "USE_TZ = False\nLANGUAGE_CODE = 'fr'\nSECURE_HSTS_SECONDS = 5\nALLOWED_HOSTS = ['chat.example']\n"
            "MIDDLEWARE = [m for m in MIDDLEWARE if 'clickjacking' not in m]\n"
            "MIDDLEWARE += ['django.middleware.gzip.GZipMiddleware', 'service.odd.Odd']\n"
            "TEMPLATES[0]['DIRS'] = [BASE_DIR / 'pages']\n"
        )
        files = {"pages/404.html": "gone", "service/odd.py": "def Odd(get_response):\n    return get_response\n"}
        self.assertEqual(
            self.found(settings=settings, files=files),
            {
                ("breaks", "USE_TZ = False"),
                ("differs", "LANGUAGE_CODE"),
                ("differs", "SECURE_HSTS_SECONDS"),
                ("note", "ALLOWED_HOSTS"),
                ("differs", "XFrameOptionsMiddleware"),
                ("differs", "GZipMiddleware"),
                ("look", "Odd"),
                ("differs", "404.html"),
            },
        )

    def test_frames_commands_codes_and_events(self):
        found = self.found(
            ("chat/consumers.py", "await self.close()", "await self.close(code=4004)"),
            ("chat/consumers.py", '"message": event["message"]}', '"message": event["message"], "at": 1}'),
            ("chat/consumers.py", 'elif kind == "typing":', 'elif kind == "edit":'),
            ("chat/consumers.py", "Invalid JSON format", "Bad JSON"),
            ("service/asgi.py", "AuthMiddlewareStack(", "Throttle("),
            (
                "service/asgi.py",
                "application = Proto",
                "class Throttle:\n    def __init__(self, inner):\n        self.inner = inner\n\n\napplication = Proto",
            ),
            files={
                "chat/tasks.py": "async_to_sync(layer.group_send)('chat_1', {'type': 'chat.message'})\n"
                "async_to_sync(layer.group_send)('chat_1', {'type': 'user.banned', 'user_id': 1})\n"
                "async_to_sync(layer.group_send)('chat_1', {'type': 'chat.message', 'message': {}})\n"
            },
        )
        self.assertEqual(
            found,
            {
                ("differs", "close code 4004"),
                ("breaks", "frame chat_message"),
                ("look", "command edit"),
                ("look", "command typing"),
                ("differs", "error frame"),
                ("look", "Throttle"),
                ("breaks", "tasks.py:1"),
                ("look", "tasks.py:2"),
            },
        )

    def test_a_socket_that_takes_another_path_cannot_move(self):
        found = self.found(("chat/routing.py", "<uuid:conversation_id>/", "<uuid:conversation_id>"))
        self.assertEqual(found, {("breaks", "ws/chat/<uuid:conversation_id>")})

    def test_a_manager_that_hides_rows_and_one_that_makes_them(self):
        managers = (
            "class Shown(models.Manager):\n    def get_queryset(self):\n"
            "        return super().get_queryset().filter(is_deleted=False)\n\n\n"
            "class Rows(models.Manager):\n    def create(self, **values):\n        return super().create(**values)\n\n"
            "    def newest(self):\n        return self.order_by('-created_at')\n\n\n"
        )
        found = self.found(
            ("chat/models.py", "class Conversation(", managers + "class Conversation("),
            (
                "chat/models.py",
                '    class Meta:\n        db_table = "messages"',
                '    shown = Shown()\n\n    class Meta:\n        db_table = "messages"',
            ),
            (
                "chat/models.py",
                '    class Meta:\n        db_table = "conversations"',
                '    objects = Rows()\n\n    class Meta:\n        db_table = "conversations"',
            ),
        )
        self.assertEqual(found, {("breaks", "Message.shown"), ("look", "Conversation.objects")})

    def test_columns_whose_default_only_python_knows(self):
        project = Project(
            self,
            (
                "chat/models.py",
                "is_deleted = models.BooleanField(default=False)",
                "is_deleted = models.BooleanField(default=False)\n    stars = models.IntegerField(default=0)\n"
                '    mood = models.TextField(null=True, default="fine")\n    size = models.IntegerField(db_default=1)',
            ),
        )
        done = project.manage("chatferry_check", "--width", "400").stdout
        for column in ("stars", "mood"):
            self.assertRegex(done, rf"Message\.{column} .*its default is Python's")
        self.assertRegex(done, r"look .*Message\.size ")
        self.assertNotRegex(done, r"Message\.size .*Python")

    def test_history_of_which_a_part_is_sent(self):
        query = '.order_by("created_at")\n        return MessageSerializer(messages, many=True)'
        newest = '.order_by("-created_at")[:50]\n        return MessageSerializer(reversed(messages), many=True)'
        project = Project(self, ("chat/consumers.py", query, newest))
        self.assertEqual(self.findings_of(project) - {MEMORY}, {("note", "sliced history")})
        parsed, text = self.settings_of(project)
        self.assertEqual(parsed["ws"]["history_limit"], 50)
        self.assert_loads(text)
        for cut in (newest.replace("50", "LIMIT"), newest.replace("-created", "created")):
            project = Project(self, ("chat/consumers.py", query, cut))
            self.assertIn(("breaks", "sliced history"), self.findings_of(project))
            self.assert_refused(self.settings_of(project)[1], "ws.history_limit")

    def test_answers_that_are_cut(self):
        cut = ("chat/views.py", '.order_by("-updated_at")', '.order_by("-updated_at")[:20]')
        self.assertEqual(self.found(cut), {("breaks", "users/<str>/conversations/")})

    def test_content_that_is_cut_or_changed(self):
        edit = (
            "chat/consumers.py",
            '        content = frame.get("content")\n',
            '        content = frame.get("content", "").strip()\n        content = content[:500]\n',
        )
        self.assertEqual(self.found(edit), {("differs", "chat/consumers.py:47"), ("differs", "chat/consumers.py:48")})

    def test_content_that_is_cut_or_changed_with_a_default_beside_it(self):
        read = 'frame.get("content")'
        for content in (
            f'({read} or "")[:500]',
            f"str({read})[:500]",
            f'({read} if {read} else "")[:500]',
            f"(given := {read})[:500]",
            f'" ".join(({read} or "").split())',
        ):
            edit = ("chat/consumers.py", f"        content = {read}\n", f"        content = {content}\n")
            self.assertEqual(self.found(edit), {("differs", "chat/consumers.py:47")}, content)

    def test_own_authentication_when_a_socket_opens(self):
        edits = [
            (
                "chat/consumers.py",
                "        if not await self.conversation_is_active():\n",
                "        if not await self.may_enter() or not await self.conversation_is_active():\n",
            ),
            (
                "chat/consumers.py",
                "    async def disconnect(",
                "    async def may_enter(self):\n"
                '        return tickets.check(self.scope["query_string"].decode())\n\n    async def disconnect(',
            ),
        ]
        self.assertLessEqual({("look", "connect()"), ("breaks", "auth.identity")}, self.found(*edits))

    def test_tasks_that_a_message_starts(self):
        found = self.found(
            ("chat/events.py", "    logger.info(json.dumps(event))", "    notify.delay(event)"),
            files={"chat/tasks.py": "other.delay(1)\n"},
        )
        self.assertEqual(found, {("look", "events.py:28")})

    def test_a_second_consumer_is_nobodys_without_django(self):
        found = self.found(
            (
                "chat/routing.py",
                "as_asgi()),\n",
                'as_asgi()),\n    path("ws/online/", OnlineConsumer.as_asgi()),\n',
            ),
            ("chat/routing.py", "import ChatConsumer", "import ChatConsumer\nfrom .online import OnlineConsumer"),
            files={
                "chat/online.py": "from channels.generic.websocket import AsyncWebsocketConsumer\n\n\n"
                "class OnlineConsumer(AsyncWebsocketConsumer):\n    pass\n"
            },
        )
        self.assertEqual(found, {("breaks", "ws/online/")})


if __name__ == "__main__":
    unittest.main()
