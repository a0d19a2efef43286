"""App configuration; the label `chat` is part of the migration rows Django writes."""

from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "chat"
