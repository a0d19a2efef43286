"""Runs a Django Channels project for sockets and requests that Chatferry holds.

    python -m chatferry_worker mysite.asgi:application
    python manage.py chatferry_worker

Chatferry starts it, or it joins at CHATFERRY_HOST_SOCKET or, by TCP, where --connect says. It runs the project's own ASGI application, unchanged: its
middleware, its URLRouter, its consumers. How it works is in src/host/README.md of Chatferry.

    wire      the messages, and msgpack
    place     where Chatferry is
    proof     the secret that both know, over TCP
    link      the connection to Chatferry
    layer     the channel layer that consumers get
    sockets   one socket: the application's receive and send, and its calls
    requests  one request of HTTP
    lifespan  the application's startup and shutdown
    parking   AsyncConsumer.__call__ without a task that waits
    states    a parked consumer as plain data, to be moved to another worker
    holding   whether something else holds a consumer
    classes   which classes may be parked, and which handlers depend on their event alone
    worker    all of it together
"""

__all__ = ["awake", "parked"]


def awake(cls):
    """Lets Channels' own loop run for a class of consumers, whatever its source says."""
    cls.chatferry_level = "awake"
    return cls


def parked(cls):
    """Runs nothing for idle sockets of a class of consumers, whatever its source says."""
    cls.chatferry_level = "parked"
    return cls
