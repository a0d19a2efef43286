"""Copies of the reference with authentication and rules, for the tests of what is written for them."""

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
