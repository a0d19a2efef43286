"""The three tables. Names, types, indexes and constraints are what an existing database already has."""

import uuid

from django.db import models


class Conversation(models.Model):
    """A conversation of two users, each named by an opaque text."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    participant1_id = models.CharField(max_length=255, db_index=True)
    participant2_id = models.CharField(max_length=255, db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    is_active = models.BooleanField(default=True)

    class Meta:
        db_table = "conversations"
        unique_together = ("participant1_id", "participant2_id")
        indexes = [
            models.Index(fields=["participant1_id", "participant2_id"]),
            models.Index(fields=["created_at"]),
        ]


class Message(models.Model):
    """One message; a deleted one stays in the table and is only hidden."""

    TYPES = [("text", "Text"), ("image", "Image"), ("file", "File")]

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    sender_id = models.CharField(max_length=255, db_index=True)
    content = models.TextField()
    message_type = models.CharField(max_length=10, choices=TYPES, default="text")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    is_deleted = models.BooleanField(default=False)

    class Meta:
        db_table = "messages"
        indexes = [
            models.Index(fields=["conversation", "created_at"]),
            models.Index(fields=["sender_id"]),
        ]


class DeliveryReceipt(models.Model):
    """What one user has done with one message."""

    STATUSES = [("sent", "Sent"), ("delivered", "Delivered"), ("read", "Read")]

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="receipts")
    user_id = models.CharField(max_length=255, db_index=True)
    status = models.CharField(max_length=10, choices=STATUSES, default="sent")
    timestamp = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "delivery_receipts"
        unique_together = ("message", "user_id")
        indexes = [
            models.Index(fields=["message", "user_id"]),
            models.Index(fields=["user_id", "status"]),
        ]
