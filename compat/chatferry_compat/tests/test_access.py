"""Authentication and rules of a project in its chatferry.toml, which is never looser."""

import unittest

from support import Project, ProjectCase

LOGIN = 'REST_FRAMEWORK = {"DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"]}\n'
JWT = """
REST_FRAMEWORK = {"DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"]}
SECRET_KEY = "a-key-that-is-long-enough-to-sign-tokens-with"
"""
CONNECT = "        if not await self.conversation_is_active():\n"
#: Edits of the consumer: its rules for opening a socket.
ASKS_LOGIN = (
    "chat/consumers.py",
    CONNECT,
    '        if self.scope["user"].is_anonymous:\n            await self.close()\n            return\n' + CONNECT,
)
ASKS_PARTICIPANTS = (
    "chat/consumers.py",
    CONNECT,
    '        self.user = self.scope["user"]\n'
    "        if not self.user.is_authenticated or not await self.takes_part(str(self.user.id)):\n"
    "            await self.close(code=4003)\n            return\n" + CONNECT,
)
TAKES_PART = (
    "chat/consumers.py",
    "    @database_sync_to_async\n    def history(self):",
    "    @database_sync_to_async\n    def takes_part(self, me):\n"
    "        conversation = Conversation.objects.get(id=self.conversation_id)\n"
    "        return me in (conversation.participant1_id, conversation.participant2_id)\n\n"
    "    @database_sync_to_async\n    def history(self):",
)
TOKEN_MIDDLEWARE = """
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.middleware import BaseMiddleware
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from rest_framework_simplejwt.tokens import AccessToken


@database_sync_to_async
def user_of(token):
    try:
        return get_user_model().objects.get(id=AccessToken(token)["user_id"])
    except Exception:
        return AnonymousUser()


class TokenMiddleware(BaseMiddleware):
    async def __call__(self, scope, receive, send):
        query = parse_qs(scope["query_string"].decode())
        scope["user"] = await user_of(query.get("access_token", [""])[0])
        return await super().__call__(scope, receive, send)
"""
WITH_TOKENS = (
    ("service/asgi.py", "AuthMiddlewareStack(", "TokenMiddleware("),
    ("service/asgi.py", "from chat.routing", "from service.tokens import TokenMiddleware  # noqa\nfrom chat.routing"),
)
#: A decorator of a consumer's methods.
KNOWN = """def known(method):
    async def inner(self):
        if await ask(self):
            await method(self)

    return inner


"""
PERMISSIONS = """
from rest_framework.permissions import BasePermission, IsAuthenticated


class TakesPart(IsAuthenticated):
    def has_permission(self, request, view):
        named = view.kwargs.get("user_id")
        return super().has_permission(request, view) and (named is None or named == str(request.user.pk))

    def has_object_permission(self, request, view, conversation):
        return str(request.user.pk) in (conversation.participant1_id, conversation.participant2_id)


class Owns(BasePermission):
    def has_object_permission(self, request, view, conversation):
        return str(request.user.id) == conversation.participant1_id


class Pays(BasePermission):
    def has_permission(self, request, view):
        return request.user.is_authenticated and request.user.plan.is_paid
"""
ALL = 'REST_FRAMEWORK = {{"DEFAULT_PERMISSION_CLASSES": ["chat.permissions.{}"]}}\n'


class AccessCase(ProjectCase):
    def written(self, *edits, **changes):
        project = Project(self, *edits, **changes)
        return (project, *self.settings_of(project))

    def assert_undecided(self, *keys, edits=(), **changes):
        """These settings are values that `serve` refuses, and each is a row that breaks."""
        project, parsed, text = self.written(*edits, **changes)
        for key in keys:
            section, name = key.split(".")
            self.assertIn("TO DO", parsed[section][name], text)
        self.assert_refused(text, *keys)
        found = self.findings_of(project)
        self.assertLessEqual({("breaks", key) for key in keys if key.startswith("auth.")}, found)
        return text


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


