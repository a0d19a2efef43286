"""The reference's ASGI application, watched."""

import os

os.environ["DJANGO_SETTINGS_MODULE"] = "watched.settings"

from service.asgi import application  # noqa: E402, F401

from chat.consumers import ChatConsumer  # noqa: E402

from . import mark  # noqa: E402

connect = ChatConsumer.connect


async def watched_connect(self):
    headers = dict(self.scope["headers"])
    mark("consumer", self.scope["path"], headers.get(b"x-shape", b"-").decode("latin-1"))
    await connect(self)


ChatConsumer.connect = watched_connect
