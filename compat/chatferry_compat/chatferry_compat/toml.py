"""Writes settings as a commented chatferry.toml, and those with secrets as environment variables."""

import json
import shlex
import textwrap
from dataclasses import dataclass, field

from .finding import NOTE

WIDTH = 100


@dataclass
class Entry:
    """One setting. Without a `value` it only says something; `hidden` is shown where secrets are not."""

    key: str
    value: object = None
    hidden: object = None
    comments: list = field(default_factory=list)
    findings: list = field(default_factory=list)

    @property
    def section(self):
        return self.key.rpartition(".")[0]

    @property
    def name(self):
        return self.key.rpartition(".")[2]

    @property
    def variable(self):
        return "CHATFERRY__" + self.key.replace(".", "__").upper()


def undecided(key, finding, choices):
    """Makes a setting that somebody has to decide: its value is invalid, so that `serve` refuses the file."""
    value = f"TO DO: {choices}"
    return Entry(key, value, findings=[finding])


def document(entries, show_secrets=False):
    """The file. Sections come in the order of their first entry."""
    sections = {}
    for entry in entries:
        sections.setdefault(entry.section, []).append(entry)
    blocks = []
    for name, members in sections.items():
        lines = [f"[{name}]"]
        for entry in members:
            lines += _entry_lines(entry, show_secrets)
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def environment(entries):
    """A line for each setting with a secret, for a shell or systemd's EnvironmentFile=."""
    secret = [entry for entry in entries if entry.hidden is not None]
    return "".join(f"{entry.variable}={shlex.quote(_plain(entry.value))}\n" for entry in secret)


def _entry_lines(entry, show_secrets):
    comments = list(entry.comments)
    value = entry.value
    if entry.hidden is not None and not show_secrets:
        value = entry.hidden
        comments.append(f"The secret is not shown: set the variable {entry.variable} (see --env, --show-secrets).")
    comments += [f"{'Note' if f.severity == NOTE else 'TO DO'}: {f.as_comment()}" for f in entry.findings]
    lines = [line for text in comments for line in comment(text)]
    return lines if value is None else [*lines, f"{entry.name} = {literal(value)}"]


def comment(text):
    wrapped = textwrap.wrap(text, WIDTH - 2, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return [f"# {line}" for line in wrapped]


def literal(value):
    """A TOML value. JSON's escapes are TOML's, but for U+007F."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _plain(value):
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
