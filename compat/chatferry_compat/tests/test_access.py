"""Logins and rules of a project in its chatferry.toml, which is never looser."""

import unittest

from access_cases import ALL, ASKS_LOGIN, ASKS_PARTICIPANTS, CONNECT, KNOWN, LOGIN, PERMISSIONS, TAKES_PART, AccessCase


class Sessions(AccessCase):
    def test_a_login_everywhere_is_a_session_and_an_open_policy(self):
        project, parsed, text = self.written(ASKS_LOGIN, settings=LOGIN)
        self.assertEqual(
            parsed["auth"],
            {
                "identity": "django_session",
                "policy": "open",
                "django_session": {
                    "engine": "database",
                    "cookie": "sessionid",
                    "users_table": "auth_user",
                    "id_column": "id",
                    "password_column": "password",
                    "active_column": "is_active",
                    "user_column": "id",
                },
            },
        )
        self.assert_loads(text)
        found = self.findings_of(project)
        self.assertEqual(
            found - {("note", "BACKEND")},
            {("differs", "refusals"), ("note", "permission_classes"), ("look", "connect()"), ("breaks", "Origin")},
        )

    def test_cookie_engine_users_and_origins_are_taken_along(self):
        settings = LOGIN + (
            'SESSION_COOKIE_NAME = "chatid"\nSESSION_COOKIE_AGE = 600\n'
            'SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"\n'
            'INSTALLED_APPS += ["people"]\nAUTH_USER_MODEL = "people.Person"\n'
            'CSRF_TRUSTED_ORIGINS = ["https://chat.example", "https://*.example.org"]\nCSRF_COOKIE_NAME = "xsrf"\n'
        )
        people = (
            "import uuid\n\nfrom django.contrib.auth.models import AbstractBaseUser\nfrom django.db import models\n\n\n"
            "class Person(AbstractBaseUser):\n"
            '    key = models.UUIDField(primary_key=True, default=uuid.uuid4, db_column="person_key")\n'
            "    name = models.CharField(max_length=40, unique=True)\n"
            '    USERNAME_FIELD = "name"\n\n    class Meta:\n        db_table = "people"\n'
        )
        edit = (ASKS_PARTICIPANTS[0], ASKS_PARTICIPANTS[1], ASKS_PARTICIPANTS[2].replace("user.id", "user.name"))
        project, parsed, text = self.written(
            edit, TAKES_PART, settings=settings, files={"people/__init__.py": "", "people/models.py": people}
        )
        self.assertEqual(
            parsed["auth"]["django_session"],
            {
                "engine": "signed_cookies",
                "cookie": "chatid",
                "cookie_age_s": 600,
                "users_table": "people",
                "id_column": "person_key",
                "password_column": "password",
                "active_column": "",
                "user_column": "name",
            },
        )
        self.assertEqual(parsed["django"]["csrf_trusted_origins"], ["https://chat.example", "https://.example.org"])
        self.assertIn(("breaks", "CSRF_COOKIE_NAME"), self.findings_of(project))
        self.assert_loads(text)

    def test_sessions_that_chatferry_cannot_read(self):
        for settings in (
            'SESSION_ENGINE = "django.contrib.sessions.backends.cache"\n',
            'SESSION_SERIALIZER = "service.odd.Pickles"\n',
            'AUTHENTICATION_BACKENDS = ["service.odd.Backend"]\n',
        ):
            odd = (
                "from django.contrib.auth.backends import ModelBackend\n\n\nclass Pickles:\n    pass\n\n\n"
                "class Backend(ModelBackend):\n    def get_user(self, user_id):\n        return None\n"
            )
            self.assert_undecided(
                "auth.identity", edits=[ASKS_LOGIN], settings=LOGIN + settings, files={"service/odd.py": odd}
            )

    def test_an_open_socket_beside_views_with_a_login_breaks(self):
        project, parsed, text = self.written(settings=LOGIN)
        self.assertEqual((parsed["auth"]["identity"], parsed["auth"]["policy"]), ("django_session", "open"))
        self.assertIn(("breaks", "ChatConsumer"), self.findings_of(project))

    def test_an_id_that_must_be_there_is_a_login(self):
        for test in ("not self.me", "self.me is None"):
            connect = (
                f'        self.me = self.scope["user"].id\n        if {test}:\n'
                f"            await self.close()\n            return\n{CONNECT}"
            )
            _, parsed, _ = self.written(("chat/consumers.py", CONNECT, connect))
            self.assertEqual(parsed["auth"]["identity"], "django_session")

    def test_one_closed_view_among_open_ones(self):
        edit = (
            "chat/views.py",
            '@api_view(["GET"])\ndef user_conversations',
            '@api_view(["GET"])\n@permission_classes([IsAuthenticated])\ndef user_conversations',
        )
        imports = (
            "chat/views.py",
            "import api_view\n",
            "import api_view, permission_classes\nfrom rest_framework.permissions import IsAuthenticated\n",
        )
        project, parsed, _ = self.written(edit, imports)
        self.assertEqual(parsed["auth"]["identity"], "django_session")
        found = self.findings_of(project)
        self.assertIn(("breaks", "conversations/<uuid>/"), found)
        self.assertNotIn(("breaks", "users/<str>/conversations/"), found)

    def test_a_login_asked_for_around_a_view(self):
        for edits in (
            [
                ("chat/urls.py", "views.user_conversations)", "login_required(views.user_conversations))"),
                (
                    "chat/urls.py",
                    "from . import",
                    "from django.contrib.auth.decorators import login_required\nfrom . import",
                ),
            ],
            [
                ("chat/views.py", "class ConversationDetailView(", "class ConversationDetailView(LoginRequiredMixin, "),
                (
                    "chat/views.py",
                    "from django.db",
                    "from django.contrib.auth.mixins import LoginRequiredMixin\nfrom django.db",
                ),
            ],
        ):
            _, parsed, text = self.written(*edits)
            self.assertEqual(parsed["auth"]["identity"], "django_session", text)


