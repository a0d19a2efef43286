"""Where a worker joins: a Unix socket, or an address of TCP."""

import os
import socket

from .proof import read_secret

SOCKET = "CHATFERRY_HOST_SOCKET"
#: Seconds without a byte before the first probe, between two, and how many are lost at the end.
KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


def add_arguments(parser):
    """The options that say it."""
    parser.add_argument("--socket", help=f"where Chatferry listens (else {SOCKET} says it)")
    parser.add_argument("--connect", metavar="HOST:PORT", help="its host.listen, in place of a socket")
    parser.add_argument("--secret-file", help="the file of its host.secret (else CHATFERRY_HOST_SECRET has it)")


def chosen(unix_socket, connect, secret_file):
    """The place that the options say."""
    if connect:
        host, colon, port = connect.rpartition(":")
        if not (host and colon and port.isdecimal()):
            raise SystemExit(f"chatferry_worker: --connect {connect}: expected HOST:PORT, as 127.0.0.1:9100")
        return Remote(host.strip("[]"), int(port), read_secret(secret_file))
    path = unix_socket or os.environ.get(SOCKET)
    if not path:
        raise SystemExit(f"chatferry_worker: where is Chatferry? Set {SOCKET}, or let Chatferry start the worker")
    return Local(path)


class Local:
    """A Unix socket: its file says who may."""

    secret = None

    def __init__(self, path):
        self.path = path

    async def connect(self, loop, protocol):
        await loop.create_unix_connection(protocol, self.path)


class Remote:
    """An address of TCP, at which both ends prove that they know the secret."""

    def __init__(self, host, port, secret):
        self.host = host
        self.port = port
        self.secret = secret

    async def connect(self, loop, protocol):
        transport, _ = await loop.create_connection(protocol, self.host, self.port)
        _keep_alive(transport.get_extra_info("socket"))


def _keep_alive(connection):
    """Ends a connection whose other machine has gone without a word. Chatferry sends something every 5 s."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        # Other systems lack some of them.
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
