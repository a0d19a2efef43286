"""Routes, and middleware of the kinds that people put around them."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from django.core.asgi import get_asgi_application  # noqa: E402

django_application = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.consumer import AsyncConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from . import consumers, early, rooms, states, web  # noqa: E402

if os.environ.get("CONSUMERS_AWAKE"):
    AsyncConsumer.chatferry_level = "awake"


class Shouting:
    """Changes what is sent."""

    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        async def shout(message):
            if message.get("text"):
                message = {**message, "text": message["text"].upper()}
            await send(message)

        return await self.inner(scope, receive, shout)


class Counting:
    """Has something to do when the consumer has returned."""

    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        try:
            await self.inner(scope, receive, send)
        finally:
            consumers.note("counted", scope["path"])


class Listening:
    """Has a receive of its own."""

    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        async def listen():
            message = await receive()
            if message.get("text"):
                message = {**message, "text": message["text"][::-1]}
            return message

        return await self.inner(scope, listen, send)


def token_from_query(inner):
    """A middleware as a function, as JWT packages have it."""

    async def middleware(scope, receive, send):
        query = scope["query_string"].decode()
        scope = {**scope, "who": query.removeprefix("token=") or "nobody"}
        return await inner(scope, receive, send)

    return middleware


routes = [
    path("ws/echo/", consumers.Echo.as_asgi()),
    path("ws/sync-echo/", consumers.SyncEcho.as_asgi()),
    path("ws/json/", consumers.Json.as_asgi()),
    path("ws/sync-json/", consumers.SyncJson.as_asgi()),
    path("ws/scope/", consumers.Scope.as_asgi()),
    path("ws/kwargs/<int:number>/<uuid:id>/<slug:name>/", consumers.Kwargs.as_asgi()),
    path("ws/initkwargs/", consumers.InitKwargs.as_asgi(greeting="hello")),
    path("ws/close/", consumers.Close.as_asgi()),
    path("ws/deny/<str:how>/", consumers.Deny.as_asgi()),
    path("ws/raise/<str:where>/", consumers.Raise.as_asgi()),
    path("ws/subprotocol/<str:which>/", consumers.Subprotocol.as_asgi()),
    path("ws/binary/", consumers.Binary.as_asgi()),
    path("ws/talkative/", consumers.Talkative.as_asgi()),
    path("ws/strange/<str:what>/", consumers.Strange.as_asgi()),
    path("ws/goodbye/<str:key>/", consumers.Goodbye.as_asgi()),
    path("ws/notes/<str:key>/", consumers.Notes.as_asgi()),
    path("ws/task/", consumers.Task.as_asgi()),
    path("ws/raw/", consumers.Raw.as_asgi()),
    path("ws/sync-raw/", consumers.SyncRaw.as_asgi()),
    path("ws/own-call/", consumers.OwnCall.as_asgi()),
    path("ws/database/", consumers.Database.as_asgi()),
    path("ws/sync-database/", consumers.SyncDatabase.as_asgi()),
    path("ws/session/", consumers.Session.as_asgi()),
    path("ws/in-context/", consumers.InContext.as_asgi()),
    path("ws/sync-in-context/", consumers.SyncInContext.as_asgi()),
    path("ws/translated/", consumers.Translated.as_asgi()),
    path("ws/shouting/", Shouting(consumers.Echo.as_asgi())),
    path("ws/counting/", Counting(consumers.Echo.as_asgi())),
    path("ws/listening/", Listening(consumers.Echo.as_asgi())),
    path("ws/token/", token_from_query(consumers.Who.as_asgi())),
    path("ws/function/", consumers.function),
    re_path(r"^ws/room/(?P<room_name>\w+)/$", rooms.Room.as_asgi()),
    re_path(r"^ws/sync-room/(?P<room_name>\w+)/$", rooms.SyncRoom.as_asgi()),
    re_path(r"ws/others/(?P<room_name>[^/]+)/$", rooms.Others.as_asgi()),
    path("ws/query/", rooms.ByQuery.as_asgi()),
    path("ws/groups/", rooms.Groups.as_asgi()),
    path("ws/shouted-room/<str:room_name>/", Shouting(rooms.Room.as_asgi())),
    path("ws/presence/", rooms.Presence.as_asgi()),
    path("ws/history/", rooms.History.as_asgi()),
    path("ws/direct/", rooms.Direct.as_asgi()),
    path("ws/ask/", rooms.Ask.as_asgi()),
    path("ws/thread/<str:room_name>/", rooms.FromThread.as_asgi()),
    path("ws/other-layer/", rooms.OtherLayer.as_asgi()),
    path("ws/their-layer/", rooms.TheirLayer.as_asgi()),
    path("ws/same-group/", rooms.SameGroup.as_asgi()),
    path("ws/burst/<str:room_name>/", rooms.Burst.as_asgi()),
    path("ws/keeper/<str:room_name>/", states.Keeper.as_asgi()),
    path("ws/shouted-keeper/<str:room_name>/", Shouting(states.Keeper.as_asgi())),
    path("ws/sync-keeper/", states.SyncKeeper.as_asgi()),
    path("ws/locked/", states.Locked.as_asgi()),
    path("ws/grown/", states.Grown.as_asgi()),
    path("ws/early/", early.EarlyLayer.as_asgi()),
    path("ws/registered/<str:name>/", states.Registered.as_asgi()),
    path("ws/signalled/", states.Signalled.as_asgi()),
    path("ws/helped/", states.Helped.as_asgi()),
]

application = ProtocolTypeRouter(
    {
        "http": web.with_raw(django_application),
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(routes))),
    }
)
