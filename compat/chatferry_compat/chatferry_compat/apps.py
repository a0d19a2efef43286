"""App configuration. There are no models, URLs or signals: only two commands."""

from django.apps import AppConfig


class ChatferryCompatConfig(AppConfig):
    name = "chatferry_compat"
