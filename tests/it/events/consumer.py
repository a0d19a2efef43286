"""Consumes events as other services do: `consumer.py rabbitmq|nats URL` prints `ready`, then a JSON line for each event.

An event is confirmed after its line is written. Whoever started it ends it.
"""

import asyncio
import json
import sys


def show(kind, identity, headers, body):
    event = {"type": kind, "id": identity, "headers": headers, "event": json.loads(body)}
    print(json.dumps(event), flush=True)


def rabbitmq(url):
    import pika

    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    channel.queue_declare("consumer", durable=True)
    channel.queue_bind("consumer", "chatferry.events", "#")
    print("ready", flush=True)
    for method, properties, body in channel.consume("consumer"):
        show(properties.type, properties.message_id, properties.headers, body)
        channel.basic_ack(method.delivery_tag)


async def nats(url):
    import nats

    stream = (await nats.connect(url)).jetstream()
    events = await stream.subscribe("chatferry.events.>", durable="consumer", manual_ack=True)
    print("ready", flush=True)
    async for message in events.messages:
        kind = ".".join(message.subject.split(".")[2:4])
        show(kind, message.headers["Nats-Msg-Id"], dict(message.headers), message.data)
        await message.ack()


if __name__ == "__main__":
    broker, address = sys.argv[1:]
    if broker == "rabbitmq":
        rabbitmq(address)
    else:
        asyncio.run(nats(address))
