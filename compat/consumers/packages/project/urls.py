"""Views that reach sockets from elsewhere."""

from django.contrib.auth import get_user_model
from django.http import HttpResponse
from django.urls import include, path
from django_private_chat2 import urls as private_chat
from openwisp_notifications.signals import notify

from .live import Counter


def notify_user(request, name):
    user = get_user_model().objects.get(username=name)
    notify.send(sender=user, recipient=user, type="generic_message", message=request.GET["text"])
    return HttpResponse("notified")


urlpatterns = [
    path("notify/<str:name>/", notify_user),
    path("live/", Counter.as_view()),
    path("chat/", include(private_chat)),
    path("", include("openwisp_notifications.urls")),
]
