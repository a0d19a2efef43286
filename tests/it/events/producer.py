"""Publishes events as other services do, and looks at what became of them.

`producer.py rabbitmq|nats URL publish [EVENT, ...]` publishes JSON objects of `body` (or `size` bytes), `id`, `headers`
and `expiration`, waits until the broker has them, and prints `sent`. `producer.py rabbitmq|nats URL look` prints an
object with the number of events that are `left`, and the `dead` ones: reason, bytes, and id. RabbitMQ does not count
those that a consumer was given.
"""

import asyncio
import json
import sys


def body(event):
    return event["body"].encode("latin-1") if "body" in event else b"a" * event["size"]


def rabbitmq(url, events):
    import pika

    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    if events is None:
        left = channel.queue_declare("chatferry.inward", passive=True).method.message_count
        dead = []
        while (got := channel.basic_get("chatferry.inward.dead"))[0]:
            _, properties, letter = got
            assert properties.headers["routing_key"] == "ai.message.generated"
            dead.append([properties.headers["error"], len(letter), properties.message_id])
        return {"left": left, "dead": dead}
    channel.confirm_delivery()
    for event in events:
        properties = pika.BasicProperties(
            message_id=event.get("id"),
            headers=event.get("headers"),
            expiration=event.get("expiration"),
            delivery_mode=2,
        )
        channel.basic_publish("chatferry.inward", "ai.message.generated", body(event), properties, mandatory=True)


async def nats(url, events):
    import nats

    client = await nats.connect(url)
    stream = client.jetstream()
    if events is None:
        consumer = await stream.consumer_info("CHATFERRY_INWARD", "chatferry")
        dead = []
        for sequence in range(1, (await stream.stream_info("CHATFERRY_INWARD_DEAD")).state.messages + 1):
            letter = await stream.get_msg("CHATFERRY_INWARD_DEAD", sequence)
            assert letter.headers["Chatferry-Subject"] == "chatferry.inward.ai.message.generated"
            headers = letter.headers
            dead.append([headers["Chatferry-Error"], len(letter.data or b""), headers.get("Chatferry-Id")])
        return {"left": consumer.num_pending + consumer.num_ack_pending, "dead": dead}
    for event in events:
        headers = event.get("headers", {})
        # Without the header that the stream drops repeated ones by.
        await stream.publish("chatferry.inward.ai.message.generated", body(event), headers=headers)
    await client.close()


if __name__ == "__main__":
    broker, address, verb, *rest = sys.argv[1:]
    given = json.loads(rest[0]) if verb == "publish" else None
    try:
        found = rabbitmq(address, given) if broker == "rabbitmq" else asyncio.run(nats(address, given))
    except Exception as error:
        sys.exit(f"{verb}: {error!r}")
    print("sent" if found is None else json.dumps(found), flush=True)
