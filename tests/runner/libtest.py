"""What cargo tells of test programs, and what their lines tell of the tests."""

import json
import re


def is_message(line):
    """Whether it is one of cargo's messages for machines."""
    return line.startswith('{"reason":')


def programs(lines):
    """Name → path of the test programs in cargo's messages, in the order of their names; the library's is `lib`."""
    messages = [json.loads(line) for line in lines if is_message(line)]
    made = [message for message in messages if message.get("executable") and message["profile"]["test"]]
    return dict(sorted((_name(message["target"]), message["executable"]) for message in made))


def _name(target):
    return "lib" if "lib" in target["kind"] else target["name"]


def skipped(lines):
    """How many tests, or parts of them, say that they could not be tried."""
    return sum(line.startswith("skipped:") for line in lines)


def passed(lines):
    return sum(int(found[1]) for line in lines if (found := re.match(r"test result: ok\. (\d+) passed", line)))


def failed(lines):
    """The names of the tests that failed; none if something else went wrong too: it does not compile, or is killed."""
    names, targets, failed_targets = [], 0, None
    for place, line in enumerate(lines):
        if found := re.match(r"test result: FAILED\. \d+ passed; (\d+) failed", line):
            # Before it are the names, under a heading, and an empty line.
            first = place - 1 - int(found[1])
            listed = lines[first : place - 1]
            if first < 1 or lines[first - 1] != "failures:" or not all(name.startswith("    ") for name in listed):
                return []
            names += [name.strip() for name in listed]
            targets += 1
        elif found := re.match(r"error: (\d+) targets? failed:", line):
            failed_targets = int(found[1])
    return names if targets == failed_targets else []
