"""The chaos run: see README.md beside this file.

python tests/chaos --binary target/release/chatferry --seed 7 --seconds 40
python tests/chaos --binary target/release/chatferry --seeds 1-200 --seconds 40 --jobs 4
"""

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests" / "runner"), str(ROOT / "compat" / "kit")]

import plan as plans  # noqa: E402
import run as runs  # noqa: E402
import sabotage  # noqa: E402
import shell  # noqa: E402
from servers import StartError, tied  # noqa: E402

#: Beyond the seconds of a run and its bound to settle: start and end, on a machine that is busy.
SPARE_S = 600
#: Exit code of a run that could not be made.
BROKE = 2


def arguments():
    parser = argparse.ArgumentParser(
        prog="tests/chaos", description="Chatferry processes under faults, and whether anything was missed."
    )
    parser.add_argument("--binary", type=Path, required=True)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int)
    which.add_argument("--seeds", type=seeds, help="FIRST-LAST or one,two,three: each a run of its own")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side")
    parser.add_argument("--seconds", type=float, default=40, help="in which faults are made")
    parser.add_argument("--rate", type=float, default=60, help="messages in a second, all clients together")
    parser.add_argument("--settle-s", type=float, default=60, help="bound for everything to come right")
    parser.add_argument("--backend", choices=plans.BACKENDS, help="the seed decides what is not given")
    parser.add_argument("--database", choices=plans.DATABASES)
    parser.add_argument("--redis", choices=plans.REDISES)
    parser.add_argument("--django", action=argparse.BooleanOptionalAction, help="two Django processes beside")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="KIND",
        help="faults whose names begin so; link.cut@:redis holds for their targets too",
    )
    parser.add_argument("--sabotage", choices=sabotage.KINDS, help="no faults, but servers that lie")
    parser.add_argument("--calm", action="store_true", help="no faults")
    parser.add_argument("--plan", action="store_true", help="print the plan and end")
    parser.add_argument(
        "--keep", type=Path, help="directory for logs and tables; without it those of failed runs are kept"
    )
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.keep and options.keep.exists() and any(options.keep.iterdir()):
        parser.error(f"{options.keep} is not empty")
    if options.django and options.redis in ("three", "sentinel"):
        parser.error("the original beside it knows one Redis only: --django goes with --redis one")
    options.calm = options.calm or bool(options.sabotage)
    return options


def seeds(text):
    first, dash, last = text.partition("-")
    return list(range(int(first), int(last) + 1)) if dash else [int(seed) for seed in text.split(",")]


def say(text):
    print(text, flush=True)


def plan_of(options, seed):
    chosen = plans.make(
        seed, options.seconds, options.backend, options.database, options.redis, options.django, options.only
    )
    if options.calm:
        chosen.faults = []
    return chosen


def one(options):
    plan = plan_of(options, options.seed)
    if options.plan:
        say(plan.headline())
        for fault in plan.faults:
            say(f"{fault.at_s:7.2f} s  {fault}")
        return 0
    directory = options.keep or Path(tempfile.mkdtemp(prefix=f"chaos-{plan.seed}-", dir=shell.scratch()))
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)
    try:
        verdict = asyncio.run(runs.run(plan, options.binary, directory, options))
    except (shell.Failed, shell.Skipped, StartError) as reason:
        print(f"{plan.headline()} broke: {reason}", *getattr(reason, "details", ()), sep="\n", file=sys.stderr)
        print(f"its files: {keep(options, plan, directory)}\nagain: {again(options, plan)}", file=sys.stderr)
        return BROKE
    verdict |= {"seed": plan.seed, "headline": plan.headline(), "again": again(options, plan)}
    failed = is_bad(verdict)
    if failed and not options.sabotage:
        directory = keep(options, plan, directory)
    verdict["directory"] = str(directory)
    say(json.dumps(verdict, ensure_ascii=False) if options.json else report(verdict))
    return 1 if failed else 0


def keep(options, plan, directory):
    """Returns the place in which the files of a run outlive it."""
    if options.keep:
        return directory
    kept = shell.KEPT / "chaos" / f"seed-{plan.seed}"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(directory, kept, ignore=shutil.ignore_patterns("disk"))
    return kept


