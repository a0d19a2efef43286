"""The arguments that both commands take."""


def add_arguments(parser):
    parser.add_argument("--app", default="chat", help="label of the chat's app [chat]")
    for name in ("conversation", "message", "deliveryreceipt"):
        dest = "receipt_model" if name == "deliveryreceipt" else f"{name}_model"
        parser.add_argument(f"--{name}-model", dest=dest, metavar="MODEL", help="as Room or app.Room [found by shape]")
    parser.add_argument("--database", default="default", metavar="ALIAS", help="entry of DATABASES [default]")
    parser.add_argument("--layer", default="default", metavar="ALIAS", help="entry of CHANNEL_LAYERS [default]")
    parser.add_argument("--url-prefix", metavar="PATH", help="where the REST API is [asked of the resolver]")
    parser.add_argument("--ws-prefix", metavar="PATH", help="where the socket is [read from ASGI_APPLICATION]")