class Policies(AccessCase):
    def test_participants_alone(self):
        project, parsed, text = self.written(
            ASKS_PARTICIPANTS, TAKES_PART, settings=ALL.format("TakesPart"), files={"chat/permissions.py": PERMISSIONS}
        )
        self.assertEqual((parsed["auth"]["identity"], parsed["auth"]["policy"]), ("django_session", "participants"))
        self.assertNotIn(("breaks", "ChatConsumer"), self.findings_of(project))
        self.assert_loads(text)

    def test_participants_in_the_socket_alone_break_the_views(self):
        project, parsed, _ = self.written(ASKS_PARTICIPANTS, TAKES_PART, settings=LOGIN)
        self.assertEqual(parsed["auth"]["policy"], "participants")
        self.assertIn(("breaks", "conversations/<uuid>/"), self.findings_of(project))

    def test_the_sender_of_the_session_is_not_anybody(self):
        edit = (
            "chat/consumers.py",
            '        sender_id = frame.get("sender_id")\n',
            '        sender_id = str(self.scope["user"].id)\n',
        )
        project, parsed, _ = self.written(edit, settings=LOGIN)
        self.assertEqual(parsed["auth"]["policy"], "participants")
        sender = {("breaks", "ChatConsumer: sender"), ("breaks", "ChatConsumer")}
        self.assertLessEqual(sender, self.findings_of(project))
        project, _, _ = self.written(edit, ASKS_PARTICIPANTS, TAKES_PART, settings=LOGIN)
        self.assertNotIn(("breaks", "ChatConsumer"), self.findings_of(project))

    def test_rules_in_a_view_that_chatferry_does_not_have(self):
        view = 'def user_conversations(request, user_id):\n    """특정 유저의 모든 대화방 조회"""\n'
        for rule in (
            "if not request.user.is_staff:",
            "if not request.user.is_staff and str(request.user.id) != user_id:",
            'if request.user.role == "guest":',
            "if Block.objects.filter(sender_id=request.user.id).exists():",
            "if request.user.id == block.user_id:",
            "if not check_member(user_id, request.user):",
            "if not check_member(sender_id=request.user.id):",
            'if not allowed({"user_id": request.user.id}):',
            "user, _ = request.user, None\n    if not user.is_staff:",
        ):
            edit = ("chat/views.py", view, f"{view}    {rule}\n        return Response(status=403)\n")
            with self.subTest(rule):
                self.assert_undecided("auth.policy", edits=[ASKS_LOGIN, edit], settings=LOGIN)

    def test_rules_that_chatferry_does_not_have(self):
        for name in ("Owns", "Pays"):
            text = self.assert_undecided(
                "auth.policy", edits=[ASKS_LOGIN], settings=ALL.format(name), files={"chat/permissions.py": PERMISSIONS}
            )
            self.assertIn("permissions.py" if name == "Pays" else "participant1 alone", text)
        admin = 'REST_FRAMEWORK = {"DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"]}\n'
        self.assert_undecided("auth.identity", "auth.policy", settings=admin)


