"""The chat of Channels' tutorial after its third part, written into a project of `django-admin startproject`."""

import json

CONSUMERS = '''
import json

from channels.generic.websocket import AsyncWebsocketConsumer


class ChatConsumer(AsyncWebsocketConsumer):
    async def connect(self):
        self.room_name = self.scope["url_route"]["kwargs"]["room_name"]
        self.room_group_name = f"chat_{self.room_name}"

        # Join room group
        await self.channel_layer.group_add(self.room_group_name, self.channel_name)

        await self.accept()

    async def disconnect(self, close_code):
        # Leave room group
        await self.channel_layer.group_discard(self.room_group_name, self.channel_name)

    # Receive message from WebSocket
    async def receive(self, text_data):
        text_data_json = json.loads(text_data)
        message = text_data_json["message"]

        # Send message to room group
        await self.channel_layer.group_send(
            self.room_group_name, {"type": "chat.message", "message": message}
        )

    # Receive message from room group
    async def chat_message(self, event):
        message = event["message"]

        # Send message to WebSocket
        await self.send(text_data=json.dumps({"message": message}))
'''

ROUTING = '''
from django.urls import re_path

from . import consumers

websocket_urlpatterns = [
    re_path(r"ws/chat/(?P<room_name>\\w+)/$", consumers.ChatConsumer.as_asgi()),
]
'''

VIEWS = '''
from django.shortcuts import render


def room(request, room_name):
    return render(request, "chat/room.html", {"room_name": room_name})
'''

URLS = '''
from django.urls import path

from . import views

urlpatterns = [
    path("<str:room_name>/", views.room, name="room"),
]
'''

ROOM = """<!DOCTYPE html>
<html>
<head><meta charset="utf-8"/><title>Chat Room</title></head>
<body>{{ room_name|json_script:"room-name" }}</body>
</html>
"""

ASGI = '''
import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
django_asgi_app = get_asgi_application()

from chat.routing import websocket_urlpatterns

application = ProtocolTypeRouter(
    {
        "http": django_asgi_app,
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
        ),
    }
)
'''

SETTINGS = '''
INSTALLED_APPS += ["channels", "chat"]
ASGI_APPLICATION = "mysite.asgi.application"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
'''

SITE_URLS = '''
from django.urls import include

urlpatterns += [path("chat/", include("chat.urls"))]
'''


def write(project):
    """Adds the app `chat` to a project called mysite."""
    files = {
        "chat/__init__.py": "",
        "chat/consumers.py": CONSUMERS,
        "chat/routing.py": ROUTING,
        "chat/views.py": VIEWS,
        "chat/urls.py": URLS,
        "chat/templates/chat/room.html": ROOM,
        "mysite/asgi.py": ASGI,
    }
    for name, text in files.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"), encoding="utf-8")
    for name, text in (("mysite/settings.py", SETTINGS), ("mysite/urls.py", SITE_URLS)):
        with (project / name).open("a", encoding="utf-8") as file:
            file.write(text)


def message_in(frame):
    return json.loads(frame)["message"]
