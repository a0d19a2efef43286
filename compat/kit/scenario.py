"""Scenario files: loading, checking, and spreading tables into steps.

    scenarios:
      - scenario: create a conversation
        tags: [rest]
        setup: [...]                       # steps that must succeed; not compared
        steps:
          - step: a new pair
            request: POST /api/chat/conversations/
            json: {participant1_id: "a-${run}", participant2_id: "b-${run}"}
            expect: {status: 201}          # must hold on both servers
            keep: {conversation: id}       # dotted path into the JSON answer
          - step: odd ids
            request: POST /api/chat/conversations/
            each:                          # one step for each row; the row's keys are added to the step
              a number: {json: {participant1_id: 5, participant2_id: "n-${run}"}}
          - step: a list as body
            request: POST /api/chat/conversations/
            text: "[]"
            differs: crash-not-an-object   # a row of STATUS.md ...
            b: {status: 400}               # ... and what server B must answer instead
            hosted: host-http-absolute     # a row by which the original itself differs where it is hosted
            where: {postgres: {...}}       # keys that replace the step's where both work on this kind of database

A scenario may have `each` too: every row is one scenario with the row's values as variables.
`${run}` is random for each server; `${name|upper}`, `${name|hex}` and `${name|bytes}` are other spellings of a kept
text (upper case, without dashes, its bytes in hexadecimal); `${x * 300}` repeats.
Step kinds and their keys are listed in session.py.
"""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

KINDS = ("request", "bytes", "open", "send", "listen", "ping", "close", "sql", "wait")
COMMON = {"step", "expect", "keep", "check", "differs", "a", "b", "hosted", "each", "about", "where"}
DATABASES = ("sqlite", "mysql", "postgres")
HERE = Path(__file__).resolve().parent
STATUS = HERE.parent / "STATUS.md"


class ScenarioError(Exception):
    """A scenario file that makes no sense."""


@dataclass(frozen=True)
class Step:
    name: str
    kind: str
    args: dict
    expect: dict = field(default_factory=dict)
    keep: dict = field(default_factory=dict)
    check: dict = field(default_factory=dict)
    differs: str | None = None
    a: dict = field(default_factory=dict)
    b: dict = field(default_factory=dict)
    hosted: str | None = None

    @property
    def rows(self):
        """The rows of STATUS.md that it names."""
        return {row for row in (self.differs, self.hosted) if row}


@dataclass(frozen=True)
class Scenario:
    file: str
    name: str
    steps: tuple
    setup: tuple = ()
    tags: frozenset = frozenset()
    values: dict = field(default_factory=dict)


def status_rows(path=STATUS):
    """Ids of the deliberate differences that STATUS.md explains."""
    return set(re.findall(r"^\| `([a-z0-9-]+)` \|", path.read_text(encoding="utf-8"), re.M)) if path.exists() else None


def load(paths, database="sqlite"):
    """All scenarios of some files or directories, in order, as they are on this kind of database."""
    known = status_rows()
    scenarios, seen = [], set()
    for path in paths:
        for file in sorted(path.glob("*.yaml")) if path.is_dir() else [path]:
            document = yaml.safe_load(file.read_text(encoding="utf-8"))
            for raw in document["scenarios"]:
                scenarios += spread_scenario(file.name, raw, document.get("setup", []), database)
    for scenario in scenarios:
        for step in scenario.steps:
            where = f"{scenario.file}: {scenario.name}: {step.name}"
            if (scenario.name, step.name) in seen:
                raise ScenarioError(f"{where}: the name is used twice")
            seen.add((scenario.name, step.name))
            for row in step.rows - (step.rows if known is None else known):
                raise ScenarioError(f"{where}: STATUS.md has no row `{row}`")
    return scenarios


def spread_scenario(file, raw, common_setup, database):
    """One scenario, or one for each row of its table."""
    setup = raw.get("setup", common_setup)
    base = Scenario(
        file=file,
        name=raw["scenario"],
        setup=tuple(step for item in setup for step in spread_step(item, database)),
        steps=tuple(step for item in raw["steps"] for step in spread_step(item, database)),
        tags=frozenset(raw.get("tags", [])),
    )
    if "each" not in raw:
        return [base]
    return [
        replace(base, name=f"{base.name}: {name}", values=values, steps=tuple(override(s, values) for s in base.steps))
        for name, values in raw["each"].items()
    ]


def override(step, values):
    """A scenario row may bring its own `differs` and `b` for the steps that declare a difference."""
    if step.differs and "differs" in values:
        step = replace(step, differs=values["differs"])
    return replace(step, b=values["b"]) if step.differs and "b" in values else step


def spread_step(raw, database):
    rows = raw.get("each", {"": {}})
    for row, extra in rows.items():
        merged = {**raw, **(extra or {})}
        merged.update(merged.get("where", {}).get(database, {}))
        kinds = [kind for kind in KINDS if kind in merged]
        name = f"{merged.get('step', kinds)}: {row}" if row else merged.get("step", "")
        if len(kinds) != 1:
            raise ScenarioError(f"step {name!r} needs exactly one of {', '.join(KINDS)}")
        if ("differs" in merged) != ("b" in merged):
            raise ScenarioError(f"step {name!r}: `differs` and `b` belong together")
        yield Step(
            name=str(name),
            kind=kinds[0],
            args={key: value for key, value in merged.items() if key not in COMMON},
            **{key: merged[key] for key in ("expect", "keep", "check", "differs", "a", "b", "hosted") if key in merged},
        )


def fill(value, variables):
    """Replace ${...} in every string of a YAML value; a string that is one name keeps the type of its value."""
    if isinstance(value, str):
        whole = re.fullmatch(r"\$\{(\w+)\}", value)
        if whole and not isinstance(variables.get(whole.group(1), ""), str):
            return fill(variables[whole.group(1)], variables)
        return re.sub(r"\$\{([^}]+)\}", lambda match: expression(match.group(1), variables), value)
    if isinstance(value, list):
        return [fill(item, variables) for item in value]
    if isinstance(value, dict):
        return {fill(key, variables): fill(item, variables) for key, item in value.items()}
    return value


def expression(text, variables):
    repeated = re.fullmatch(r"(.+) \* (\d+)", text, re.S)
    if repeated:
        return repeated.group(1) * int(repeated.group(2))
    name, _, spelling = text.partition("|")
    if name not in variables:
        raise ScenarioError(f"nothing kept under the name {name!r}")
    value = fill(str(variables[name]), variables)
    return {"": value, "upper": value.upper(), "hex": value.replace("-", ""), "bytes": value.encode().hex()}[spelling]
