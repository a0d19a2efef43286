"""Steps for test_lanes.py: `python3 samples.py NAME ...` runs some of them."""

import argparse
import signal
import sys
import time

import shell
from lanes import Lanes
from shell import Failed, Skipped, run
from steps import Step


def busy(_):
    """Uses a second of a processor, in a command."""
    run(sys.executable, "-c", "import time\nwhile time.process_time() < 1: pass")


def idle(_):
    run("sleep", "1")


def talk(_):
    for number in range(5):
        print(f"line {number}", flush=True)
        run(sys.executable, "-c", f"print('command {number}')")


def fail(_):
    run(sys.executable, "-c", "print('error: it is broken'); exit(3)")


def fail_at_first(_):
    raise Failed("not yet")


def then_pass(_, first):
    print(f"again after: {first}", flush=True)
    return 2


def skip(_):
    raise Skipped("nothing here")


def wait_for_ever(_):
    server = shell.start(["sleep", "3600"])
    print(f"server {server.pid}", flush=True)
    time.sleep(3600)


STEPS = [
    Step("busy", "uses a processor", busy, "compute"),
    Step("idle", "waits", idle, "wait"),
    Step("talk", "prints", talk, "wait"),
    Step("talk_too", "prints", talk, "compute"),
    Step("fail", "fails", fail, "compute", live=True),
    Step("after", "needs one that fails", idle, "wait", needs=("fail",)),
    Step("flaky", "fails at first", fail_at_first, "wait", live=True, again=then_pass),
    Step("skip", "is skipped", skip, "wait"),
    Step("for_ever", "does not end", wait_for_ever, "wait"),
    Step("one", "uses something", idle, "compute", uses=("it",)),
    Step("other", "uses the same", idle, "compute", uses=("it",)),
    Step("alone", "measures", idle, "compute", alone=True),
]


def lanes(names, again=False):
    steps = [step for step in STEPS if step.name in names]
    return Lanes(steps, argparse.Namespace(again=again), module="samples")


if __name__ == "__main__":
    shell.end_on_signals()
    # Shells let what they start in the background ignore it, and their children too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    lanes(sys.argv[1:]).run()
