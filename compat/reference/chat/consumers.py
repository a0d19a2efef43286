"""The WebSocket consumer, with the original's quirks: it trusts what clients send.

Whatever raises in here ends the connection with 1011: a frame that is not a JSON object, a binary frame
(`receive` takes no `bytes_data`), a message id that is no UUID, a value that the database or the layer refuses.
"""

import json

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from .events import publish_message_created
from .models import Conversation, DeliveryReceipt, Message
from .serializers import MessageSerializer


class ChatConsumer(AsyncWebsocketConsumer):
    async def connect(self):
        self.conversation_id = self.scope["url_route"]["kwargs"]["conversation_id"]
        self.group = f"chat_{self.conversation_id}"
        if not await self.conversation_is_active():
            await self.close()
            return
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        await self.send_json({"type": "conversation_history", "messages": await self.history()})

    async def disconnect(self, close_code):
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data):
        try:
            frame = json.loads(text_data)
        except json.JSONDecodeError:
            await self.send_json({"error": "Invalid JSON format"})
            return
        kind = frame.get("type")
        if kind == "chat_message":
            await self.on_chat_message(frame)
        elif kind == "mark_as_read":
            await self.on_mark_as_read(frame)
        elif kind == "typing":
            await self.on_typing(frame)

    async def on_chat_message(self, frame):
        sender_id = frame.get("sender_id")
        content = frame.get("content")
        message_type = frame.get("message_type", "text")
        if not sender_id or not content:
            await self.send_json({"error": "sender_id와 content가 필요합니다."})
            return
        message = await self.save_message(sender_id, content, message_type)
        if message is None:
            return
        await self.channel_layer.group_send(
            self.group, {"type": "chat_message", "message": MessageSerializer(message).data}
        )
        publish_message_created(message, sender_id=sender_id, content=content, message_type=message_type)

    async def on_mark_as_read(self, frame):
        message_id = frame.get("message_id")
        user_id = frame.get("user_id")
        if message_id and user_id:
            await self.save_receipt(message_id, user_id)
            await self.channel_layer.group_send(
                self.group, {"type": "message_read", "message_id": message_id, "user_id": user_id}
            )

    async def on_typing(self, frame):
        await self.channel_layer.group_send(
            self.group,
            {"type": "typing_status", "user_id": frame.get("user_id"), "is_typing": frame.get("is_typing", False)},
        )

    async def chat_message(self, event):
        await self.send_json({"type": "chat_message", "message": event["message"]})

    async def message_read(self, event):
        await self.send_json({"type": "message_read", "message_id": event["message_id"], "user_id": event["user_id"]})

    async def typing_status(self, event):
        await self.send_json({"type": "typing_status", "user_id": event["user_id"], "is_typing": event["is_typing"]})

    async def send_json(self, value):
        await self.send(text_data=json.dumps(value))

    @database_sync_to_async
    def conversation_is_active(self):
        return Conversation.objects.filter(id=self.conversation_id, is_active=True).exists()

    @database_sync_to_async
    def history(self):
        messages = Message.objects.filter(conversation_id=self.conversation_id, is_deleted=False).order_by("created_at")
        return MessageSerializer(messages, many=True).data

    @database_sync_to_async
    def save_message(self, sender_id, content, message_type):
        try:
            conversation = Conversation.objects.get(id=self.conversation_id)
        except Conversation.DoesNotExist:
            return None
        return Message.objects.create(
            conversation=conversation, sender_id=sender_id, content=content, message_type=message_type
        )

    @database_sync_to_async
    def save_receipt(self, message_id, user_id):
        try:
            message = Message.objects.get(id=message_id)
        except Message.DoesNotExist:
            return
        DeliveryReceipt.objects.update_or_create(message=message, user_id=user_id, defaults={"status": "read"})
