"""A query of staged files: the one that looks at numbers before they are loaded."""

from __future__ import annotations

import re
from typing import Any

from tests.snowflake.service import copying
from tests.snowflake.service.external import NAME, OUTSIDE, place, text, whole
from tests.snowflake.service.records import rows_of, table_of

_QUERY = re.compile(
    rf"\s*select\s+(?P<shown>.*)\s+from\s+@(?P<stage>{NAME})/(?P<path>\S*)\s+"
    r"\(file_format\s*=>\s*(?P<format>'(?:[^'\\]|\\.)*')\)\s*group\s+by\s+metadata\$filename\s*;?\s*",
    re.I | re.S,
)


def look(connection: Any, sql: str) -> list[tuple[Any, ...]] | None:
    """Run such a query; None for what is none."""
    found = _QUERY.fullmatch(sql)
    if found is None:
        return None
    stage = OUTSIDE.stages[whole(found["stage"], connection)]
    options = copying.read_options(OUTSIDE.formats[whole(text(found["format"]), connection)])
    shown = re.sub(r"metadata\$filename", "file", found["shown"], flags=re.I)
    shown = re.sub(r"metadata\$file_row_number", "n", shown, flags=re.I)
    shown = re.sub(r"\$(\d+)", r"c\1", shown)
    shown = re.sub(r"\bregexp_like\(", "regexp_full_match(", shown, flags=re.I)
    width = max(map(int, re.findall(r"\$(\d+)", found["shown"])), default=1)
    answer: list[tuple[Any, ...]] = []
    for url in OUTSIDE.list(stage.url + found["path"]):
        name = place(url)[1]
        rows = rows_of(OUTSIDE.read(url), options, [], None, name, None)
        duck = connection._duck_conn.cursor()
        duck.register("_looked", table_of(rows, width))
        quoted = name.replace("'", "''")
        query = f"SELECT {shown} FROM (SELECT '{quoted}' AS file, * FROM _looked) GROUP BY file"
        answer += duck.execute(query).fetchall()
        duck.close()
    return answer
