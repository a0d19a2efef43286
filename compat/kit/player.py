"""Plays scenarios on two servers in lockstep and collects the verdicts.

The two sessions of a scenario share nothing but the file: each has its own random word and its own variables. Steps
go to both servers at the same time, so that waiting for the slower one costs nothing twice.
"""

import asyncio
import sys
from dataclasses import dataclass, replace

from judge import SKIPPED, Verdict, judge
from normal import Verbatim
from scenario import ScenarioError
from session import Session


@dataclass(frozen=True)
class Record:
    """One played step."""

    scenario: str
    step: str
    verdict: Verdict

    def as_json(self):
        record = {"scenario": self.scenario, "step": self.step, "outcome": self.verdict.outcome}
        return {**record, "row": self.verdict.row} if self.verdict.row else record


@dataclass(frozen=True)
class Pair:
    """The two servers, and how to play on them."""

    a: str
    b: str
    database_a: str | None = None
    database_b: str | None = None
    timeout: float = 30.0
    expect_equal: bool = False
    #: Rows of STATUS.md whose steps may differ all the same.
    may_differ: frozenset = frozenset()

    def sessions(self, values):
        return (
            Session(self.a, values, self.timeout, self.database_a),
            Session(self.b, values, self.timeout, self.database_b),
        )

    @property
    def has_databases(self):
        return self.database_a is not None and self.database_b is not None


async def play_all(pair, scenarios, jobs=1, report=None):
    """Play scenarios, `jobs` at a time; records in the order of the files."""
    gate = asyncio.Semaphore(jobs)

    async def one(scenario):
        async with gate:
            records = await play_one(pair, scenario)
            if report:
                report(scenario, records)
            return records

    played = await asyncio.gather(*(one(scenario) for scenario in scenarios))
    return [record for records in played for record in records]


async def play_one(pair, scenario):
    if "database" in scenario.tags and not pair.has_databases:
        return [Record(scenario.name, step.name, Verdict(SKIPPED)) for step in scenario.steps]
    sessions = pair.sessions(scenario.values)
    try:
        for step in scenario.setup:
            for side, result in zip("AB", await play_both(step, sessions), strict=True):
                if "error" in result or result.get("status", 200) >= 400:
                    verdict = Verdict("differs", None, (f"{side}: setup {step.name!r} failed: {result}",))
                    return [Record(scenario.name, step.name, verdict) for step in scenario.steps]
        return [Record(scenario.name, step.name, await compare(pair, step, sessions)) for step in scenario.steps]
    finally:
        for session in sessions:
            await session.release()


async def compare(pair, step, sessions):
    if step.kind == "sql" and not pair.has_databases:
        return Verdict(SKIPPED)
    return judge(step, *await play_both(step, sessions), pair.expect_equal, pair.may_differ)


async def play_shared(pair, scenarios, report=None):
    """Scenarios tagged `shared`, for two servers on one database.

    One server makes the rows (setup), then both read them (steps), and every byte has to be equal: nothing is
    normalised. Then the same with the other server as the maker.
    """
    records = []
    for scenario in scenarios:
        for maker in ("A", "B"):
            named = replace(scenario, name=f"{scenario.name}, made by {maker}")
            played = await play_shared_one(pair, named, "AB".index(maker))
            if report:
                report(named, played)
            records += played
    return records


async def play_shared_one(pair, scenario, maker):
    sessions = pair.sessions(scenario.values)
    try:
        for step in scenario.setup:
            (result,) = await play_both(step, sessions[maker : maker + 1])
            if "error" in result or result.get("status", 200) >= 400:
                verdict = Verdict("differs", None, (f"setup {step.name!r} failed: {result}",))
                return [Record(scenario.name, step.name, verdict) for step in scenario.steps]
        for session in sessions:
            session.variables = dict(sessions[maker].variables)
            session.names = Verbatim()
        return [Record(scenario.name, step.name, await compare(pair, step, sessions)) for step in scenario.steps]
    finally:
        for session in sessions:
            await session.release()


async def play_both(step, sessions):
    """Results of one step on all sessions; a step that makes no sense is a result too."""

    async def play(session):
        try:
            return await session.play(step)
        except ScenarioError as error:
            return {"error": str(error)}

    return await asyncio.gather(*(play(session) for session in sessions))


def print_failures(scenario, records, verbose=False):
    """What an operator wants to see of one scenario."""
    shown = [record for record in records if verbose or record.verdict.outcome == "differs"]
    if not shown:
        return
    print(f"{scenario.file}: {scenario.name}")
    for record in shown:
        verdict = record.verdict
        print(f"  {'ok  ' if verdict.passed else 'FAIL'} {record.step}" + (f"  [{verdict.row}]" if verdict.row else ""))
        for line in verdict.details:
            print(f"       {line}")
    sys.stdout.flush()


def closing_line(records, changed=0):
    """`N passed, N failed`, with the skipped ones if there are any; outcomes that changed are failures of their own."""
    passed = sum(record.verdict.passed for record in records)
    skipped = sum(record.verdict.outcome == SKIPPED for record in records)
    line = f"{passed} passed, {len(records) - passed - skipped + changed} failed"
    return f"{line}, {skipped} skipped" if skipped else line
