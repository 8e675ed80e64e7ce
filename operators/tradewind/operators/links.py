"""What a copy shows beside its task in Airflow's UI."""

from __future__ import annotations

import contextlib
from typing import Any

from tradewind.hooks.compat import AIRFLOW_3, BaseOperatorLink
from tradewind.operators.ends import Target

TARGET_LINK = "tradewind_target_link"
"""The XCom that holds the link on Airflow 2, whose webserver knows no rendered templates; Airflow 3 keeps its own."""


class TargetLink(BaseOperatorLink):
    """A link to where a copy wrote: an object in the console of S3. A target without a page of its own has none."""

    name = "Target"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the link, or nothing.

        :param operator: on Airflow 3 the operator that has run, on Airflow 2 what the webserver knows of it
        :param ti_key: whose link is asked for
        """
        if AIRFLOW_3:
            return link_of(operator.target)
        from airflow.models.xcom import XCom

        return XCom.get_value(ti_key=ti_key, key=TARGET_LINK) or ""


def link_of(target: Target) -> str:
    """Return the page of a target, nothing where it has none; never raises, for a link is no reason to fail.

    :param target: the target, rendered
    """
    with contextlib.suppress(Exception):
        return target.link() or ""
    return ""
