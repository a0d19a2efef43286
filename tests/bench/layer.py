"""The Python side of `layer.rs`: `receive URL COUNT` or `send URL COUNT RATE` with channels_redis."""

import asyncio
import sys
import time

import redis
from channels_redis.core import RedisChannelLayer

GROUP = "bench"
SENDERS = 64
CAPACITY = 1_000_000


def layer(url):
    host = {"address": url}
    if int(redis.__version__.split(".")[0]) >= 8:
        host["socket_timeout"] = None
    return RedisChannelLayer(hosts=[host], capacity=CAPACITY)


async def receive(url, count):
    channels = layer(url)
    channel = await channels.new_channel()
    await channels.group_add(GROUP, channel)
    print("ready", flush=True)
    latencies, first = [], 0
    while len(latencies) < count:
        message = await channels.receive(channel)
        last = time.time_ns()
        first = first or last
        latencies.append(last - message["user_id"])
    await channels.group_discard(GROUP, channel)
    latencies.sort()
    rate = count / ((last - first) / 1e9)
    print(rate, latencies[count // 2] / 1e6, latencies[count * 99 // 100] / 1e6, flush=True)


async def send(url, count, rate):
    channels = layer(url)
    numbers = iter(range(count))
    began = time.perf_counter()

    async def sender():
        for number in numbers:
            if rate:
                await asyncio.sleep(max(0, began + number / rate - time.perf_counter()))
            event = {"type": "typing_status", "user_id": time.time_ns(), "is_typing": True}
            await channels.group_send(GROUP, event)

    await asyncio.gather(*(sender() for _ in range(SENDERS)))


what, url, count, *rate = sys.argv[1:]
asyncio.run(receive(url, int(count)) if what == "receive" else send(url, int(count), float(rate[0])))
