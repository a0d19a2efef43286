"""What would differ, how bad that is, and what to do about it; and how a list of such findings is shown."""

import json
import textwrap
from dataclasses import asdict, dataclass

BREAKS = "breaks"
DIFFERS = "differs"
LOOK = "look"
NOTE = "note"

#: From bad to good. Everything but a note makes `chatferry_check` fail.
SEVERITIES = {
    BREAKS: "clients, or Django beside Chatferry, get errors or wrong data",
    DIFFERS: "an answer is not the same",
    LOOK: "cannot be known from here: look at it",
    NOTE: "good to know; nothing differs",
}


@dataclass(frozen=True)
class Finding:
    """`area` is a part of the service (tables, routes, …), `subject` a thing in it (a field, a setting, …)."""

    severity: str
    area: str
    subject: str
    text: str
    advice: str

    def as_comment(self):
        return f"{self.subject}: {self.text}. {self.advice}"


def ordered(findings):
    """The worst first, each thing once."""
    rank = list(SEVERITIES)
    return sorted(dict.fromkeys(findings), key=lambda f: (rank.index(f.severity), f.area))


def would_differ(findings):
    return any(finding.severity != NOTE for finding in findings)


def as_json(findings, verdict):
    counts = {severity: sum(f.severity == severity for f in findings) for severity in SEVERITIES}
    document = {
        "same": not would_differ(findings),
        "verdict": verdict,
        "counts": counts,
        "findings": [asdict(f) for f in findings],
    }
    return json.dumps(document, ensure_ascii=False, indent=2)


def as_table(findings, width=120):
    """Columns for a terminal; the two texts share what the short columns leave."""
    if not findings:
        return "Nothing would differ."
    heads = ("severity", "area", "subject", "what differs", "what to do")
    rows = [(f.severity, f.area, f.subject, f.text, f.advice) for f in findings]
    short = [max(len(row[i]) for row in [heads, *rows]) for i in range(2)]
    short.append(min(32, max(len(row[2]) for row in [heads, *rows])))
    text_width = max(24, (width - sum(short) - 8) // 2)
    widths = [*short, text_width, text_width]
    lines = _row(heads, widths)
    lines.append("  ".join("-" * w for w in widths))
    for row in rows:
        lines += _row(row, widths)
    shown = dict.fromkeys(f.severity for f in findings)
    return "\n".join([*lines, "", *(f"{name}: {SEVERITIES[name]}" for name in shown)])


def _row(cells, widths):
    wrapped = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, widths, strict=True)]
    height = max(map(len, wrapped))
    columns = [lines + [""] * (height - len(lines)) for lines in wrapped]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in zip(*columns, strict=True)
    ]
