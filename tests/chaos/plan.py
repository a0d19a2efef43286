"""A plan: everything about a run that chance decides before it begins. The same seed and options give the same plan."""

import json
import random
from dataclasses import asdict, dataclass, field

BACKENDS = ("redis", "redis_pubsub")
DATABASES = ("sqlite", "mariadb", "mysql", "postgres")
#: One Redis; three that share the keys; a master with a replica, watched by a Sentinel.
REDISES = ("one", "three", "sentinel")
PROCESSES = 3
DJANGOS = 2
#: Seconds before the first fault.
QUIET_S = 3


@dataclass(frozen=True)
class Kind:
    """A kind of fault: how likely it is beside the others, and for how long it lasts."""

    weight: float
    lasts_s: tuple[float, float]


KINDS = {
    "link.cut": Kind(6, (0.3, 4)),
    "link.reset": Kind(2, (0, 0)),
    "link.hold": Kind(3, (0.3, 6)),
    "link.half_open": Kind(4, (0.5, 6)),
    "link.one_way": Kind(3, (0.5, 6)),
    "link.slow": Kind(2, (1, 6)),
    "redis.stop": Kind(2, (0.5, 6)),
    "redis.pause": Kind(1, (0.5, 5)),
    "redis.kill": Kind(3, (0.1, 3)),
    "redis.flush": Kind(2, (0, 0)),
    "redis.kick": Kind(1, (0, 0)),
    "redis.forget": Kind(3, (0, 0)),
    "redis.full": Kind(2, (1, 5)),
    "redis.failover": Kind(5, (0, 0)),
    "database.kill": Kind(2, (0.2, 3)),
    "database.stop": Kind(2, (0.5, 5)),
    "database.read_only": Kind(2, (1, 5)),
    "database.full": Kind(1.5, (1, 5)),
    "database.lock": Kind(3, (0.5, 5)),
    "process.kill": Kind(3, (0.2, 3)),
    "process.stop": Kind(3, (0.5, 5)),
    "process.drain": Kind(2, (0.1, 2)),
    "process.clock": Kind(1.5, (1, 8)),
    "process.files": Kind(1.5, (1, 5)),
}


@dataclass(frozen=True)
class Fault:
    """One fault: `target` is a link ("chatferry-0:redis"), a process, or empty where the kind says it all."""

    at_s: float
    lasts_s: float
    kind: str
    target: str = ""
    #: A direction or seconds, for kinds that need one.
    detail: str | float = ""

    def __str__(self):
        parts = (self.kind, self.target, str(self.detail), f"{self.lasts_s:.1f} s" if self.lasts_s else "")
        return " ".join(part for part in parts if part)


@dataclass
class Plan:
    seed: int
    seconds: float
    backend: str
    database: str
    redis: str
    django: bool
    faults: list[Fault] = field(default_factory=list)

    @property
    def chatferries(self):
        return [f"chatferry-{number}" for number in range(PROCESSES)]

    @property
    def djangos(self):
        return [f"django-{number}" for number in range(DJANGOS if self.django else 0)]

    @property
    def servers(self):
        return self.chatferries + self.djangos

    @property
    def redis_hosts(self):
        return {"one": ["redis"], "three": ["redis-0", "redis-1", "redis-2"], "sentinel": ["redis-0", "redis-1"]}[
            self.redis
        ]

    @property
    def links(self):
        """Links by name, `USER:SERVER`: clients to a process, a process to Redis and to the database."""
        redis = self.redis_hosts + (["sentinel"] if self.redis == "sentinel" else [])
        database = [] if self.database == "sqlite" else ["database"]
        of_servers = [f"{server}:{far}" for server in self.servers for far in (*redis, *database)]
        return [f"clients:{server}" for server in self.servers] + of_servers

    @property
    def steps_clocks(self):
        return any(fault.kind == "process.clock" for fault in self.faults)

    def text(self):
        return json.dumps(asdict(self))

    def options(self):
        """Options of the program that make this plan again, those of its faults left out."""
        chosen = {name: getattr(self, name) for name in ("seed", "seconds", "backend", "database", "redis")}
        pairs = [f"--{name} {value}" for name, value in chosen.items()]
        return " ".join([*pairs, "--django" if self.django else "--no-django"])

    def headline(self):
        django = " beside Django" if self.django else ""
        return f"seed {self.seed}: {self.backend} on {self.redis} Redis, {self.database}{django}, {len(self.faults)} faults"


