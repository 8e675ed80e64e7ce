"""Which tests stay together where pytest-xdist shares them out among processes (``pytest -n 3 --dist loadgroup``)."""

from __future__ import annotations

import pytest

TOGETHER = {"tests/proofs/test_proofs.py": "proofs"}
"""Files whose tests share servers that take long to start."""


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        # One environment at a time: each takes more than a gigabyte and both cores while it starts.
        group = "environment" if item.get_closest_marker("slow") else TOGETHER.get(item.nodeid.partition("::")[0])
        if group is not None:
            item.add_marker(pytest.mark.xdist_group(group))
