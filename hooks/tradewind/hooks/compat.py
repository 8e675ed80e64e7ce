"""What differs between the Airflow versions we run on (2.10 to 3.3), in one place.

Every other module imports these names from here and never asks for a version.
"""

from __future__ import annotations

from functools import cache
from string import punctuation
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow import __version__ as _version

AIRFLOW_VERSION: tuple[int, ...] = tuple(int(part) for part in _version.split(".")[:2])
AIRFLOW_3 = AIRFLOW_VERSION >= (3, 0)
NAMES_MAPPED_EARLY = AIRFLOW_VERSION >= (3, 3)
"""Whether ``map_index_template`` is rendered before the task is executed too, not only when it ended."""

TRIGGERS_HEAR_KILLS = AIRFLOW_VERSION >= (3, 3)
"""Whether a trigger is told, by ``on_kill``, that a person ended its task."""

if TYPE_CHECKING or AIRFLOW_3:
    from airflow.sdk import (
        Asset,
        BaseOperator,
        BaseOperatorLink,
        BaseSensorOperator,
        Connection,
        Context,
        get_current_context,
    )
    from airflow.sdk.bases.sensor import PokeReturnValue
else:
    from airflow.datasets import Dataset as Asset
    from airflow.models.baseoperator import BaseOperator
    from airflow.models.baseoperatorlink import BaseOperatorLink
    from airflow.models.connection import Connection
    from airflow.operators.python import get_current_context
    from airflow.sensors.base import BaseSensorOperator, PokeReturnValue
    from airflow.utils.context import Context

# Airflow's task SDK got these in 3.1 and 3.2.
if TYPE_CHECKING or AIRFLOW_VERSION >= (3, 1):
    from airflow.sdk import BaseHook
else:
    from airflow.hooks.base import BaseHook


class ConnectionLookup:
    """Looks connections up as this Airflow wants it; stands before Airflow's own base in a hook."""

    if not TYPE_CHECKING and AIRFLOW_VERSION == (3, 0):

        @classmethod
        def get_connection(cls, conn_id):
            """Ask the task SDK within a task: 3.0's own hooks go by the models, and warn of it."""
            import sys

            runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
            if not hasattr(runner, "SUPERVISOR_COMMS"):
                return super().get_connection(conn_id)
            from airflow.sdk.execution_time.secrets_masker import mask_secret

            found = Connection.get(conn_id)
            for secret in filter(None, (found.password, found.extra)):
                mask_secret(secret)
            return found


if not TYPE_CHECKING and AIRFLOW_VERSION == (3, 0):

    class BaseHook(ConnectionLookup, BaseHook):
        """Airflow's, but for the way to a connection."""


if TYPE_CHECKING or AIRFLOW_VERSION >= (3, 2):
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferred,
    )
else:
    from airflow.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferred,
    )

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk.execution_time.callback_runner import create_executable_runner
    from airflow.sdk.execution_time.context import context_get_outlet_events, context_to_airflow_vars

# Few modules use these, and each costs an import.
_LAZY = {
    "context_get_outlet_events": ("airflow.sdk.execution_time.context", "airflow.utils.context"),
    "context_to_airflow_vars": ("airflow.sdk.execution_time.context", "airflow.utils.operator_helpers"),
    "create_executable_runner": (
        "airflow.sdk.execution_time.callback_runner",
        "airflow.utils.operator_helpers:ExecutionCallableRunner",
    ),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, _, other = _LAZY[name][0 if AIRFLOW_3 else 1].partition(":")
    return getattr(import_module(module), other or name)


def asset(uri: str) -> Asset:
    """Name an asset, without what Airflow 2 takes for it: it imports every provider, 0.7 s of CPU for each DAG file.

    :param uri: a normal URI, as ``s3://bucket/key``
    :return: the asset; other letters than ASCII's are percent-encoded where this Airflow refuses them
    """
    if AIRFLOW_3:
        try:
            return Asset(uri)
        except ValueError:  # Airflow 3.0, and every one whose database is MySQL, takes ASCII alone
            return Asset(quote(uri, safe=punctuation + " "))
    made = Asset("unnamed")  # a name without a scheme is not looked up
    object.__setattr__(made, "uri", uri)
    return made


def unpack_context(context: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a context to be unpacked by ``**``: on Airflow 2 its deprecated keys warn only when they are used."""
    if AIRFLOW_3:
        return context
    from airflow.utils import context as module

    lazy: Mapping[str, Any] = vars(module)["lazy_mapping_from_context"](context)
    return lazy


def end_events_are_whole(pushes_xcom: bool) -> bool:
    """Say whether a task that a trigger ends as a success ends as on a worker, as far as this installation goes.

    What differs: no listener (OpenLineage's, say) is told; Airflow 3 encodes the XCom twice, so that a task pulls JSON
    text and not the value; an XCom backend is not asked; and Airflow 2 leaves a row in ``callback_request`` that only a
    standalone DAG processor takes away.

    :param pushes_xcom: whether the task has an XCom
    """
    from importlib import import_module

    from airflow.configuration import conf

    if not AIRFLOW_3 and not conf.getboolean("scheduler", "standalone_dag_processor"):
        return False
    if pushes_xcom and (AIRFLOW_3 or not conf.get("core", "xcom_backend").endswith(".BaseXCom")):
        return False
    module = import_module("airflow.sdk.listener" if AIRFLOW_VERSION >= (3, 2) else "airflow.listeners.listener")
    return not vars(module)["get_listener_manager"]().hook.on_task_instance_success.get_hookimpls()


@cache
def defers_by_default() -> bool:
    """Say whether operators whose work a service does defer: unless somebody has set ``default_deferrable`` to no.

    Airflow's own default for ``[operators] default_deferrable`` is no, which is no reason to hold a slot.
    """
    from warnings import catch_warnings, simplefilter

    from airflow.configuration import conf

    with catch_warnings():
        simplefilter("ignore")  # about options of other sections
        known: Any = conf.as_dict(display_source=True, display_sensitive=True, include_cmds=False, include_secret=False)
    value, source = known["operators"]["default_deferrable"]
    return source == "default" or str(value).lower() == "true"


def task_is_deferred(task: Any) -> bool:
    """Ask Airflow, in a thread of the triggerer, whether a task instance is still deferred.

    :param task: the task instance, as the triggerer gives it to a trigger
    """
    if AIRFLOW_3:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        found = RuntimeTaskInstance.get_task_states(
            dag_id=task.dag_id, task_ids=[task.task_id], run_ids=[task.run_id], map_index=task.map_index
        )
        states = list(found.get(task.run_id, {}).values())
        return bool(states) and str(states[0]) == "deferred"
    return _state_in_database(task) == "deferred"


def _state_in_database(task: Any) -> str | None:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    key = {name: getattr(task, name) for name in ("dag_id", "task_id", "run_id", "map_index")}
    with create_session() as session:
        state: str | None = session.query(TaskInstance.state).filter_by(**key).scalar()
    return state


__all__ = [
    "AIRFLOW_3",
    "AIRFLOW_VERSION",
    "NAMES_MAPPED_EARLY",
    "TRIGGERS_HEAR_KILLS",
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "Asset",
    "BaseHook",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "Connection",
    "Context",
    "PokeReturnValue",
    "TaskDeferred",
    "asset",
    "context_get_outlet_events",
    "context_to_airflow_vars",
    "create_executable_runner",
    "defers_by_default",
    "end_events_are_whole",
    "get_current_context",
    "task_is_deferred",
    "unpack_context",
]