def make(seed, seconds, backend=None, database=None, redis=None, django=None, only=None):
    """The plan of a seed; options that are given do not change what the seed decides of the others."""
    rng = random.Random(f"chatferry {seed}")
    drawn = (rng.choice(BACKENDS), rng.choice(DATABASES), rng.choices(REDISES, (6, 1.5, 2.5))[0], rng.random() < 0.3)
    with_django = drawn[3] if django is None else django
    # The reference knows one host only.
    hosts = redis or ("one" if with_django else drawn[2])
    with_django = with_django and hosts == "one"
    plan = Plan(seed, seconds, backend or drawn[0], database or drawn[1], hosts, with_django)
    plan.faults = faults(plan, rng, only)
    return plan


def faults(plan, rng, only):
    allowed = {kind: allowed_targets(kind, plan, only) for kind in KINDS if possible(kind, plan)}
    kinds = [kind for kind, found in allowed.items() if found]
    weights = [KINDS[kind].weight for kind in kinds]
    planned, free_from, at = [], {}, QUIET_S + rng.uniform(0, 1)
    while kinds:
        kind = rng.choices(kinds, weights)[0]
        lasts = rng.uniform(*KINDS[kind].lasts_s)
        target, detail = rng.choice(allowed[kind]), details(kind, rng)
        # Alone, or while this one lasts.
        overlaps = rng.random() < 0.4
        after = at + (rng.uniform(0.1, max(lasts, 0.5)) if overlaps else lasts + rng.uniform(0.5, 4))
        if at + lasts > plan.seconds:
            break
        subject = target or kind.partition(".")[0]
        if free_from.get(subject, 0) <= at:
            planned.append(Fault(round(at, 2), round(lasts, 2), kind, target, detail))
            # What was killed takes a moment to be back.
            free_from[subject] = at + lasts + 1.5
        at = after
    return planned


def allowed_targets(kind, plan, only):
    """`only` are beginnings of kinds; after an `@` follows what the target must hold, as in `link.cut@:redis`."""
    found = targets(kind, plan)
    if not only:
        return found
    wanted = [part for start, _, part in (one.partition("@") for one in only) if kind.startswith(start)]
    return [target for target in found if any(part in target for part in wanted)]


def possible(kind, plan):
    if kind == "redis.failover":
        return plan.redis == "sentinel"
    if kind == "database.lock":
        return plan.database == "sqlite"
    if kind == "redis.forget":
        return plan.backend == "redis"
    return plan.database != "sqlite" or kind not in ("database.kill", "database.stop", "database.read_only")


def targets(kind, plan):
    subject = kind.partition(".")[0]
    if subject == "link":
        # The links to Redis are where most can go wrong.
        return plan.links + 2 * [link for link in plan.links if ":redis" in link]
    if subject == "redis":
        return [""] if kind == "redis.failover" else plan.redis_hosts
    if subject == "database":
        return [""]
    return plan.servers if kind in ("process.kill", "process.stop") else plan.chatferries


def details(kind, rng):
    direction, delay, step = rng.choice(("up", "down")), rng.uniform(0.02, 0.3), rng.uniform(-1, 1)
    far = rng.choice((2, 30, 30, 300))
    if kind == "link.one_way":
        return direction
    if kind == "link.slow":
        return round(delay, 3)
    if kind == "process.clock":
        return round(step * far, 1)
    return ""
