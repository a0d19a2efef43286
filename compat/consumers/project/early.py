"""An app that asks for the channel layer while it is imported, which with `manage.py` is before the worker is there."""

from asgiref.sync import async_to_sync
from channels.generic.websocket import WebsocketConsumer
from channels.layers import get_channel_layer
from django.apps import AppConfig

layer = get_channel_layer()


class Early(AppConfig):
    name = "project"


class EarlyLayer(WebsocketConsumer):
    def connect(self):
        async_to_sync(layer.group_add)("early", self.channel_name)
        self.accept()

    def receive(self, text_data=None, bytes_data=None):
        async_to_sync(layer.group_send)("early", {"type": "told", "text": text_data})

    def told(self, event):
        self.send(event["text"] + (" by one layer" if layer is self.channel_layer else ""))

    def disconnect(self, code):
        async_to_sync(layer.group_discard)("early", self.channel_name)
