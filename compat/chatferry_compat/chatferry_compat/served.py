"""What Chatferry serves, as data: tables, JSON fields, paths, frames, and the framework's defaults it reproduces.

Held to the reference service by `tests/test_check.py`: a check of the unchanged reference finds nothing.
"""

from dataclasses import dataclass

#: A name that stands for any id in a path.
SAMPLE_ID = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Column:
    name: str
    field: str
    max_length: int | None = None
    default: object = None
    choices: tuple = ()


@dataclass(frozen=True)
class Table:
    """`unique` is needed to write a row once; `indexes` only for speed, each of them by its first columns."""

    setting: str
    model: str
    columns: tuple
    unique: tuple = ()
    indexes: tuple = ()


CONVERSATION = Table(
    "conversations",
    "Conversation",
    (
        Column("id", "UUIDField"),
        Column("participant1_id", "CharField", 255),
        Column("participant2_id", "CharField", 255),
        Column("created_at", "DateTimeField"),
        Column("updated_at", "DateTimeField"),
        Column("is_active", "BooleanField", default=True),
    ),
    unique=("participant1_id", "participant2_id"),
    indexes=(("participant1_id",), ("participant2_id",), ("created_at",)),
)
MESSAGE = Table(
    "messages",
    "Message",
    (
        Column("id", "UUIDField"),
        Column("sender_id", "CharField", 255),
        Column("content", "TextField"),
        Column("message_type", "CharField", 10, "text", ("text", "image", "file")),
        Column("created_at", "DateTimeField"),
        Column("updated_at", "DateTimeField"),
        Column("is_deleted", "BooleanField", default=False),
        Column("conversation_id", "ForeignKey"),
    ),
    indexes=(("conversation_id", "created_at"), ("sender_id",)),
)
RECEIPT = Table(
    "delivery_receipts",
    "DeliveryReceipt",
    (
        Column("id", "UUIDField"),
        Column("user_id", "CharField", 255),
        Column("status", "CharField", 10, "sent", ("sent", "delivered", "read")),
        Column("timestamp", "DateTimeField"),
        Column("message_id", "ForeignKey"),
    ),
    unique=("message_id", "user_id"),
    indexes=(("user_id",), ("user_id", "status")),
)


@dataclass(frozen=True)
class JsonField:
    """A key of a JSON object: DRF's class, and whether a client may write it."""

    name: str
    field: str
    writable: bool = False


def _id():
    return JsonField("id", "UUIDField")


def _time(name):
    return JsonField(name, "DateTimeField")


MESSAGE_JSON = (
    _id(),
    JsonField("sender_id", "CharField", True),
    JsonField("content", "CharField", True),
    JsonField("message_type", "ChoiceField", True),
    _time("created_at"),
    _time("updated_at"),
    JsonField("is_deleted", "BooleanField", True),
)
#: Conversations and receipts are only ever written out, never read from a client.
CONVERSATION_JSON = (
    _id(),
    JsonField("participant1_id", "CharField", True),
    JsonField("participant2_id", "CharField", True),
    _time("created_at"),
    _time("updated_at"),
    JsonField("is_active", "BooleanField", True),
    JsonField("messages", "ListSerializer"),
    JsonField("last_message", "SerializerMethodField"),
)
RECEIPT_JSON = (
    _id(),
    JsonField("message", "PrimaryKeyRelatedField", True),
    JsonField("user_id", "CharField", True),
    JsonField("status", "ChoiceField", True),
    _time("timestamp"),
)


@dataclass(frozen=True)
class Endpoint:
    """A path below the REST prefix. `name` and `description` are what OPTIONS answers."""

    path: str
    method: str
    name: str
    description: str

    @property
    def sample(self):
        return self.path.replace("<uuid>", SAMPLE_ID).replace("<str>", "someone")


