"""The six REST endpoints. Docstrings are the descriptions that OPTIONS answers."""

from django.db.models import Q
from django.shortcuts import get_object_or_404
from rest_framework import status
from rest_framework.decorators import api_view
from rest_framework.generics import RetrieveAPIView
from rest_framework.response import Response

from .events import publish_message_created
from .models import Conversation, DeliveryReceipt, Message
from .serializers import ConversationSerializer, DeliveryReceiptSerializer, MessageSerializer


@api_view(["POST"])
def create_conversation(request):
    """새로운 대화방 생성 (중복 방지 로직 포함)"""
    first = request.data.get("participant1_id")
    second = request.data.get("participant2_id")
    if not first or not second:
        error = {"error": "participant1_id와 participant2_id가 필요합니다."}
        return Response(error, status=status.HTTP_400_BAD_REQUEST)
    found = Conversation.objects.filter(
        Q(participant1_id=first, participant2_id=second) | Q(participant1_id=second, participant2_id=first)
    ).first()
    if found:
        return Response(ConversationSerializer(found).data)
    created = Conversation.objects.create(participant1_id=first, participant2_id=second)
    return Response(ConversationSerializer(created).data, status=status.HTTP_201_CREATED)


class ConversationDetailView(RetrieveAPIView):
    """특정 대화방 조회 - MSA 외부 제공 API"""

    queryset = Conversation.objects.all()
    serializer_class = ConversationSerializer
    lookup_field = "id"


@api_view(["GET"])
def user_conversations(request, user_id):
    """특정 유저의 모든 대화방 조회"""
    conversations = Conversation.objects.filter(
        Q(participant1_id=user_id) | Q(participant2_id=user_id), is_active=True
    ).order_by("-updated_at")
    return Response(ConversationSerializer(conversations, many=True).data)


@api_view(["GET"])
def conversation_messages(request, conversation_id):
    """대화방의 메시지 목록 조회 (삭제되지 않은 메시지만)"""
    conversation = get_object_or_404(Conversation, id=conversation_id)
    messages = conversation.messages.filter(is_deleted=False).order_by("created_at")
    return Response(MessageSerializer(messages, many=True).data)


@api_view(["POST"])
def send_message(request, conversation_id):
    """메시지 전송 (이벤트 발행 포함)"""
    conversation = get_object_or_404(Conversation, id=conversation_id)
    data = request.data.copy()
    data["conversation"] = conversation.id
    serializer = MessageSerializer(data=data)
    if not serializer.is_valid():
        return Response(serializer.errors, status=status.HTTP_400_BAD_REQUEST)
    message = serializer.save(conversation=conversation)
    publish_message_created(message)
    return Response(serializer.data, status=status.HTTP_201_CREATED)


@api_view(["PUT"])
def mark_message_as_read(request, message_id):
    """메시지를 읽음으로 표시 (읽음 확인 시스템)"""
    message = get_object_or_404(Message, id=message_id)
    user_id = request.data.get("user_id")
    if not user_id:
        return Response({"error": "user_id가 필요합니다."}, status=status.HTTP_400_BAD_REQUEST)
    receipt, _ = DeliveryReceipt.objects.update_or_create(message=message, user_id=user_id, defaults={"status": "read"})
    return Response(DeliveryReceiptSerializer(receipt).data)
