"""Whether anything but its socket holds a consumer: a task, a timer, a dictionary of who is online, a signal of Django. That
would go on with an instance whose socket has another one after it was written down."""

import sys
import weakref


def references(socket):
    """How many references there are to the consumer of a socket, weak ones too."""
    return sys.getrefcount(socket.consumer) + weakref.getweakrefcount(socket.consumer)


class Holder:
    """Stands for a socket that alone holds its consumer."""

    def __init__(self):
        self.consumer = set()


#: References to a consumer that nothing but its socket holds; other versions of Python count otherwise.
ALONE = references(Holder())


def is_held(socket):
    return references(socket) > ALONE
