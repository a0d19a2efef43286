"""Paths, sockets, origins and limits in a chatferry.toml, which is never looser."""

import unittest

from access_cases import LOGIN, AccessCase
from support import Project


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