class Tokens(AccessCase):
    def test_tokens_of_simplejwt_with_all_their_settings(self):
        settings = JWT + (
            'SIMPLE_JWT = {"ALGORITHM": "HS512", "USER_ID_CLAIM": "uid", "ISSUER": "https://login.example",\n'
            '    "AUDIENCE": "chat", "LEEWAY": 5, "AUTH_HEADER_TYPES": ("JWT",), "SIGNING_KEY": "s3cret" * 8}\n'
        )
        project, parsed, text = self.written(
            ASKS_LOGIN, *WITH_TOKENS, settings=settings, files={"service/tokens.py": TOKEN_MIDDLEWARE}
        )
        self.assertEqual(
            parsed["auth"],
            {
                "identity": "jwt",
                "policy": "open",
                "token_words": ["JWT"],
                "jwt": {
                    "algorithms": ["HS512"],
                    "secret": "",
                    "user_claim": "uid",
                    "issuer": "https://login.example",
                    "audience": "chat",
                    "leeway_s": 5,
                    "query": "access_token",
                },
            },
        )
        self.assertNotIn("s3cret", text)
        self.assert_loads(text)
        self.assertIn("CHATFERRY__AUTH__JWT__SECRET", project.manage("chatferry_settings", "--env").stdout)
        found = self.findings_of(project)
        self.assertIn(("breaks", "SIMPLE_JWT['ACCESS_TOKEN_LIFETIME']"), found)

    def test_a_key_that_is_too_short_to_be_safe(self):
        project = Project(self, settings=JWT + 'SIMPLE_JWT = {"SIGNING_KEY": "short"}\n')
        self.assertIn(("breaks", "SIMPLE_JWT['SIGNING_KEY']"), self.findings_of(project))
        self.assertNotIn(("breaks", "SIMPLE_JWT['SIGNING_KEY']"), self.findings_of(Project(self, settings=JWT)))

    def test_rules_of_tokens_that_chatferry_does_not_have(self):
        for rule in (
            '"CHECK_REVOKE_TOKEN": True',
            '"ACCESS_TOKEN_LIFETIME": timedelta(days=30)',
            '"TOKEN_TYPE_CLAIM": "kind"',
            '"USER_ID_FIELD": "username"',
            '"AUTH_TOKEN_CLASSES": ("rest_framework_simplejwt.tokens.SlidingToken",)',
        ):
            edits = [ASKS_PARTICIPANTS, TAKES_PART, *WITH_TOKENS]
            settings = f"from datetime import timedelta\n{JWT}SIMPLE_JWT = {{{rule}}}\n"
            with self.subTest(rule):
                self.assert_undecided(
                    "auth.identity", edits=edits, settings=settings, files={"service/tokens.py": TOKEN_MIDDLEWARE}
                )

    def test_middleware_that_looks_at_more_than_the_token(self):
        source = TOKEN_MIDDLEWARE.replace(
            "return get_user", "Revoked.objects.get(token=token)\n        return get_user"
        )
        edits = [ASKS_LOGIN, *WITH_TOKENS]
        self.assert_undecided("auth.policy", edits=edits, settings=JWT, files={"service/tokens.py": source})

    def test_tokens_for_views_and_sessions_for_sockets(self):
        text = self.assert_undecided("auth.identity", edits=[ASKS_LOGIN], settings=JWT)
        self.assertIn("no way to know a caller is good at every door", text)

    def test_views_that_take_both(self):
        both = JWT.replace(
            '["rest_framework_simplejwt',
            '["rest_framework.authentication.SessionAuthentication", "rest_framework_simplejwt',
        )
        self.assert_undecided("auth.identity", settings=both)
        project, parsed, _ = self.written(ASKS_LOGIN, settings=both)
        self.assertEqual(parsed["auth"]["identity"], "django_session")
        self.assertIn(("breaks", "conversations/"), self.findings_of(project))

    def test_opaque_tokens_with_a_word_and_a_table(self):
        own = (
            "from rest_framework.authentication import TokenAuthentication\n\n\n"
            'class Keyed(TokenAuthentication):\n    keyword = "Key"\n'
        )
        settings = JWT.replace("rest_framework_simplejwt.authentication.JWTAuthentication", "service.own.Keyed")
        settings += 'INSTALLED_APPS += ["rest_framework.authtoken"]\n'
        source = TOKEN_MIDDLEWARE.replace(
            "rest_framework_simplejwt.tokens import AccessToken", "rest_framework.authtoken.models import Token"
        )
        source = source.replace(
            'get_user_model().objects.get(id=AccessToken(token)["user_id"])', "Token.objects.get(key=token).user"
        )
        source = source.replace("query = parse_qs", 'scope["subprotocols"]\n        query = parse_qs')
        edits = [ASKS_LOGIN, *WITH_TOKENS]
        project, parsed, text = self.written(
            *edits, settings=settings, files={"service/own.py": own, "service/tokens.py": source}
        )
        self.assertEqual(
            parsed["auth"],
            {
                "identity": "django_token",
                "policy": "open",
                "token_words": ["Key"],
                "django_token": {"table": "authtoken_token", "query": "access_token"},
                "django_session": {
                    "users_table": "auth_user",
                    "id_column": "id",
                    "password_column": "password",
                    "active_column": "is_active",
                    "user_column": "id",
                },
            },
        )
        self.assertIn(("look", "auth.token_protocols"), self.findings_of(project))
        self.assert_loads(text)

    def test_opaque_tokens_of_another_model(self):
        own = (
            "from rest_framework.authentication import TokenAuthentication\n\n\nclass Expiring:\n    pass\n\n\n"
            "class Own(TokenAuthentication):\n    model = Expiring\n"
        )
        settings = JWT.replace("rest_framework_simplejwt.authentication.JWTAuthentication", "service.own.Own")
        settings += 'INSTALLED_APPS += ["rest_framework.authtoken"]\n'
        self.assert_undecided("auth.identity", settings=settings, files={"service/own.py": own})

    def test_authentication_of_the_projects_own(self):
        own = (
            "from rest_framework_simplejwt.authentication import JWTAuthentication\n\n\n"
            "class Own(JWTAuthentication):\n    def get_header(self, request):\n"
            "        return request.META['HTTP_X_TOKEN']\n"
        )
        settings = JWT.replace("rest_framework_simplejwt.authentication.JWTAuthentication", "service.own.Own")
        self.assert_undecided("auth.identity", settings=settings, files={"service/own.py": own})


