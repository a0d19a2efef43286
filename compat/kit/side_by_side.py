#!/usr/bin/env python
"""Plays every scenario on a live Django and a Chatferry binary, and holds the outcome against the committed one.

    side_by_side.py --binary target/release/chatferry              must agree with results.jsonl, step by step
    side_by_side.py --binary target/release/chatferry --update     writes results.jsonl anew
    side_by_side.py --binary ... --random 7 --sessions 300         random sessions instead; no baseline
    side_by_side.py --binary ... --same-database                   both servers on one SQLite file throughout
    side_by_side.py --binary ... --database-url postgres://...     both servers on that database; no baseline
    side_by_side.py --binary ... --hosted                          the reference in a worker of Chatferry; must be equal

Starts both servers on free ports with fresh SQLite files in a temporary directory, and stops them. Two more run on one
shared file, made by Django and adopted by Chatferry, for the scenarios tagged `shared`. Several databases may be named:
each has servers of its own, and all are played on at the same time. Needs the packages of
../reference/requirements*.txt and of requirements.txt here.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from judge import SKIPPED
from player import Pair, closing_line, play_all, play_shared, print_failures
from random_play import play_random
from scenario import ScenarioError, load
from servers import StartError, migrate_reference, start_binary, start_hosted, start_reference

HERE = Path(__file__).resolve().parent
BASELINE = HERE.parent / "results.jsonl"
#: Rows of STATUS.md that hold for the reference when it is hosted too: those of the door that all pass, of events that
#: msgpack cannot write (`host-event-types`), and of pages with a secret of their own.
HOSTED_ROWS = frozenset(
    (
        "bare-characters",
        "early-frame",
        "engine-refusals",
        "host-http-absolute",
        "html-page",
        "message-limit",
        "needless-continue",
        "own-paths",
        "root-path-header",
        "ws-big-number",
        "ws-lone-surrogate",
    )
)


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True, help="the chatferry binary")
    parser.add_argument("--update", action="store_true", help="write the baseline anew")
    parser.add_argument("--only", help="scenarios whose name contains this; no baseline")
    parser.add_argument("--same-database", action="store_true", help="one SQLite file for both, all the time")
    parser.add_argument("--database-url", nargs="+", help="empty databases, each for both servers; no baseline")
    parser.add_argument("--hosted", action="store_true", help="Chatferry hosts the reference; no baseline")
    parser.add_argument("--language", default="en-us", help="of both servers: en-us or ko-kr")
    parser.add_argument("--random", type=int, metavar="SEED", help="play random sessions instead")
    parser.add_argument("--sessions", type=int, default=50, help="how many random sessions")
    parser.add_argument("--jobs", type=int, default=4, help="scenarios at a time")
    parser.add_argument("--json-out", type=Path, help="write one JSON line for each step")
    parser.add_argument("-v", "--verbose", action="store_true", help="show passing steps too")
    return parser.parse_args(argv)


@dataclass(frozen=True)
class Change:
    """A step whose outcome is not the committed one."""

    scenario: str
    step: str
    before: str | None
    now: str | None

    def __str__(self):
        return f"{self.scenario} / {self.step}: was {self.before or 'not there'}, is {self.now or 'gone'}"


@contextlib.asynccontextmanager
async def running(options, ours, theirs):
    """Both servers on two databases (which may be one), stopped at the end. Files are named in a directory of the pair."""
    with tempfile.TemporaryDirectory(prefix="chatferry-compat-") as name:
        started = []
        try:
            yield await asyncio.to_thread(start, options, Path(name), ours, theirs, started)
        finally:
            for server in started:
                await asyncio.to_thread(server.stop)


def start(options, directory, ours, theirs, started):
    """A pair of servers that answer; `started` gets those that must be stopped, whatever happens."""
    ours, theirs = (database if "://" in database else directory / database for database in (ours, theirs))
    started.append(start_reference(directory, theirs, options.language))
    # While Django starts. Chatferry is to find the tables.
    migrate_reference(theirs)
    if options.hosted:
        migrate_reference(ours)
    start_other = start_hosted if options.hosted else start_binary
    started.append(start_other(options.binary, directory, ours, options.language))
    for server in started:
        server.wait_until_it_answers()
    reference, binary = started
    pair = Pair(reference.url, binary.url, reference.database, binary.database)
    return replace(pair, expect_equal=True, may_differ=HOSTED_ROWS) if options.hosted else pair


async def play_everything(options):
    """Records of all scenarios in the order of the files, or of random sessions."""
    one_for_both = options.database_url or ["shared.sqlite3"] * options.same_database
    if one_for_both:
        played = await asyncio.gather(*(play_on(options, database, database) for database in one_for_both))
    else:
        # What reads the other's rows needs one database for both, and the rest finds more with two.
        groups = [play_on(options, "ours.sqlite3", "theirs.sqlite3", lambda scenario: "shared" not in scenario.tags)]
        if options.random is None:
            groups.append(play_on(options, "shared.sqlite3", "shared.sqlite3", lambda scenario: "shared" in scenario.tags))
        played = await asyncio.gather(*groups)
    return [record for records in played for record in records]


async def play_on(options, ours, theirs, chosen=lambda scenario: True):
    """Records of the chosen scenarios, on servers of their own."""
    label = f"{ours}: " if options.database_url else ""

    def report(scenario, records):
        print_failures(replace(scenario, file=f"{label}{scenario.file}"), records, options.verbose)

    scenarios = [scenario for scenario in scenarios_for(options, ours) if chosen(scenario)]
    async with running(options, ours, theirs) as pair:
        if options.random is not None:
            return await play_random(pair, options.random, options.sessions, report)
        records = await play_all(pair, [s for s in scenarios if "shared" not in s.tags], options.jobs, report)
        records += await play_shared(pair, [s for s in scenarios if "shared" in s.tags], report)
    if label:
        print(f"{label}{closing_line(records)}", flush=True)
    return records


def scenarios_for(options, database):
    scheme = database.partition("://")[0] if "://" in database else "sqlite"
    loaded = load([HERE / "scenarios"], "postgres" if scheme == "postgresql" else scheme)
    return [scenario for scenario in loaded if not options.only or options.only in scenario.name]


def changes(records, baseline):
    """Steps that differ from the baseline, better or worse, in the order of the files."""
    before = {(line["scenario"], line["step"]): line["outcome"] for line in baseline}
    now = {(record.scenario, record.step): record.verdict.outcome for record in records}
    return [Change(*key, before.get(key), now.get(key)) for key in {**now, **before} if before.get(key) != now.get(key)]


def read_baseline():
    return [json.loads(line) for line in BASELINE.read_text(encoding="utf-8").splitlines()] if BASELINE.exists() else []


def write_lines(path, records):
    lines = (json.dumps(record.as_json(), ensure_ascii=False) for record in records)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


async def main(argv=None):
    options = arguments(argv)
    try:
        records = await play_everything(options)
    except (ScenarioError, StartError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if options.json_out:
        write_lines(options.json_out, records)
    complete = not (options.only or options.random is not None or options.database_url or options.hosted)
    if options.update and complete:
        write_lines(BASELINE, records)
    changed = changes(records, read_baseline()) if complete else []
    for change in changed:
        print(f"CHANGED {change}")
    print(closing_line(records, len(changed)))
    return 1 if changed or any(not r.verdict.passed and r.verdict.outcome != SKIPPED for r in records) else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
