"""Celery's configuration where SQS is the broker: Airflow's own, with MWAA's one queue and our transport."""

from __future__ import annotations

from typing import Any

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG

from tradewind.local.s3 import REGION
from tradewind.local.stack import layout
from tradewind.local.stack.sqs import WAIT

CONFIG: dict[str, Any] = {
    **DEFAULT_CELERY_CONFIG,
    "broker_transport": "tradewind.local.stack.sqs.Transport",
    "broker_transport_options": {
        **DEFAULT_CELERY_CONFIG["broker_transport_options"],
        "predefined_queues": {layout.QUEUE: {"url": layout.queue_url()}},
        "region": REGION,
        "is_secure": False,
        "wait_time_seconds": WAIT,
        # Who sends a task has 15 s for it (celery.operation_timeout); a worker asks again by itself.
        "client-config": {"connect_timeout": 3, "read_timeout": 10, "retries": {"mode": "standard", "max_attempts": 6}},
    },
    "worker_enable_remote_control": False,  # SQS cannot carry it
    "imports": [*DEFAULT_CELERY_CONFIG.get("imports", ()), "tradewind.local.stack.intake"],
}
"""What ``celery.celery_config_options`` names."""
