"""`chatferry_settings` on the reference and on changed copies of it; Chatferry itself must take what comes out."""

import unittest

from support import Project, ProjectCase

REDIS = """
CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {
    "hosts": [{"address": "redis://:s3cret@cache:6379/1"}, ("other", 6380)],
    "prefix": "talk", "expiry": 30, "group_expiry": 3600, "capacity": 200,
    "channel_capacity": {"http.*": 10}, "symmetric_encryption_keys": ["k3y-of-the-layer"],
    "random_prefix_length": 12, "serializer_format": "msgpack",
}}}
"""
MYSQL = """
DATABASES = {"default": {"ENGINE": "django.db.backends.mysql", "NAME": "talk", "USER": "chat", "PASSWORD": "s3cret",
    "HOST": "db.example", "PORT": "3307", "OPTIONS": {"charset": "utf8mb4", "ssl": {"ca": "/etc/ssl/ca.pem"}}}}
"""


class Reference(ProjectCase):
    def test_the_unchanged_reference_needs_nothing_but_an_address(self):
        project = Project(self)
        parsed, text = self.settings_of(project)
        self.assertEqual(
            parsed,
            {
                "server": {"bind": "127.0.0.1:8001"},
                "store": {
                    "url": f"sqlite://{project.path / 'db.sqlite3'}",
                    "tables": {
                        "conversations": "conversations",
                        "messages": "messages",
                        "delivery_receipts": "delivery_receipts",
                    },
                },
                "django": {
                    "url_prefix": "/api/chat/",
                    "ws_prefix": "/ws/chat/",
                    "group_pattern": "chat_{conversation_id}",
                    "time_zone": "Asia/Seoul",
                    "language": "en-us",
                    "secret_key": "",
                },
                "layer": {"backend": "memory"},
                "ws": {},
                "auth": {"identity": "none"},
            },
        )
        self.assertNotIn("TO DO", text)
        shown = self.assert_loads(text)
        self.assertIn(f'url = "sqlite://{project.path / "db.sqlite3"}"', shown)

    def test_a_project_without_the_chat_says_which_option_to_use(self):
        done = Project(self).manage("chatferry_settings", "--app", "talk")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--app", done.stderr)


class Database(ProjectCase):
    def setUp(self):
        try:
            import MySQLdb  # noqa: F401
        except ImportError:
            self.skipTest("mysqlclient is not installed")

    def test_a_password_is_not_in_the_file_but_in_the_variables(self):
        project = Project(self, settings=MYSQL)
        parsed, text = self.settings_of(project)
        self.assertNotIn("s3cret", text)
        query = "ssl-ca=/etc/ssl/ca.pem&ssl-mode=VERIFY_CA"
        self.assertEqual(parsed["store"]["url"], f"mysql://chat:set-CHATFERRY__STORE__URL@db.example:3307/talk?{query}")
        variables = project.manage("chatferry_settings", "--env").stdout
        line = next(line for line in variables.splitlines() if line.startswith("CHATFERRY__STORE__URL="))
        name, _, value = line.partition("=")
        value = value.strip("'")
        self.assertEqual(value, f"mysql://chat:s3cret@db.example:3307/talk?{query}")
        self.assertIn(f"environment {name}", self.assert_loads(text, **{name: value}))

    def test_asked_to_show_secrets_it_does(self):
        parsed, text = self.settings_of(Project(self, settings=MYSQL), "--show-secrets")
        self.assertIn("chat:s3cret@", parsed["store"]["url"])
        self.assert_loads(text)

    def test_older_keys_are_taken_along(self):
        project = Project(self, settings='SECRET_KEY_FALLBACKS = ["s3cret"]\n')
        parsed, text = self.settings_of(project)
        self.assertEqual(parsed["django"]["secret_key_fallbacks"], [])
        self.assertIn("CHATFERRY__DJANGO__SECRET_KEY_FALLBACKS", text)
        parsed, text = self.settings_of(project, "--show-secrets")
        self.assertEqual(parsed["django"]["secret_key_fallbacks"], ["s3cret"])


class Postgres(ProjectCase):
    def test_a_socket_and_its_port(self):
        try:
            import psycopg  # noqa: F401
        except ImportError:
            self.skipTest("psycopg is not installed")
        settings = """
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "talk", "USER": "chat", "PORT": "5433"}}
"""
        parsed, text = self.settings_of(Project(self, settings=settings))
        self.assertEqual(parsed["store"]["url"], "postgres://chat@/talk?host=/var/run/postgresql&port=5433")
        self.assert_loads(text)


class Layer(ProjectCase):
    def test_redis_with_many_options(self):
        project = Project(self, settings=REDIS)
        parsed, text = self.settings_of(project)
        self.assertNotRegex(text, "s3cret|k3y-of")
        self.assertEqual(
            parsed["layer"],
            {
                "backend": "redis",
                "hosts": ["redis://:set-CHATFERRY__LAYER__HOSTS@cache:6379/1", "redis://other:6380/0"],
                "prefix": "talk",
                "random_prefix_length": 12,
                "serializer_format": "msgpack",
                "expiry": 30,
                "group_expiry": 3600,
                "capacity": 200,
                "channel_capacity": ["http.*=10"],
                "symmetric_encryption_keys": ["set-CHATFERRY__LAYER__SYMMETRIC_ENCRYPTION_KEYS"],
            },
        )
        self.assert_loads(text)


