"""The REST paths, below /api/chat/."""

from django.urls import path

from . import views

urlpatterns = [
    path("conversations/", views.create_conversation),
    path("conversations/<uuid:id>/", views.ConversationDetailView.as_view()),
    path("conversations/<uuid:conversation_id>/messages/", views.conversation_messages),
    path("conversations/<uuid:conversation_id>/messages/send/", views.send_message),
    path("users/<str:user_id>/conversations/", views.user_conversations),
    path("messages/<uuid:message_id>/read/", views.mark_message_as_read),
]
