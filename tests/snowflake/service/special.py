"""SQL that fakesnow does not know: the session's own facts, waiting, cancelling, and the history of queries."""

from __future__ import annotations

import re
from typing import Any

from tests.snowflake.service.journal import TABLE

WAIT = re.compile(r"\s*(?:call|select)\s+system\$wait\s*\(\s*([\d.]+)\s*(?:,\s*'?(\w+)'?\s*)?\)\s*;?\s*", re.I)
CANCEL = re.compile(r"\s*select\s+system\$cancel_query\s*\(\s*'([0-9a-f-]+)'\s*\)\s*;?\s*", re.I)
CANCEL_ALL = re.compile(r"\s*select\s+system\$cancel_all_queries\s*\(\s*(\d+)\s*\)\s*;?\s*", re.I)
SCAN = re.compile(r"\s*select\s+\*\s+from\s+table\s*\(\s*result_scan\s*\(\s*'([0-9a-f-]+)'\s*\)\s*\)\s*;?\s*", re.I)
_SETTING = r"""(\w+)\s*=\s*('(?:[^']|'')*'|"[^"]*"|[\w.]+)\s*"""
SET = re.compile(rf"\s*alter\s+session\s+set\s+((?:{_SETTING},?\s*)+);?\s*", re.I)
UNSET = re.compile(r"\s*alter\s+session\s+unset\s+(\w+)\s*;?\s*", re.I)
USE = re.compile(r'\s*use\s+(warehouse|role|secondary\s+roles)\s+"?(\w+)"?\s*;?\s*', re.I)
SHOW_TRANSACTIONS = re.compile(r"\s*show\s+transactions\s*;?\s*", re.I)
ABORT_TRANSACTION = re.compile(r"\s*select\s+system\$abort_transaction\s*\(\s*(\d+)\s*\)\s*;?\s*", re.I)
CURRENT_TRANSACTION = re.compile(r"\s*select\s+current_transaction\s*\(\s*\)\s*;?\s*", re.I)
DEFINES = re.compile(r"\s*(?:create|drop|alter\s+table)\b", re.I)
_FACTS = {"warehouse": "warehouse", "role": "role", "user": "user", "session": "id", "account": "account"}
_FACT = re.compile(rf"\bcurrent_({'|'.join(_FACTS)})\s*\(\s*\)", re.I)
_HISTORY = re.compile(
    r"\btable\s*\(\s*(?:\"?\w+\"?\s*\.\s*)?information_schema\s*\.\s*query_history(_by_user|_by_session|_by_warehouse)?\s*\(",
    re.I,
)
_UNITS = {"SECONDS": 1.0, "MILLISECONDS": 0.001, "MINUTES": 60.0}


def settings(text: str) -> dict[str, str]:
    """Return what an ALTER SESSION SET sets."""
    return {name.upper(): value.strip("'\"") for name, value in re.findall(_SETTING, text)}


def waiting_seconds(sql: str) -> float | None:
    """Return for how long a statement waits, None for one that does something else."""
    found = WAIT.fullmatch(sql)
    return float(found[1]) * _UNITS[(found[2] or "SECONDS").upper()] if found else None


def with_facts(sql: str, session: Any, account: str) -> str:
    """Write the session's facts in place of ``CURRENT_WAREHOUSE()`` and the like."""

    def fact(found: re.Match[str]) -> str:
        name = found[1].lower()
        value = account if name == "account" else getattr(session, _FACTS[name])
        return "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"

    return _FACT.sub(fact, sql) if "current_" in sql.lower() else sql


def without_schema(sql: str, temporary: set[str]) -> str:
    """Leave out where temporary tables are: DuckDB has a place of its own for them.

    :param temporary: the names of the session's, which grow here
    """
    found = re.match(r'\s*create\s+temporary\s+table\s+(?:"[^"]+"\s*\.\s*)*("[^"]+")', sql, re.I)
    if found:
        temporary.add(found[1])
    for name in temporary:
        if name in sql:
            sql = re.sub(rf'(?:"[^"]+"\.)+{re.escape(name)}', lambda _, name=name: name, sql)  # type: ignore[misc]
    return sql


def with_history(sql: str, session: Any, delay: float) -> str:
    """Write a query of the journal in place of ``TABLE(INFORMATION_SCHEMA.QUERY_HISTORY...(...))``.

    :param delay: seconds after which a statement is seen there
    """
    while found := _HISTORY.search(sql):
        end = _closing(sql, found.end())
        given = _arguments(sql[found.end() : end])
        after = sql.index(")", end + 1) + 1
        wanted = [f"start_time <= CURRENT_TIMESTAMP() - INTERVAL '{delay} seconds'"] if delay else []
        if (found[1] or "").lower() in ("", "_by_user"):
            name = given.get("USER_NAME", f"'{session.user}'")
            wanted += [f"user_name = {name}"] if found[1] else []
        elif found[1].lower() == "_by_session":
            wanted.append(f"session_id = {given.get('SESSION_ID', session.id)}")
        if "END_TIME_RANGE_START" in given:
            wanted.append(f"(end_time IS NULL OR end_time >= {given['END_TIME_RANGE_START']})")
        if "END_TIME_RANGE_END" in given:
            wanted.append(f"end_time < {given['END_TIME_RANGE_END']}")
        limit = int(given.get("RESULT_LIMIT", "100"))
        where = f" WHERE {' AND '.join(wanted)}" if wanted else ""
        rows = f"(SELECT * FROM {TABLE}{where} ORDER BY end_time DESC NULLS FIRST LIMIT {limit})"
        sql = sql[: found.start()] + rows + sql[after:]
    return sql


def _closing(sql: str, at: int) -> int:
    depth = 1
    for place in range(at, len(sql)):
        depth += {"(": 1, ")": -1}.get(sql[place], 0)
        if depth == 0:
            return place
    raise ValueError("no closing parenthesis")


def _arguments(text: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for part in re.split(r",\s*(?=\w+\s*=>)", text.strip()):
        name, arrow, value = part.partition("=>")
        if arrow:
            given[name.strip().upper()] = value.strip()
    return given