def again(options, plan):
    """The command that makes this plan again."""
    only = ("--only", *options.only) if options.only else ()
    faults = (*only, *["--calm"] * options.calm)
    return " ".join(("tests/run chaos", plan.options(), *faults))


def is_bad(verdict):
    return bool(verdict["counts"] or verdict["complaints"])


def report(verdict):
    lines = [verdict["headline"]]
    for event in map(json.loads, (Path(verdict["directory"]) / "events.jsonl").read_text().splitlines()):
        lines.append(f"{event['t']:7.2f} s  {event['e']}: {event['text']}")
    for violation in verdict["violations"]:
        lines.append(f"{violation['kind']} ({violation['count']}): {violation['subject']}")
        lines += [f"    {text}" for text in violation["evidence"]]
    lines += [f"complaint: {text}" for text in verdict["complaints"]]
    lines.append(", ".join(f"{name} {count}" for name, count in verdict["figures"].items()))
    return "\n".join([*lines, outcome(verdict)])


def outcome(verdict):
    found = verdict["counts"] | ({"complaints": len(verdict["complaints"])} if verdict["complaints"] else {})
    figures = verdict["figures"]
    swept = f", {verdict['swept']} found by sweeps" if verdict["swept"] else ""
    head = f"{verdict['headline']}: {figures['stored']} stored, {figures['frames']} frames, {verdict['settled']}{swept}"
    kept = f"\n    files: {verdict['directory']}\n    again: {verdict['again']}"
    return f"{head}; violations: {found or 0}" + (kept if found else "")


def many(options):
    """Each seed in a process of its own. Prints one line for each, then sums."""
    began = time.monotonic()
    pool, verdicts = ThreadPoolExecutor(options.jobs), []
    try:
        for verdict in pool.map(lambda seed: in_process(options, seed), options.seeds):
            say(verdict.get("failed") or outcome(verdict))
            verdicts.append(verdict)
    finally:
        # On a signal no further run begins; `main` ends those that have begun.
        pool.shutdown(wait=False, cancel_futures=True)
    good = [verdict for verdict in verdicts if "failed" not in verdict]
    kinds, by_setting, stored = Counter(), Counter(), sum(verdict["figures"]["stored"] for verdict in good)
    for verdict in good:
        kinds.update(verdict["counts"])
        kinds["complaints"] += len(verdict["complaints"])
        plan = plan_of(options, verdict["seed"])
        by_setting[f"{plan.backend} {plan.database}"] += 1
    bad = [verdict["seed"] for verdict in good if is_bad(verdict)]
    say(
        f"\n{len(verdicts)} seeds in {time.monotonic() - began:.0f} s, {stored} messages: "
        + ", ".join(f"{n} {name}" for name, n in sorted(by_setting.items()))
    )
    say(f"seeds with violations: {bad or 'none'}; runs that broke: {len(verdicts) - len(good)}")
    say(f"violations: {dict(+kinds) or 0}")
    return 1 if bad or len(good) < len(verdicts) else 0


def in_process(options, seed):
    """The verdict of a run, or why it has none under `failed`."""
    command = [sys.executable, Path(__file__).parent, "--json", "--binary", options.binary, "--seed", str(seed)]
    for name in ("seconds", "rate", "settle_s", "backend", "database", "redis", "sabotage"):
        if (value := getattr(options, name)) is not None:
            command += [f"--{name.replace('_', '-')}", str(value)]
    if options.django is not None:
        command.append("--django" if options.django else "--no-django")
    command += ["--calm"] * options.calm
    if options.only:
        command += ["--only", *options.only]
    process = shell.start(tied(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = process.communicate(timeout=options.seconds + options.settle_s + SPARE_S)
        return json.loads(out.splitlines()[-1])
    except subprocess.TimeoutExpired as error:
        return {"seed": seed, "failed": f"seed {seed} broke: {error}"}
    except (ValueError, IndexError):
        return {"seed": seed, "failed": f"seed {seed} broke:\n{err[-3000:]}"}
    finally:
        shell.stop(process)


def main():
    options = arguments()
    shell.end_on_signals()
    try:
        return many(options) if options.seeds else one(options)
    finally:
        shell.stop_everything()


if __name__ == "__main__":
    sys.exit(main())