class Places(AccessCase):
    def test_other_names_of_paths(self):
        edits = [
            ("chat/urls.py", 'path("conversations/', 'path("threads/'),
            ("chat/urls.py", "/messages/send/", "/messages/new/"),
        ]
        text = self.assert_undecided("django.url_prefix", edits=edits)
        self.assertIn("threads/", text)
        self.assertIn(("breaks", "URL prefix"), self.findings_of(Project(self, *edits)))

    def test_a_path_that_takes_another_method(self):
        edit = ("chat/views.py", '@api_view(["POST"])\ndef create', '@api_view(["GET"])\ndef create')
        self.assertIn("conversations/", self.assert_undecided("django.url_prefix", edits=[edit]))

    def test_no_api_at_all(self):
        self.assert_undecided(
            "django.url_prefix", edits=[("service/urls.py", '    path("api/chat/", include("chat.urls")),\n', "")]
        )

    def test_another_route_of_the_socket(self):
        self.assert_undecided(
            "django.ws_prefix", edits=[("chat/routing.py", "<uuid:conversation_id>/", "<uuid:conversation_id>")]
        )

    def test_a_second_socket(self):
        edit = ("chat/routing.py", "as_asgi()),\n", 'as_asgi()),\n    path("ws/notify/", ChatConsumer.as_asgi()),\n')
        project, _, text = self.written(edit)
        self.assertIn("TO DO: ws/notify/: another socket", text)
        self.assertIn(("breaks", "ws/notify/"), self.findings_of(project))

    def test_origins_of_which_none_can_be_written(self):
        for origins in ('["https://*.example.org"]', "[]"):
            edits = [
                ("service/asgi.py", "AuthMiddlewareStack(", f"OriginValidator(allowed_origins={origins}, application="),
                (
                    "service/asgi.py",
                    "from chat.routing",
                    "from channels.security.websocket import OriginValidator\nfrom chat.routing",
                ),
            ]
            self.assert_undecided("ws.allowed_origins", edits=edits)

    def test_origins_that_two_validators_allow(self):
        edits = [
            (
                "service/asgi.py",
                "AuthMiddlewareStack(URLRouter(websocket_urlpatterns))",
                'OriginValidator(OriginValidator(OriginValidator(URLRouter(websocket_urlpatterns), ["*"]),\n'
                '    ["https://a.example", "https://b.example"]), ["https://b.example:443/", "https://c.example"])',
            ),
            (
                "service/asgi.py",
                "from chat.routing",
                "from channels.security.websocket import OriginValidator\nfrom chat.routing",
            ),
        ]
        project, parsed, text = self.written(*edits)
        self.assertEqual(parsed["ws"]["allowed_origins"], ["https://b.example"])
        self.assertIn(("breaks", "no Origin"), self.findings_of(project))

    def test_origins_of_cors(self):
        settings = (
            'MIDDLEWARE = ["corsheaders.middleware.CorsMiddleware", *MIDDLEWARE]\n'
            'CORS_ALLOWED_ORIGINS = ["https://Chat.example:443"]\nCORS_ALLOWED_ORIGIN_REGEXES = ["https://.*"]\n'
        )
        # Stands for the package: only its name matters.
        files = {"corsheaders/middleware.py": "def CorsMiddleware(get_response):\n    return get_response\n"}
        _, parsed, text = self.written(settings=settings, files=files)
        self.assertEqual(parsed["cors"]["allowed_origins"], ["https://chat.example"])
        self.assertIn("TO DO: CORS_ALLOWED_ORIGIN_REGEXES", text)
        self.assert_loads(text)
        _, parsed, _ = self.written(settings=LOGIN + settings, files=files)
        self.assertEqual(parsed["cors"]["allowed_origins"], [])

    def test_throttles_are_somebodys_decision(self):
        settings = (
            'REST_FRAMEWORK = {**REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": {"anon": "100/day"},\n'
            '    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.AnonRateThrottle"]}\n'
        )
        project, parsed, text = self.written(settings=settings)
        self.assertIn("AnonRateThrottle 100/day", text)
        self.assert_refused(text, "limits.address.requests")
        self.assertIn(("breaks", "throttle_classes"), self.findings_of(project))


if __name__ == "__main__":
    unittest.main()