ENDPOINTS = (
    Endpoint("conversations/", "POST", "Create Conversation", "새로운 대화방 생성 (중복 방지 로직 포함)"),
    Endpoint("conversations/<uuid>/", "GET", "Conversation Detail", "특정 대화방 조회 - MSA 외부 제공 API"),
    Endpoint(
        "conversations/<uuid>/messages/",
        "GET",
        "Conversation Messages",
        "대화방의 메시지 목록 조회 (삭제되지 않은 메시지만)",
    ),
    Endpoint("conversations/<uuid>/messages/send/", "POST", "Send Message", "메시지 전송 (이벤트 발행 포함)"),
    Endpoint("users/<str>/conversations/", "GET", "User Conversations", "특정 유저의 모든 대화방 조회"),
    Endpoint("messages/<uuid>/read/", "PUT", "Mark Message As Read", "메시지를 읽음으로 표시 (읽음 확인 시스템)"),
)

#: Frames to the client by their `type`, with their keys in order.
FRAMES = {
    "conversation_history": ("type", "messages"),
    "chat_message": ("type", "message"),
    "message_read": ("type", "message_id", "user_id"),
    "typing_status": ("type", "user_id", "is_typing"),
}
#: Texts of `{"error": …}` frames.
ERROR_TEXTS = ("Invalid JSON format", "sender_id와 content가 필요합니다.")
#: Values of `type` that a client's frames may have.
COMMANDS = ("chat_message", "mark_as_read", "typing")
#: Events of the channel layer by handler name, with the fields each must have.
EVENTS = {
    "chat_message": {"message"},
    "message_read": {"message_id", "user_id"},
    "typing_status": {"user_id", "is_typing"},
}

#: startproject's middleware, with what is missing from answers without it.
MIDDLEWARE = {
    "django.middleware.security.SecurityMiddleware": "X-Content-Type-Options, Referrer-Policy and COOP headers",
    "django.contrib.sessions.middleware.SessionMiddleware": "Cookie in the Vary header",
    "django.middleware.common.CommonMiddleware": "redirects to the path with a slash, and Content-Length",
    "django.middleware.csrf.CsrfViewMiddleware": "",
    "django.contrib.auth.middleware.AuthenticationMiddleware": "",
    "django.contrib.messages.middleware.MessageMiddleware": "",
    "django.middleware.clickjacking.XFrameOptionsMiddleware": "the X-Frame-Options header",
}

#: Django's settings that show in answers, with the only value that is served.
DJANGO_DEFAULTS = {
    "DEBUG": False,
    "APPEND_SLASH": True,
    "PREPEND_WWW": False,
    "X_FRAME_OPTIONS": "DENY",
    "SECURE_SSL_REDIRECT": False,
    "SECURE_HSTS_SECONDS": 0,
    "SECURE_CONTENT_TYPE_NOSNIFF": True,
    "SECURE_REFERRER_POLICY": "same-origin",
    "SECURE_CROSS_ORIGIN_OPENER_POLICY": "same-origin",
    "SESSION_SAVE_EVERY_REQUEST": False,
    "DEFAULT_CHARSET": "utf-8",
    "DISALLOWED_USER_AGENTS": [],
    "DATA_UPLOAD_MAX_MEMORY_SIZE": 2621440,
    "DATA_UPLOAD_MAX_NUMBER_FIELDS": 1000,
    "DATABASE_ROUTERS": [],
}

#: What DRF views of the chat must have, as dotted names without DRF's own package. Throttles are settings (`limits`).
VIEW_DEFAULTS = {
    "renderer_classes": ("renderers.JSONRenderer", "renderers.BrowsableAPIRenderer"),
    "parser_classes": ("parsers.JSONParser", "parsers.FormParser", "parsers.MultiPartParser"),
    "authentication_classes": ("authentication.SessionAuthentication", "authentication.BasicAuthentication"),
    "permission_classes": ("permissions.AllowAny",),
    "content_negotiation_class": "negotiation.DefaultContentNegotiation",
    "metadata_class": "metadata.SimpleMetadata",
    "versioning_class": None,
}
#: And what DRF's settings must have.
DRF_DEFAULTS = {
    "EXCEPTION_HANDLER": "rest_framework.views.exception_handler",
    "VIEW_NAME_FUNCTION": "rest_framework.views.get_view_name",
    "VIEW_DESCRIPTION_FUNCTION": "rest_framework.views.get_view_description",
    "DATETIME_FORMAT": "iso-8601",
    "NON_FIELD_ERRORS_KEY": "non_field_errors",
    "URL_FORMAT_OVERRIDE": "format",
    "UNICODE_JSON": True,
    "COMPACT_JSON": True,
    "STRICT_JSON": True,
}
