"""Measures, and tells what it measured: the table, the curves, or the idle sockets. Called by tests/bench/run."""

import argparse
import contextlib
import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE.parent), str(HERE.parents[1] / "runner")]

import curves  # noqa: E402
import hosted  # noqa: E402
import idle  # noqa: E402
import load  # noqa: E402
import native  # noqa: E402
import plot  # noqa: E402
import shell  # noqa: E402
from cells import CELLS, FULL, MEMBERS, QUICK, RATE, TALKERS, Figure, fixtures  # noqa: E402
from provision import cargo  # noqa: E402
from measured import SERVICES, Machine, python  # noqa: E402
from shell import KEPT, ROOT, Failed, Skipped  # noqa: E402
from table import Spread, limits, number, spread, table  # noqa: E402

# What the machine can do at best, and which cell is held against it.
LIMITS = {
    "batches of 200 rows in the same MariaDB": "messages stored and delivered, 50 conversations with 8 in flight",
    "a bare loop that writes to 400 sockets": "deliveries in one conversation with 400 sockets",
    "100 single rows a second in the same MariaDB, 99th percentile": "send to receive at 100 messages/s, 99th percentile",
}

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def arguments():
    parser = argparse.ArgumentParser(prog="tests/bench/run", description="Measures servers beside each other.")
    parser.add_argument("what", nargs="?", choices=["table", "curves", "idle", "native", "hosted"], default="table")
    parser.add_argument("--quick", action="store_true", help="a few seconds for each cell, once")
    parser.add_argument("--rounds", type=int, help="how often everything is measured, in turn")
    parser.add_argument("--minutes", type=float, default=40, help="no round is begun after so long")
    parser.add_argument("--only", nargs="+", metavar="SERVER", help="servers whose names contain one of these")
    parser.add_argument("--update", action="store_true", help="write the results into the README, or its picture of the curves")
    return parser.parse_args()


def measure_table(machine, options, directory):
    """Fills the table; returns the exit code."""
    size = QUICK if options.quick else FULL
    services = [s for s in SERVICES if not options.only or any(word.lower() in s.name.lower() for word in options.only)]
    results = {cell.name: {} for cell in CELLS}
    of_machine = {limit: [] for limit in LIMITS}
    began, rounds = time.monotonic(), options.rounds or size.rounds
    for turn in range(rounds):
        if turn and time.monotonic() - began > options.minutes * 60:
            print(f"no time for more than {turn} rounds", flush=True)
            break
        for place, service in enumerate(services):
            done, of = turn * len(services) + place, rounds * len(services)
            print(f"\n{progress(done, of, time.monotonic() - began)}", flush=True)
            measure_service(machine, service, size, results)
        inserts, deliveries, single = of_machine.values()
        inserts.append(inserted(machine, size.seconds))
        deliveries.append(load.bare(MEMBERS, TALKERS, size.seconds))
        single.append(inserted(machine, 3 * size.seconds, RATE))
    spreads = {cell: {name: spread(made) for name, made in of.items()} for cell, of in results.items()}
    return tell(services, spreads, of_machine, options, directory)


def progress(done, of, seconds):
    """The progress, and the time that the rest takes at this pace."""
    rest = f", some {seconds / done * (of - done) / 60:.0f} to go" if done else ""
    return f"part {done + 1} of {of}; {seconds / 60:.0f} min gone{rest}"


def measure_service(machine, service, size, results):
    """One round of one server. A cell that fails says so, and the next one is measured."""
    print(service.name, flush=True)
    prepared = fixtures(machine, machine.database(service), size)
    with machine.running(service) as server:
        for cell in CELLS:
            figures = results[cell.name].setdefault(service.name, [])
            try:
                figures.append(cell.measure(server, prepared, size))
            except Failed as reason:
                figures.append(Figure(None, [str(reason)]))
            told = figures[-1]
            print(f"  {cell.name:<68} {number(told.value):>8} {cell.unit:<4} {'; '.join(told.faults)}", flush=True)


def inserted(machine, seconds, *rate):
    """See insert.py."""
    url = machine.database(next(service for service in SERVICES if service.name == "Chatferry"))
    asked = [str(python()), str(HERE / "insert.py"), url, str(seconds), *map(str, rate)]
    return float(subprocess.run(asked, capture_output=True, text=True, check=True, timeout=300).stdout)


def tell(services, spreads, of_machine, options, directory):
    """Prints and writes what was found. A fault of one of ours is a failed run."""
    names = [service.name for service in services]
    units = {cell.name: cell.unit for cell in CELLS}
    found = {
        name: (units[LIMITS[name]], Spread(tuple(values)), spreads[LIMITS[name]].get("Chatferry", Spread(())))
        for name, values in of_machine.items()
    }
    text = f"{table(CELLS, names, spreads)}\n{limits(found)}"
    picture = plot.bars(CELLS, names, spreads)
    (directory / "results.md").write_text(text, encoding="utf-8")
    (directory / "results.svg").write_text(picture, encoding="utf-8")
    figures = {cell: {name: spread.values for name, spread in of.items()} for cell, of in spreads.items()}
    (directory / "results.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False), encoding="utf-8")
    print(f"\n{text}\n{directory / 'results.svg'}", flush=True)
    failed = [f"{name}, {cell}: {'; '.join(of[name].faults)}" for cell, of in spreads.items() for name in of if of[name].faults]
    print("\n".join(f"FAILED: {line}" for line in failed))
    if any(line.startswith("Chatferry") for line in failed):
        return 1
    if options.update:
        update_readme(text, picture)
    return 0


def update_readme(text, picture):
    readme = ROOT / "tests" / "bench" / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    (HERE.parent / "results.svg").write_text(picture, encoding="utf-8")
    shown = f"{BEGIN}\n{text}\n![The same as bars](results.svg)\n{END}"
    readme.write_text(before + shown + after, encoding="utf-8")


def main():
    options = arguments()
    # So that servers are stopped however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    directory = KEPT / "bench"
    directory.mkdir(parents=True, exist_ok=True)
    try:
        shell.run(cargo(), "build", "--locked", "--release", "--quiet")
        load.binary()
        with contextlib.ExitStack() as servers:
            machine = Machine(servers)
            if options.what == "idle":
                return idle.measure(machine, options)
            if options.what == "native":
                return native.measure(machine, options, QUICK if options.quick else FULL)
            if options.what == "hosted":
                return hosted.measure(machine, options, QUICK if options.quick else FULL, directory)
            if options.what == "curves":
                return curves.measure(machine, options, directory)
            return measure_table(machine, options, directory)
    except (Failed, Skipped) as reason:
        print(f"FAILED: {reason}", flush=True)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        shell.stop_everything()


if __name__ == "__main__":
    sys.exit(main())
