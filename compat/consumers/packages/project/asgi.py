"""Routes of all packages, each as its own manual has them."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from django.core.asgi import get_asgi_application  # noqa: E402

django_application = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.consumer import AsyncConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import path, re_path  # noqa: E402
from django_private_chat2 import urls as private_chat  # noqa: E402
from djust.websocket import LiveViewConsumer  # noqa: E402
from openwisp_notifications.websockets.routing import get_routes  # noqa: E402
from strawberry.channels import GraphQLHTTPConsumer, GraphQLWSConsumer  # noqa: E402

from . import graphql, presence, rest, tutorial  # noqa: E402

if os.environ.get("CONSUMERS_AWAKE"):
    AsyncConsumer.chatferry_level = "awake"

sockets = [
    re_path(r"ws/chat/(?P<room_name>\w+)/$", tutorial.ChatConsumer.as_asgi()),
    re_path(r"ws/sync-chat/(?P<room_name>\w+)/$", tutorial.SyncChatConsumer.as_asgi()),
    path("ws/notes/", rest.NoteConsumer.as_asgi()),
    path("ws/private/", rest.PrivateConsumer.as_asgi()),
    path("ws/plain/", type(rest.PlainConsumer).as_asgi()),
    path("ws/presence/<str:room>/", presence.PresenceConsumer.as_asgi()),
    path("ws/live/", LiveViewConsumer.as_asgi()),
    re_path("^graphql", GraphQLWSConsumer.as_asgi(schema=graphql.schema)),
    *private_chat.websocket_urlpatterns,
    *get_routes(),
]

application = ProtocolTypeRouter(
    {
        "http": URLRouter(
            [
                re_path("^graphql", AuthMiddlewareStack(GraphQLHTTPConsumer.as_asgi(schema=graphql.schema))),
                re_path("", django_application),
            ]
        ),
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(sockets))),
    }
)
