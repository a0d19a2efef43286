"""Tasks of Celery run where they are sent, as there is no broker."""

from celery import Celery

celery = Celery("project")
celery.config_from_object("django.conf:settings", namespace="CELERY")
