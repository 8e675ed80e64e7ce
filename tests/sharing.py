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
        # One environment of each engine at a time: each takes more than a gigabyte and both cores while it starts.
        file = item.nodeid.partition("::")[0]
        if item.get_closest_marker("slow"):
            group: str | None = "containers" if file.startswith("tests/stack/") else "environment"
        else:
            group = TOGETHER.get(file)
        if group is not None:
            item.add_marker(pytest.mark.xdist_group(group))
