#!/usr/bin/env python
"""Plays scenarios against two servers and compares their answers.

    play.py --a http://django:8000 --b http://chatferry:8000              every scenario of this kit
    play.py --a URL --b URL my.yaml --only typing -v                      some of them, with passing steps
    play.py --a URL --b URL --random 42 --sessions 200                    random sessions from a seed

A is the original, B the replacement. Exit code 0 if every difference is one that STATUS.md explains. It writes
conversations and messages into both servers: use it on test servers.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from player import Pair, closing_line, play_all, print_failures
from random_play import play_random
from scenario import DATABASES, ScenarioError, load

HERE = Path(__file__).resolve().parent


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", type=Path, default=[HERE / "scenarios"], help="files or directories")
    parser.add_argument("--a", required=True, help="address of the original")
    parser.add_argument("--b", required=True, help="address of the replacement")
    parser.add_argument("--database-a", help="SQLite file or URL of A's database, for scenarios that look into it")
    parser.add_argument("--database-b", help="the same of B")
    parser.add_argument("--on", choices=DATABASES, default="sqlite", help="kind of database of both servers")
    parser.add_argument("--only", help="scenarios whose name contains this")
    parser.add_argument("--tag", help="scenarios with this tag")
    parser.add_argument("--skip-tag", action="append", default=[], help="leave out scenarios with this tag")
    parser.add_argument("--jobs", type=int, default=1, help="scenarios at a time (1 if A is channels_redis.core)")
    parser.add_argument("--timeout", type=float, default=8.0, help="seconds to wait for an answer")
    parser.add_argument("--expect-equal", action="store_true", help="let no declared difference pass")
    parser.add_argument("--random", type=int, metavar="SEED", help="play random sessions instead")
    parser.add_argument("--sessions", type=int, default=50, help="how many random sessions")
    parser.add_argument("--json-out", type=Path, help="write one JSON line for each step")
    parser.add_argument("-v", "--verbose", action="store_true", help="show passing steps too")
    return parser.parse_args(argv)


def select(scenarios, options):
    return [
        s
        for s in scenarios
        if (not options.only or options.only in s.name)
        and (not options.tag or options.tag in s.tags)
        and not s.tags & {*options.skip_tag, "shared"}
    ]


async def main(argv=None):
    options = arguments(argv)
    pair = Pair(options.a, options.b, options.database_a, options.database_b, options.timeout, options.expect_equal)

    def report(scenario, records):
        print_failures(scenario, records, options.verbose)

    try:
        if options.random is not None:
            records = await play_random(pair, options.random, options.sessions, report)
        else:
            records = await play_all(pair, select(load(options.scenarios, options.on), options), options.jobs, report)
    except (ScenarioError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if options.json_out:
        lines = [json.dumps(record.as_json(), ensure_ascii=False) for record in records]
        options.json_out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(closing_line(records))
    return 0 if all(record.verdict.outcome != "differs" for record in records) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
