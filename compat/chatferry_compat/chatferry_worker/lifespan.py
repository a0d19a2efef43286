"""ASGI's lifespan: what an application does before the first request and after the last one."""

import asyncio
import logging

logger = logging.getLogger("chatferry.worker")


class StartupFailed(Exception):
    """The application has said that it cannot start."""


class Lifespan:
    """Applications that know nothing of it, as Django's and Channels', raise or return: they go on without."""

    def __init__(self, application):
        self.application = application
        #: What the application keeps for its requests.
        self.state = {}
        self.task = None
        self.messages = None
        self.answers = None

    async def start(self):
        """Waits until the application has started, or does not know how to."""
        self.messages, self.answers = asyncio.Queue(), asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        self.task = asyncio.get_running_loop().create_task(self._run(scope))
        answer = await self._ask("startup")
        if answer is None:
            self.task = None
        elif answer["type"] == "lifespan.startup.failed":
            raise StartupFailed(answer.get("message") or "it does not say why")

    async def stop(self):
        """Waits until the application has stopped."""
        if self.task is None:
            return
        answer = await self._ask("shutdown")
        if answer is not None and answer["type"] == "lifespan.shutdown.failed":
            logger.error("The application could not shut down: %s", answer.get("message") or "it does not say why")

    async def _ask(self, what):
        self.messages.put_nowait({"type": f"lifespan.{what}"})
        answer = asyncio.ensure_future(self.answers.get())
        await asyncio.wait({answer, self.task}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        return None

    async def _run(self, scope):
        try:
            await self.application(scope, self.messages.get, self._send)
        except Exception as error:
            logger.debug("The application has no lifespan: %r", error)

    async def _send(self, message):
        kind = message["type"]
        if not kind.startswith(("lifespan.startup.", "lifespan.shutdown.")):
            raise ValueError(f"Cannot handle message type {kind}!")
        self.answers.put_nowait(message)