class Names(ProjectCase):
    def test_other_tables_prefixes_groups_zones_and_languages(self):
        project = Project(
            self,
            ("chat/models.py", 'db_table = "messages"', 'db_table = "talk_message"'),
            ("service/urls.py", '"api/chat/"', '"v2/talk/"'),
            ("chat/routing.py", '"ws/chat/<uuid:conversation_id>/"', '"live/<uuid:conversation_id>/"'),
            ("chat/consumers.py", 'f"chat_{self.conversation_id}"', '"room.%s" % self.conversation_id'),
            settings='TIME_ZONE = "Europe/Berlin"\nLANGUAGE_CODE = "ko-kr"\n',
        )
        parsed, text = self.settings_of(project)
        self.assertEqual(parsed["store"]["tables"]["messages"], "talk_message")
        self.assertEqual(
            parsed["django"],
            {
                "url_prefix": "/v2/talk/",
                "ws_prefix": "/live/",
                "group_pattern": "room.{conversation_id}",
                "time_zone": "Europe/Berlin",
                "language": "ko",
                "secret_key": "",
            },
        )
        self.assert_loads(text)

    def test_models_of_other_names_are_known_by_their_columns(self):
        files = ("models", "views", "serializers", "consumers", "migrations/0001_initial")
        edits = [(f"chat/{name}.py", "DeliveryReceipt", "Seen") for name in files]
        parsed, _ = self.settings_of(Project(self, *edits))
        self.assertEqual(parsed["store"]["tables"]["delivery_receipts"], "delivery_receipts")

    def test_regular_expressions_and_middleware_are_seen_through(self):
        project = Project(
            self,
            ("chat/routing.py", "import path", "import re_path as path"),
            ("chat/routing.py", '"ws/chat/<uuid:conversation_id>/"', r'r"^ws/v1\.0/(?P<conversation_id>[0-9a-f-]+)/$"'),
            ("chat/urls.py", "import path", "import path, re_path"),
            (
                "chat/urls.py",
                'path("conversations/<uuid:id>/",',
                're_path(r"^conversations/(?P<id>[0-9a-f-]{36})/$",',
            ),
            ("service/asgi.py", "AuthMiddlewareStack(URLRouter", "wrapped(URLRouter"),
            (
                "service/asgi.py",
                "application = Proto",
                "def wrapped(inner):\n"
                "    async def app(scope, receive, send):\n"
                "        return await inner(scope, receive, send)\n"
                "    return OriginValidator(app, ['https://chat.example', '.example.org'])\n\n\n"
                "application = Proto",
            ),
            (
                "service/asgi.py",
                "from chat.routing",
                "from channels.security.websocket import OriginValidator\nfrom chat.routing",
            ),
        )
        parsed, text = self.settings_of(project)
        self.assertEqual(parsed["django"]["ws_prefix"], "/ws/v1.0/")
        self.assertEqual(parsed["django"]["url_prefix"], "/api/chat/")
        origins = ["https://chat.example", "https://.example.org", "http://.example.org"]
        self.assertEqual(parsed["ws"]["allowed_origins"], origins)
        self.assert_loads(text)

    def test_a_socket_inside_another_router(self):
        project = Project(
            self,
            ("chat/routing.py", "from django.urls", "from channels.routing import URLRouter\nfrom django.urls"),
            ("chat/routing.py", "ws/chat/<uuid:conversation_id>/", "<uuid:conversation_id>/"),
            ("chat/routing.py", "websocket_urlpatterns = [", "inner = ["),
            (
                "chat/routing.py",
                "as_asgi()),\n]",
                'as_asgi()),\n]\nwebsocket_urlpatterns = [path("in/", URLRouter(inner))]',
            ),
        )
        self.assertEqual(self.settings_of(project)[0]["django"]["ws_prefix"], "/in/")

    def test_an_asgi_module_that_fails_is_told_and_can_be_overruled(self):
        project = Project(self, ("service/asgi.py", "application = Proto", "raise OSError('no')\napplication = Proto"))
        parsed, text = self.settings_of(project)
        self.assertTrue(parsed["django"]["ws_prefix"].startswith("TO DO"))
        self.assert_refused(text, "django.ws_prefix", "django.group_pattern", "auth.identity", "auth.policy")
        self.assertIn("TO DO: ASGI_APPLICATION: OSError: no", text)
        parsed, _ = self.settings_of(project, "--ws-prefix", "ws/chat")
        self.assertEqual(parsed["django"]["ws_prefix"], "/ws/chat/")

    def test_a_view_that_tells_the_group_turns_broadcast_on(self):
        edit = ("chat/views.py", "    publish_message_created(message)\n", "    layer.group_send()\n")
        parsed, text = self.settings_of(Project(self, edit))
        self.assertIs(parsed["rest"]["broadcast"], True)
        self.assert_loads(text)


if __name__ == "__main__":
    unittest.main()
