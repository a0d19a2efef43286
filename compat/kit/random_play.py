"""Random sessions on both servers, in lockstep.

A session ends at its first explained difference, because the two servers' data differ from there on. What is explained
is decided by `explanation` alone: inputs on which the original breaks, and the few limits that we keep and SQLite does
not. Everything else has to be equal.
"""

import json
import random

import random_input
from judge import DIFFERS, DOCUMENTED, Verdict, error_fits, judge, status_fits, type_fits
from player import Record, play_both
from scenario import Scenario, Step

PAIR = {"participant1_id": "a-${run}", "participant2_id": "b-${run}"}
HELLO = {"sender_id": "a", "content": "b"}
CREATE = "POST /api/chat/conversations/"
SEND = "POST /api/chat/conversations/${conversation}/messages/send/"
SETUP = (
    Step("conversation", "request", {"request": CREATE, "headers": {}, "json": PAIR}, keep={"conversation": "id"}),
    Step("message", "request", {"request": SEND, "headers": {}, "json": HELLO}, keep={"message": "id"}),
    Step("socket", "open", {"open": "w", "path": "/ws/chat/${conversation}/"}),
    Step("second socket", "open", {"open": "v", "path": "/ws/chat/${conversation}/"}),
)


async def play_random(pair, seed, sessions, report):
    """Records of `sessions` random sessions; each is printed with what it did when it fails."""
    records = []
    for number in range(sessions):
        scenario = random_scenario(seed, number)
        played = await play_session(pair, scenario)
        report(scenario, played)
        records += played
    return records


def random_scenario(seed, number):
    """Session `number` of a seed; the same on every run."""
    rng = random.Random(f"{seed}/{number}")
    steps = [random_step(rng) for _ in range(rng.randrange(6, 16))]
    named = tuple(Step(f"{i + 1} {summary(step)}", step.kind, step.args) for i, step in enumerate(steps))
    return Scenario(f"--random {seed}", f"session {number}", named, setup=SETUP)


def random_step(rng):
    kind = rng.randrange(10)
    if kind < 5:
        return Step("", "request", random_input.request(rng))
    if kind < 9:
        return Step("", "send", {"send": rng.choice("wwv"), **random_input.frame(rng)})
    return rng.choice(
        (
            Step("", "ping", {"ping": "w", "payload": random_input.text(rng)}),
            Step("", "listen", {"listen": "v"}),
            Step("", "open", {"open": "w", "path": "/ws/chat/${conversation}/"}),
        )
    )


def summary(step):
    return json.dumps({key: value for key, value in step.args.items() if value}, ensure_ascii=False)[:400]


async def play_session(pair, scenario):
    sessions = pair.sessions(scenario.values)
    records = []
    try:
        for step in scenario.setup + scenario.steps:
            a, b = await play_both(step, sessions)
            equal = judge(step, a, b)
            records.append(
                Record(scenario.name, step.name, equal if pair.expect_equal else reviewed(step, a, b, equal))
            )
            if not equal.passed:
                break
    finally:
        for session in sessions:
            await session.release()
    return records


def reviewed(step, a, b, equal):
    """The verdict of a random step: explained differences pass, and breaking just like the original does not."""
    if (step.kind == "request" and status_fits("5xx", b)) or b.get("after") == "closed 1011":
        return Verdict(DIFFERS, None, ("B broke", *equal.details))
    row = None if equal.passed else explanation(step, a, b)
    return Verdict(DOCUMENTED, row) if row else equal


def explanation(step, a, b):
    """The row of STATUS.md that explains a difference, or None."""
    return explain_request(step, a, b) if step.kind == "request" else explain_frame(step, a, b)


def explain_request(step, a, b):
    if a.get("status") == 500 and status_fits("4xx", b):
        return "crashes"
    if a.get("status") == b.get("status") and wants_html(step) and all(type_fits("text/html", r) for r in (a, b)):
        return "html-page"
    if a.get("status") == 400 and not a["headers"] and status_fits("4xx", b):
        return "engine-refusals"
    if status_fits("2xx", a) and b.get("status") == 400 and too_long(sent_object(step)):
        return "too-long-id"
    return None


def explain_frame(step, a, b):
    if b.get("after") != "open" or not error_fits(True, {"frames": b.get("frames", [])[-1:]}):
        return None
    if a.get("after") == "closed 1011":
        return "ws-crashes"
    sent = sent_object(step)
    if "\\ud" in ascii(sent):
        return "ws-lone-surrogate"
    if outside_64_bits(sent):
        return "ws-big-number"
    return "ws-too-long" if too_long(sent) else None


def wants_html(step):
    return "text/" in step.args["headers"].get("Accept", "")


def sent_object(step):
    """The JSON object that a step sends; an empty one if it sends something else."""
    document = step.args.get("text") or "".join(frame.get("text", "") for frame in step.args.get("frames", []))
    try:
        value = json.loads(document)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def too_long(sent):
    """Whether some column cannot hold Python's text of its value."""
    ids = ("participant1_id", "participant2_id", "sender_id", "user_id")
    return len(str(sent.get("message_type"))) > 10 or any(len(str(sent.get(name))) > 255 for name in ids)


def outside_64_bits(value):
    """Whether msgpack could not hold an integer somewhere in the value."""
    if isinstance(value, list | dict):
        return any(outside_64_bits(item) for item in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, int) and not -(2**63) <= value < 2**64
