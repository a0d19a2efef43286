"""The original's service, with rooms and an echo beside its chat."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hosted.settings")

from django.core.asgi import get_asgi_application  # noqa: E402

django_application = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from chat.routing import websocket_urlpatterns  # noqa: E402
from django.urls import path  # noqa: E402

from .consumers import Echo, OwnRoom, Room  # noqa: E402

routes = [
    *websocket_urlpatterns,
    path("ws/room/<str:room_name>/", Room.as_asgi()),
    path("ws/own/<str:room_name>/", OwnRoom.as_asgi()),
    path("ws/echo/<str:name>/", Echo.as_asgi()),
]

application = ProtocolTypeRouter(
    {"http": django_application, "websocket": AuthMiddlewareStack(URLRouter(routes))}
)
