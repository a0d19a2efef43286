"""A live Python process with channels_redis, told what to do line by line: JSON in, JSON out.

The first argument is the layer's class (`core` or `pubsub`), the second its settings. A host of a redis-py that
gives up waiting after five seconds is told not to, as an operator has to.
"""

import asyncio
import base64
import json
import logging
import sys

import redis
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

LAYERS = {"core": RedisChannelLayer, "pubsub": RedisPubSubChannelLayer}


def host(url):
    patient = int(redis.__version__.split(".")[0]) >= 8
    return {"address": url, "socket_timeout": None} if patient else {"address": url}


def decoded(value):
    """Bytes stand in JSON as {"$bytes": base64}."""
    if isinstance(value, dict):
        if set(value) == {"$bytes"}:
            return base64.b64decode(value["$bytes"])
        return {key: decoded(item) for key, item in value.items()}
    return [decoded(item) for item in value] if isinstance(value, list) else value


def encoded(value):
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: encoded(item) for key, item in value.items()}
    return [encoded(item) for item in value] if isinstance(value, list) else value


class Log(logging.Handler):
    """What the core layer has logged."""

    def __init__(self):
        super().__init__()
        self.lines = []
        logger = logging.getLogger("channels_redis.core")
        logger.addHandler(self)
        logger.setLevel(logging.INFO)

    def emit(self, record):
        self.lines.append(record.getMessage())


class Peer:
    def __init__(self, layer):
        self.layer = layer
        self.heard = {}
        self.log = Log()

    async def consume(self, channel):
        """A consumer: it reads for as long as it lives, and dies of what it cannot read."""
        while True:
            self.heard[channel].put_nowait(await self.layer.receive(channel))

    async def do(self, order):
        match order["do"]:
            case "new_channel":
                return await self.layer.new_channel()
            case "consume":
                channel = order["channel"]
                self.heard[channel] = asyncio.Queue()
                consumer = asyncio.ensure_future(self.consume(channel))
                consumer.add_done_callback(lambda done: self.heard[channel].put_nowait({"died": repr(done)}))
            case "heard":
                return encoded(await asyncio.wait_for(self.heard[order["channel"]].get(), order["seconds"]))
            case "group_add" | "group_discard" as name:
                await getattr(self.layer, name)(order["group"], order["channel"])
            case "group_send":
                for message in order["messages"]:
                    await self.layer.group_send(order["group"], decoded(message))
            case "send":
                for channel, message in order["messages"]:
                    await self.layer.send(channel, decoded(message))
            case "log":
                return self.log.lines
            case "flush":
                await self.layer.flush()
        return None


async def main():
    kind, settings = sys.argv[1], json.loads(sys.argv[2])
    settings["hosts"] = [host(url) for url in settings["hosts"]]
    peer = Peer(LAYERS[kind](**settings))
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            answer = {"ok": await peer.do(json.loads(line))}
        except Exception as error:
            answer = {"error": type(error).__name__}
        print(json.dumps(answer), flush=True)


asyncio.run(main())
