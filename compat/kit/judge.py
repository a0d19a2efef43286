"""Compares the two results of a step and gives the outcome.

same                   equal, and what the step expects holds
differs-as-documented  the step names a row of STATUS.md, and B answers what the step says it must
differs                everything else
skipped                could not be played here
"""

import difflib
import fnmatch
import json
from dataclasses import dataclass

SAME, DOCUMENTED, DIFFERS, SKIPPED = "same", "differs-as-documented", "differs", "skipped"
SHOWN = 600


@dataclass(frozen=True)
class Verdict:
    outcome: str
    row: str | None = None
    details: tuple = ()

    @property
    def passed(self):
        return self.outcome in (SAME, DOCUMENTED)


def judge(step, a, b, expect_equal=False, may_differ=()):
    """The verdict on one step; `expect_equal` lets no declared difference pass but of the rows that `may_differ`."""
    broken = [f"{side}: {result['error']}" for side, result in (("A", a), ("B", b)) if "error" in result]
    if step.differs and not expect_equal:
        problems = unmet("B", step.b, b) + unmet("A", step.a, a)
        return Verdict(DIFFERS if problems else DOCUMENTED, step.differs, tuple(problems))
    problems = unmet("A", step.expect, a) + unmet("B", step.expect, b)
    if a != b:
        for row in step.rows.intersection(may_differ):
            return Verdict(DOCUMENTED, row)
        problems += difference(a, b)
    return Verdict(DIFFERS if problems or broken else SAME, None, tuple(problems or broken))


def unmet(side, expected, result):
    """Which wishes a result does not fulfil, in words."""
    problems = []
    for key, wanted in expected.items():
        found = result.get(key)
        if not FULFILLED.get(key, equal)(wanted, result):
            problems.append(f"{side}: {key} should be {wanted!r}, is {shorten(repr(found))}")
    if problems and "error" in result:
        problems.append(f"{side}: {result['error']}")
    return problems


def status_fits(wanted, result):
    """A number, a class like 4xx, or a list of either."""
    if isinstance(wanted, list):
        return any(status_fits(one, result) for one in wanted)
    found = result.get("status")
    return found == wanted or (isinstance(wanted, str) and found is not None and f"{found // 100}xx" == wanted)


def type_fits(wanted, result):
    return any(line.startswith(f"content-type: {wanted}") for line in result.get("headers", []))


def frames_fit(wanted, result):
    """A list of patterns, one for each frame; `*` is the only wildcard that matters."""
    frames = result.get("frames", [])
    return len(frames) == len(wanted) and all(
        fnmatch.fnmatchcase(frame, pattern.replace("[", "[[]")) for frame, pattern in zip(frames, wanted, strict=True)
    )


def error_fits(wanted, result):
    """Exactly one frame, an object with the one key `error` and a text that is not empty."""
    try:
        (frame,) = result.get("frames", [])
        value = json.loads(frame)
    except ValueError:
        return not wanted
    return wanted == (isinstance(value, dict) and list(value) == ["error"] and bool(value["error"]))


def after_fits(wanted, result):
    """A pattern or a list of them: open, dropped, `closed 1009*`, silent."""
    patterns = wanted if isinstance(wanted, list) else [wanted]
    return any(fnmatch.fnmatchcase(result.get("after", ""), pattern) for pattern in patterns)


def body_fits(wanted, result):
    return fnmatch.fnmatchcase(result.get("body", ""), wanted.replace("[", "[[]"))


FULFILLED = {
    "status": status_fits,
    "type": type_fits,
    "frames": frames_fit,
    "error_frame": error_fits,
    "after": after_fits,
    "body": body_fits,
}


def equal(wanted, result):
    raise ValueError(f"a step cannot expect {wanted!r}")


def difference(a, b):
    """A short diff of two results."""
    lines = list(difflib.unified_diff(lines_of(a), lines_of(b), "A", "B", n=0, lineterm=""))
    return [shorten(line) for line in lines if not line.startswith(("---", "+++", "@@"))]


def lines_of(result):
    lines = []
    for key, value in result.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                lines += [f"{key}: {line}" for line in lines_of(item)]
            else:
                lines.append(f"{key}: {item}")
    return lines


def shorten(text):
    """One readable line: control characters escaped, the middle of long texts left out."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]} …{len(text)} characters… {text[-SHOWN // 2 :]}"
