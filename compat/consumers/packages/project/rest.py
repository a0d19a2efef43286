"""djangochannelsrestframework: actions on rows, their observers, and a view of REST framework on a socket."""

import asyncio

from django.contrib.auth import get_user_model
from djangochannelsrestframework import permissions
from djangochannelsrestframework.consumers import view_as_consumer
from djangochannelsrestframework.decorators import action
from djangochannelsrestframework.generics import GenericAsyncAPIConsumer
from djangochannelsrestframework.mixins import (
    CreateModelMixin,
    DeleteModelMixin,
    ListModelMixin,
    PatchModelMixin,
)
from djangochannelsrestframework.observer import model_observer
from djangochannelsrestframework.observer.generics import ObserverModelInstanceMixin
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.response import Response

from .models import Note


class NoteSerializer(serializers.ModelSerializer):
    class Meta:
        model = Note
        fields = ["id", "title", "done"]


class NoteConsumer(
    ListModelMixin,
    CreateModelMixin,
    PatchModelMixin,
    DeleteModelMixin,
    ObserverModelInstanceMixin,
    GenericAsyncAPIConsumer,
):
    queryset = Note.objects.all()
    serializer_class = NoteSerializer

    @model_observer(Note)
    async def note_change(self, message, observer=None, subscribing_request_ids=(), **kwargs):
        await self.send_json({"message": message, "for": sorted(subscribing_request_ids)})

    @note_change.serializer
    def note_change(self, instance, action, **kwargs):
        return {"id": instance.pk, "title": instance.title, "action": action.value}

    @action()
    async def subscribe_to_notes(self, request_id, **kwargs):
        await self.note_change.subscribe(request_id=request_id)
        return {}, 201

    @action()
    async def unsubscribe_from_notes(self, request_id, **kwargs):
        await self.note_change.unsubscribe(request_id=request_id)
        return {}, 204

    @action()
    def count(self, **kwargs):
        return {"count": Note.objects.count()}, 200

    @action(detached=True)
    async def later(self, text, **kwargs):
        # Goes on after the call that has begun it.
        await asyncio.sleep(0.3)
        return {"later": text}, 200

    @action()
    async def fail(self, **kwargs):
        raise ValueError("as asked")


class PrivateConsumer(GenericAsyncAPIConsumer):
    queryset = get_user_model().objects.all()
    permission_classes = [permissions.IsAuthenticated]

    @action()
    async def who(self, **kwargs):
        return {"name": self.scope["user"].username}, 200


@api_view(["GET", "PATCH"])
def plain(request, **kwargs):
    return Response({"method": request.method, "query": dict(request.query_params), "kwargs": kwargs})


PlainConsumer = view_as_consumer(plain)
