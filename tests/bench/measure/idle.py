"""18,000 idle sockets in one process: what they take of memory and, while they are pinged, of a core."""

from load import load
from measured import SERVICES

SOCKETS = 18_000
OURS = next(service for service in SERVICES if service.name == "Chatferry, SQLite")
# CPU time over a minute and a bit, by /proc: three pings to each socket. It is no time on a clock, but a slower
# machine takes more of it.
SECONDS = 66
RESIDENT_MIB, CPU = 80.0, 0.2


def measure(machine, options):
    """Prints the figures beside their limits; returns the exit code."""
    sockets, seconds = (2000, 6) if options.quick else (SOCKETS, SECONDS)
    with machine.running(OURS, SERVER__MAX_CONNECTIONS=19_000) as server:
        figures = load("hold", server, sockets=sockets, seconds=seconds)
    each = (figures["resident_kib"] - figures["before_kib"]) / sockets
    mib = figures["resident_kib"] / 1024
    print(f"{sockets:,} sockets opened in {figures['opening_s']:.1f} s ({sockets / figures['opening_s']:,.0f} a second)")
    print(f"memory          {mib:8.1f} MiB, limit {RESIDENT_MIB}; {figures['before_kib'] / 1024:.1f} before them")
    print(f"memory of each  {each:8.2f} KiB")
    print(f"CPU             {figures['cpu']:8.3f} of a core, limit {CPU}; {figures['pings']:,} pings in {seconds} s")
    print(f"sockets ended   {figures['ended']:8}")
    pinged = options.quick or figures["pings"] >= 2 * sockets
    fine = mib <= RESIDENT_MIB and figures["cpu"] <= CPU and not figures["ended"] and pinged
    print("within" if fine else "NOT WITHIN")
    return 0 if fine else 1
