"""What counts as equal: ids and times become numbered names, the rest is left alone.

Normalised: the session's random word, UUIDs (numbered by first appearance, in the spellings a scenario can make of
them), timestamps in the service's exact format (their offset stays; anything else stays and shows up), the order of
methods in Allow, the order of headers, framing by length or by chunks, and cookie dates and tokens.
"""

import json
import re

UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
UNDASHED = re.compile(r"(?<![0-9a-fA-F])[0-9a-f]{32}(?![0-9a-fA-F])")
TIME = re.compile(r"(?<!\d)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?([+-]\d\d:\d\d)(?![\d:])")
WELL_KNOWN = {"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"}
IGNORED_HEADERS = {"date", "server", "connection", "keep-alive"}


class Names:
    """Names for the ids of one session; two servers that answer alike get equal names."""

    def __init__(self, word):
        self.word = word
        self.ids = {}

    def text(self, text):
        text = text.replace(self.word, "<run>").replace(self.word.upper(), "<RUN>")
        text = UUID.sub(self._dashed, text)
        text = UNDASHED.sub(self._undashed, text)
        return TIME.sub(r"<time\1>", text)

    def _dashed(self, match):
        found = match.group(0)
        if found.lower() in WELL_KNOWN:
            return found
        number = self.ids.setdefault(found.lower(), len(self.ids) + 1)
        return f"<id{number}>" if found == found.lower() else f"<ID{number}>"

    def _undashed(self, match):
        h = match.group(0)
        number = self.ids.get(f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}")
        return f"<hex{number}>" if number else h

    def body(self, response):
        """Body text; the unordered `messages` of a conversation are put in time order first."""
        try:
            text = response.body.decode("utf-8")
        except UnicodeDecodeError:
            return f"bytes {response.body.hex()}"
        if response.header("content-type") == "application/json":
            text = order_messages(text)
        if response.header("content-type").startswith("text/html"):
            text = re.sub(r'("?csrfToken"?: |csrfmiddlewaretoken" value=)"\w+"', r'\1"<token>"', text)
        return self.text(text)

    def headers(self, response, method="GET"):
        """Comparable headers, sorted; a wrong Content-Length is made visible."""
        lines = []
        for name, value in response.headers:
            name = name.lower()
            if name in IGNORED_HEADERS or (name == "transfer-encoding" and value.lower() == "chunked"):
                continue
            if name == "content-length":
                if method == "HEAD" or value == str(len(response.body)):
                    continue
                value = f"{value} for {len(response.body)} bytes"
            lines.append(f"{name}: {self._header_value(name, value)}")
        return sorted(lines)

    def _header_value(self, name, value):
        if name == "allow":
            return ", ".join(sorted(method.strip() for method in value.split(",")))
        if name == "set-cookie":
            value = re.sub(r"^csrftoken=\w+", "csrftoken=<token>", re.sub(r"expires=[^;]+", "expires=<date>", value))
        return self.text(value)


class Verbatim(Names):
    """No normalisation at all: for two servers that read the same rows."""

    def __init__(self):
        super().__init__("")

    def text(self, text):
        return text


def compact_json(value):
    """The bytes DRF's JSONRenderer makes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def order_messages(text):
    """Sort each conversation's `messages` by time, if doing so changes nothing else of the text."""
    try:
        value = json.loads(text)
        if compact_json(value) != text:
            return text
    except (ValueError, RecursionError):
        return text
    for conversation in value if isinstance(value, list) else [value]:
        if isinstance(conversation, dict) and isinstance(conversation.get("messages"), list):
            conversation["messages"].sort(key=lambda message: message.get("created_at", ""))
    return compact_json(value)
