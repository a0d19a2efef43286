"""JSON shapes; the order of `fields` is the order of keys on the wire."""

from rest_framework import serializers

from .models import Conversation, DeliveryReceipt, Message


class MessageSerializer(serializers.ModelSerializer):
    class Meta:
        model = Message
        fields = ["id", "sender_id", "content", "message_type", "created_at", "updated_at", "is_deleted"]
        read_only_fields = ["id", "created_at", "updated_at"]


class ConversationSerializer(serializers.ModelSerializer):
    """`messages` holds deleted ones too and has no order of its own; `last_message` skips them."""

    messages = MessageSerializer(many=True, read_only=True)
    last_message = serializers.SerializerMethodField()

    class Meta:
        model = Conversation
        fields = [
            "id",
            "participant1_id",
            "participant2_id",
            "created_at",
            "updated_at",
            "is_active",
            "messages",
            "last_message",
        ]

    def get_last_message(self, conversation):
        message = conversation.messages.filter(is_deleted=False).order_by("-created_at").first()
        return MessageSerializer(message).data if message else None


class DeliveryReceiptSerializer(serializers.ModelSerializer):
    class Meta:
        model = DeliveryReceipt
        fields = ["id", "message", "user_id", "status", "timestamp"]
