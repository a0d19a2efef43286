"""An entry of CHANNEL_LAYERS as the section `layer`."""

import re

from .finding import BREAKS, LOOK, NOTE, Finding
from .redis_hosts import hosts_entry
from .toml import Entry

BACKENDS = {
    "channels.layers.InMemoryChannelLayer": "memory",
    "channels_redis.core.RedisChannelLayer": "redis",
    "channels_redis.pubsub.RedisPubSubChannelLayer": "redis_pubsub",
}
#: channels_redis 2 and older names of the same classes.
BACKENDS |= {"channels_redis.core.ChannelLayer": "redis"}

COUNTS = ("capacity",)
SECONDS = ("expiry", "group_expiry")
SAME = ("prefix", "random_prefix_length", "serializer_format")


def _finding(severity, subject, text, advice):
    return Finding(severity, "channel layer", subject, text, advice)


def layer_entries(layer, redis_version=None, channels_redis_version=None):
    """The entries for a CHANNEL_LAYERS entry; none at all is told too. The versions are those of Python's packages."""
    name = (layer or {}).get("BACKEND", "")
    backend = BACKENDS.get(name)
    if backend is None:
        text = f"{name} is not one that Chatferry speaks" if name else "there is no channel layer"
        advice = "Move Django to channels_redis first, or it and Chatferry cannot hear each other."
        return [Entry("layer.backend", "memory", findings=[_finding(BREAKS, "BACKEND", text, advice)])]
    options = dict(layer.get("CONFIG") or {})
    first = Entry("layer.backend", backend)
    entries = [first]
    if backend == "memory":
        text = "sockets of Django and of Chatferry cannot hear each other in memory"
        advice = "Send all of a conversation to one side (the samples do), or move Django to channels_redis."
        first.findings.append(_finding(NOTE, "BACKEND", text, advice))
    else:
        entries.append(hosts_entry(options.pop("hosts", None)))
        first.findings += _redis_findings(backend, redis_version)
    options.pop("hosts", None)
    entries += _plain_options(options, first)
    if "channel_capacity" in options:
        entries.append(_channel_capacity(options.pop("channel_capacity") or {}))
    if "symmetric_encryption_keys" in options:
        keys = _keys(options.pop("symmetric_encryption_keys") or [])
        if backend == "redis_pubsub" and keys.value and _before(channels_redis_version, (4, 2, 1)):
            text = f"channels_redis {channels_redis_version} ignores its keys with this backend and sends plain text"
            keys = Entry(keys.key, findings=[_finding(NOTE, keys.name, text, "So none are written here.")])
        entries.append(keys)
    for option, value in options.items():
        text = f"{option} = {value!r} has no counterpart"
        first.findings.append(_finding(LOOK, f"CONFIG[{option!r}]", text, "Find out whether messages depend on it."))
    return entries


def _redis_findings(backend, redis_version):
    if backend != "redis" or not redis_version or _before(redis_version, (8,)):
        return []
    text = f"redis-py {redis_version} ends Django's idle sockets after 5 s with this backend"
    return [_finding(NOTE, "redis-py", text, 'Give each host "socket_timeout": None, or stay below redis-py 8.')]


def _before(version, other):
    """Whether a version is known and older than another one."""
    numbers = re.findall(r"\d+", version or "")[: len(other)]
    return bool(numbers) and tuple(map(int, numbers)) < other


def _plain_options(options, first):
    """Numbers and texts that are the same on both sides, in channels_redis' order."""
    for name in ("on_connect", "on_disconnect", "on_reconnect"):
        if options.pop(name, None):
            first.comments.append(f"{name} is dead code in channels_redis.")
    entries = []
    for name in (*SAME, *SECONDS, *COUNTS):
        if options.get(name) is None:
            options.pop(name, None)
            continue
        entry = Entry(f"layer.{name}", options.pop(name))
        if name in SECONDS and not isinstance(entry.value, int):
            asked, entry.value = entry.value, max(1, round(entry.value))
            text = f"whole seconds only, not {asked}"
            entry.findings.append(
                _finding(LOOK, name, text, "channels_redis needs whole seconds too: change Django's.")
            )
        entries.append(entry)
    return entries


def _channel_capacity(capacities):
    """An ordered map from globs or compiled expressions; the first that matches counts."""
    rules = [
        f"re:{pattern.pattern}={n}" if isinstance(pattern, re.Pattern) else f"{pattern}={n}"
        for pattern, n in (capacities.items() if isinstance(capacities, dict) else capacities)
    ]
    return Entry("layer.channel_capacity", rules)


def _keys(keys):
    texts = [key.decode() if isinstance(key, bytes) else str(key) for key in keys]
    entry = Entry("layer.symmetric_encryption_keys", texts)
    if texts:
        entry.hidden = [f"set-{entry.variable}"] * len(texts)
    if any("," in text for text in texts):
        text = "a key with a comma cannot stand in the environment"
        entry.findings.append(
            _finding(LOOK, "symmetric_encryption_keys", text, "Write it into the file (--show-secrets).")
        )
    return entry
