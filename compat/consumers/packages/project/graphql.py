"""strawberry-graphql: queries, mutations and subscriptions over both of its protocols, and over HTTP."""

import asyncio
from collections.abc import AsyncGenerator

import strawberry
from channels.layers import get_channel_layer
from strawberry.types import Info


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str = "nobody") -> str:
        return f"hello {name}"


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def say(self, room: str, text: str) -> bool:
        await get_channel_layer().group_send(f"graphql_{room}", {"type": "chat.said", "text": text})
        return True


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int) -> AsyncGenerator[int, None]:
        for number in range(to):
            yield number
            await asyncio.sleep(0)

    @strawberry.subscription
    async def said(self, info: Info, room: str) -> AsyncGenerator[str, None]:
        async with info.context["ws"].listen_to_channel("chat.said", groups=[f"graphql_{room}"]) as events:
            yield "joined"
            async for event in events:
                yield event["text"]


schema = strawberry.Schema(query=Query, mutation=Mutation, subscription=Subscription)
