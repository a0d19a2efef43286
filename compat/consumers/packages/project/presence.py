"""django-channels-presence: who is in a room is in the database, and signals tell the room of it."""

import json

from asgiref.sync import async_to_sync
from channels.generic.websocket import WebsocketConsumer
from channels.layers import get_channel_layer
from channels_presence.decorators import remove_presence, touch_presence
from channels_presence.models import Room
from channels_presence.signals import presence_changed
from django.dispatch import receiver


class PresenceConsumer(WebsocketConsumer):
    def connect(self):
        super().connect()
        self.room = Room.objects.add(self.scope["url_route"]["kwargs"]["room"], self.channel_name, self.scope["user"])

    @touch_presence
    def receive(self, text_data=None, bytes_data=None):
        async_to_sync(self.channel_layer.group_send)(self.room.channel_name, {"type": "forward", "message": text_data})

    @remove_presence
    def disconnect(self, close_code):
        pass

    def forward(self, event):
        self.send(text_data=event["message"])


@receiver(presence_changed)
def tell(sender, room, **kwargs):
    names = sorted(user.username for user in room.get_users())
    message = json.dumps({"names": names, "strangers": room.get_anonymous_count()})
    async_to_sync(get_channel_layer().group_send)(room.channel_name, {"type": "forward", "message": message})