class Doubts(AccessCase):
    """A chat without any login in sight that may ask all the same."""

    def test_code_that_may_ask_who_is_there(self):
        view = '@api_view(["GET"])\ndef user_conversations(request, user_id):\n    """특정 유저의 모든 대화방 조회"""\n'
        for name, text, instead in (
            ("chat/views.py", view, view + '    request.headers["X-Key"]\n'),
            ("chat/views.py", view, view + "    allowed(request)\n"),
            ("chat/views.py", view, "@guarded\n" + view),
            (
                "chat/serializers.py",
                "class DeliveryReceiptSerializer(serializers.ModelSerializer):\n",
                "class DeliveryReceiptSerializer(serializers.ModelSerializer):\n"
                '    def validate(self, data):\n        return self.context["request"].user and data\n\n',
            ),
            ("chat/consumers.py", CONNECT, '        print(self.scope["query_string"])\n' + CONNECT),
            ("chat/consumers.py", CONNECT, "        check(self.scope)\n" + CONNECT),
            ("chat/consumers.py", CONNECT, "        check(self)\n" + CONNECT),
            ("chat/consumers.py", "    async def connect(self):\n", "    @known\n    async def connect(self):\n"),
            ("chat/views.py", view, view + '    if request.data.get("api_key") != KEY:\n        return None\n'),
            (
                "chat/views.py",
                "get_object_or_404(Message, id=message_id)",
                'get_object_or_404(Message, conversation__participant1_id=request.data.get("me"))',
            ),
            (
                "chat/consumers.py",
                '        kind = frame.get("type")\n',
                '        self.may(frame.get("token"))\n        kind = frame.get("type")\n',
            ),
            (
                "chat/consumers.py",
                "        if message is None:\n",
                "        if sender_id != message.conversation.participant1_id:\n            return\n"
                "        if message is None:\n",
            ),
        ):
            edits = [(name, text, instead)]
            if "@known" in instead:
                edits.append(("chat/consumers.py", "class ChatConsumer(", KNOWN + "class ChatConsumer("))
            if "@guarded" in instead:
                edits.append(
                    (
                        "chat/views.py",
                        '@api_view(["POST"])\ndef create_conversation',
                        "def guarded(view):\n    def inner(request, **kwargs):\n"
                        '        return view(request, **kwargs) if request.META.get("X") else None\n\n'
                        '    return inner\n\n\n@api_view(["POST"])\ndef create_conversation',
                    )
                )
            with self.subTest(instead):
                self.assert_undecided("auth.identity", "auth.policy", edits=edits)

    def test_middleware_that_may_refuse(self):
        refuses = (
            "def Guard(get_response):\n    def inner(request):\n"
            "        return check(request) or get_response(request)\n\n    return inner\n"
        )
        counts = (
            "import logging\n\nlogger = logging.getLogger(__name__)\n\n\nclass Guard:\n"
            "    def __init__(self, get_response):\n        self.get_response = get_response\n\n"
            "    def __call__(self, request):\n        response = self.get_response(request)\n"
            '        logger.info("%s", request.path)\n        response["X-Served-By"] = "me"\n        return response\n'
        )
        settings = 'MIDDLEWARE = [*MIDDLEWARE, "service.guard.Guard"]\n'
        self.assert_undecided("auth.identity", settings=settings, files={"service/guard.py": refuses})
        _, parsed, _ = self.written(settings=settings, files={"service/guard.py": counts})
        self.assertEqual(parsed["auth"], {"identity": "none"})

    def test_middleware_around_the_consumer_that_may_refuse(self):
        wrapper = (
            "def guarded(inner):\n    async def app(scope, receive, send):\n"
            '        if scope["client"][0] in ALLOWED:\n            return await inner(scope, receive, send)\n'
            "    return app\n\n\napplication = Proto"
        )
        edits = [
            ("service/asgi.py", "AuthMiddlewareStack(URLRouter", "guarded(URLRouter"),
            ("service/asgi.py", "application = Proto", wrapper),
        ]
        self.assert_undecided("auth.identity", edits=edits)

    def test_an_application_around_djangos(self):
        files = {"service/guard.py": "class Guard:\n    def __init__(self, inner):\n        self.inner = inner\n"}
        edits = [
            ("service/asgi.py", '"http": django_application', '"http": Guard(django_application)'),
            ("service/asgi.py", "application = Proto", "from service.guard import Guard\n\napplication = Proto"),
        ]
        self.assert_undecided("auth.identity", edits=edits, files=files)

    def test_a_login_asked_for_by_middleware(self):
        settings = 'MIDDLEWARE = [*MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]\n'
        _, parsed, text = self.written(settings=settings)
        self.assertEqual(parsed["auth"]["identity"], "django_session", text)


if __name__ == "__main__":
    unittest.main()
