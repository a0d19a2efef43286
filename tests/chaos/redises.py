"""Redis of a run: one, three that share the keys, or a master with a replica and a Sentinel."""

import asyncio

import neighbours
import redis.asyncio
import shell
from processes import Process
from servers import free_port

MASTER = "mymaster"
#: Of one answer to us; Redis may be paused or frozen.
ANSWER_S = 2


class Redis(Process):
    """One server, which keeps nothing on disk: killed, it comes back empty."""

    def __init__(self, name, directory, *options):
        self.port = free_port()
        own = ("--port", self.port, "--bind", "127.0.0.1", "--save", "", "--repl-diskless-sync-delay", 0)
        super().__init__(name, (neighbours.redis(), *own, "--dir", directory, *options), directory)

    async def ask(self, *command):
        """Its answer. Raises redis.RedisError or OSError."""
        client = redis.asyncio.Redis(port=self.port, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S)
        try:
            return await client.execute_command(*command)
        finally:
            await client.aclose()

    async def answers(self):
        for _ in range(600):
            try:
                return await self.ask("PING")
            except (redis.RedisError, OSError):
                if self.exit_code() is not None:
                    break
                await asyncio.sleep(0.05)
        raise shell.Failed(f"{self.name} does not answer: {self.log_end()}")


class Group:
    """The servers, by the names that links have for them."""

    def __init__(self, plan, directory):
        self.kind = plan.redis
        self.hosts = {name: Redis(name, directory) for name in plan.redis_hosts}
        self.sentinel = None
        if self.kind == "sentinel":
            master, replica = self.hosts.values()
            replica.command = (*replica.command, "--replicaof", f"127.0.0.1 {master.port}")
            self.sentinel = sentinel(directory, master.port)

    @property
    def all(self):
        return [*self.hosts.values(), *([self.sentinel] if self.sentinel else [])]

    async def start(self):
        for server in self.all:
            server.start()
            await server.answers()
        if self.sentinel:
            await self.knows_the_replica()

    async def knows_the_replica(self):
        for _ in range(600):
            replicas = await self.sentinel.ask("SENTINEL", "REPLICAS", MASTER)
            if replicas and "disconnected" not in str(replicas) and "s_down" not in str(replicas):
                return
            await asyncio.sleep(0.1)
        raise shell.Failed(f"the Sentinel does not meet the replica: {self.sentinel.log_end()}")

    def targets(self):
        """The port behind each name."""
        sentinel = {"sentinel": self.sentinel.port} if self.sentinel else {}
        return {name: server.port for name, server in self.hosts.items()} | sentinel

    def urls(self, port_of):
        """`layer.hosts`, by the ports of one user's links."""
        if self.sentinel:
            return [f"sentinel://127.0.0.1:{port_of('sentinel')}/{MASTER}/0"]
        return [f"redis://127.0.0.1:{port_of(name)}" for name in self.hosts]

    def rewrites(self, name, port_of):
        """Replacements in the answers of a server for one user, who must meet links and nothing else.

        All ports have five digits, so lengths stay right.
        """
        if name != "sentinel":
            return None
        return {str(server.port).encode(): str(port_of(host)).encode() for host, server in self.hosts.items()}

    async def master(self):
        _, port = await self.sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        return next(server for server in self.hosts.values() if server.port == int(port))

    def end(self):
        for server in self.all:
            server.end()


def sentinel(directory, master_port):
    own = Redis("sentinel", directory)
    file = directory / "sentinel.conf"
    file.write_text(
        f"port {own.port}\nbind 127.0.0.1\n"
        f"sentinel monitor {MASTER} 127.0.0.1 {master_port} 1\n"
        f"sentinel down-after-milliseconds {MASTER} 1000\n"
        f"sentinel failover-timeout {MASTER} 5000\n"
    )
    own.command = (neighbours.redis(), file, "--sentinel")
    return own
