"""Where a worker joins: a Unix socket, or an address of TCP."""

import os

from .proof import read_secret

SOCKET = "CHATFERRY_HOST_SOCKET"


def add_arguments(parser):
    """The options that say it."""
    parser.add_argument("--socket", help=f"where Chatferry listens (else {SOCKET} says it)")
    parser.add_argument("--connect", metavar="HOST:PORT", help="its host.listen, in place of a socket")
    parser.add_argument("--secret-file", help="the file of its host.secret (else CHATFERRY_HOST_SECRET has it)")


def chosen(socket, connect, secret_file):
    """The place that the options say."""
    if connect:
        host, colon, port = connect.rpartition(":")
        if not (host and colon and port.isdecimal()):
            raise SystemExit(f"chatferry_worker: --connect {connect}: expected HOST:PORT, as 127.0.0.1:9100")
        return Remote(host.strip("[]"), int(port), read_secret(secret_file))
    path = socket or os.environ.get(SOCKET)
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
        await loop.create_connection(protocol, self.host, self.port)
