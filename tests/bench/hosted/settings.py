"""The settings of the original's service."""

from service.settings import *  # noqa: F403

ASGI_APPLICATION = "hosted.asgi.application"
