"""Doors where one identity and one policy for all of them give another answer than Django."""

from ..finding import BREAKS, NOTE, Finding


def check(project):
    yield from project.access.findings()
    for door in project.access.doors:
        if door.uses.speaks:
            places = ", ".join(dict.fromkeys(door.uses.speaks))
            text = (
                f"the sender is the caller ({places}); Chatferry takes `sender_id` of the frame or body, which must be"
            )
            advice = "Let clients send their own id as sender_id first; auth.policy = participants refuses any other."
            yield Finding(BREAKS, "access", f"{door.name}: sender", f"{text} there", advice)
    if any("OriginValidator" in cls.__name__ for w in _wrappers(project) for cls in type(w).__mro__):
        severity = BREAKS if project.access.identity == "none" else NOTE
        text = "Django refuses a socket without an Origin, Chatferry does not: only browsers send one"
        yield Finding(severity, "access", "no Origin", text, "Set an auth.identity if this kept others out.")
    elif project.access.identity == "django_session" and project.socket:
        text = "Django checks no Origin; with sessions Chatferry refuses sockets to pages of other hosts"
        yield Finding(BREAKS, "access", "Origin", text, "List the front end's origins in ws.allowed_origins.")


def _wrappers(project):
    return project.socket.wrappers if project.socket else ()
