"""The user's requirements.txt, line by line: what is named, and what MWAA could not reach."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlparse

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tradewind.local.errors import InvalidInput

FOLDERS = {"/usr/local/airflow/plugins": "plugins", "/usr/local/airflow/dags": "dags"}
"""MWAA's folders by what they are in a project."""

COMMENT = re.compile(r"(^|\s+)#.*$")
OPTION = re.compile(r"(-[a-zA-Z]|--[a-z-]+)[\s=]*(.*)$")
NESTED = {"-r", "--requirement"}
CONSTRAINT = {"-c", "--constraint"}
EDITABLE = {"-e", "--editable"}
INDEX = {
    *("-i", "--index-url", "--extra-index-url", "--trusted-host", "-f", "--find-links"),
    *("--no-index", "--pre", "--prefer-binary"),
}
"""Options that say where packages come from: they go along, unless the packages do."""


@dataclass
class Wanted:
    """What a requirements file asks for.

    :param named: requirements that an index answers, or an address that MWAA reaches
    :param local: folders, sdists and wheels of this machine by their paths, and addresses of version control, each
        with its extras as ``[a,b]`` or nothing
    :param options: options about indexes, as they were written
    :param constraints: constraint files the user gives in place of Airflow's, as they were written
    """

    named: list[Requirement] = field(default_factory=list)
    local: list[tuple[str, str]] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)


def read(path: Path, folders: dict[str, Path]) -> Wanted:
    """Read a requirements file and those it names.

    :param path: the file; nothing is wanted where there is none
    :param folders: where ``plugins`` and ``dags`` are on this machine
    :raises InvalidInput: for a line that nobody can install, with its number
    """
    wanted = Wanted()
    if path.is_file():
        _read(path, folders, wanted, ())
    return wanted


def local_path(text: str, folders: dict[str, Path]) -> str:
    """Return the text with MWAA's folders replaced by those of this machine."""
    for there, name in FOLDERS.items():
        if name in folders:
            text = text.replace(there, str(folders[name]))
    return text


def _read(path: Path, folders: dict[str, Path], wanted: Wanted, above: tuple[Path, ...]) -> None:
    if path in above:
        raise InvalidInput(f"{path} names itself by -r")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 at byte {error.start}: pip could not read it") from error
    for number, line in _lines(text):
        where = f"{path.name}, line {number}"
        option = OPTION.match(line) if line.startswith("-") else None
        if option is None:
            _requirement(line, where, path.parent, folders, wanted)
            continue
        name, value = option[1], option[2].strip()
        if name in NESTED:
            nested = path.parent / local_path(value, folders)
            if not nested.is_file():
                raise InvalidInput(f"{where}: there is no file {nested}")
            _read(nested.resolve(), folders, wanted, (*above, path))
        elif name in CONSTRAINT:
            _check_constraint(value, where, folders)
            wanted.constraints.append(value)
        elif name in EDITABLE:
            _local(value, where, path.parent, folders, wanted)
        elif name in INDEX:
            wanted.options.append(line)
        else:
            raise InvalidInput(f"{where}: {name} is no option that can be packed: leave it out")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that say something, with their numbers; a backslash joins two."""
    joined, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        first = first or number
        if raw.rstrip().endswith("\\"):
            joined += raw.rstrip()[:-1]
            continue
        line = COMMENT.sub("", joined + raw).strip()
        # Hashes are of the files that were chosen before; the packed file is made anew.
        line = re.sub(r"\s--hash[= ]\S+", "", line)
        if line:
            yield first, line
        joined, first = "", 0


def _requirement(line: str, where: str, folder: Path, folders: dict[str, Path], wanted: Wanted) -> None:
    if re.match(r"(\.{0,2}/|file:)", line) or re.search(r"\.(whl|tar\.gz|zip)(\[[^\]]*\])?$", line.split("@")[0]):
        _local(line, where, folder, folders, wanted)
        return
    try:
        found = Requirement(line)
    except InvalidRequirement as error:
        raise InvalidInput(f"{where}: {line!r} is no requirement: {str(error).splitlines()[0]}") from error
    if canonicalize_name(found.name) == "apache-airflow":
        raise InvalidInput(f"{where}: MWAA's Airflow is what the environment was made with: leave apache-airflow out")
    if found.url is None or found.url.startswith(("http://", "https://")):
        wanted.named.append(found)
        return
    extras = f"[{','.join(sorted(found.extras))}]" if found.extras else ""
    _local(found.url + extras, where, folder, folders, wanted)


def _local(text: str, where: str, folder: Path, folders: dict[str, Path], wanted: Wanted) -> None:
    parts = re.match(r"(.*?)(\[[\w\s,.-]*\])?$", text)
    assert parts is not None  # noqa: S101 (it matches everything)
    source, extras = parts[1], parts[2] or ""
    if re.match(r"(git|hg|svn|bzr)\+", source):
        wanted.local.append((source, extras))
        return
    path = Path(unquote(urlparse(source).path)) if source.startswith("file:") else Path(local_path(source, folders))
    path = folder / path
    if not path.exists():
        raise InvalidInput(f"{where}: there is no {path}")
    wanted.local.append((str(path.resolve()), extras))


def _check_constraint(value: str, where: str, folders: dict[str, Path]) -> None:
    if value.startswith(("http://", "https://")):
        return
    if not value.startswith(tuple(FOLDERS)):
        raise InvalidInput(
            f"{where}: MWAA does not find the constraints {value}: put the file into dags/ and name it as "
            "/usr/local/airflow/dags/..."
        )
    if not Path(local_path(value, folders)).is_file():
        raise InvalidInput(f"{where}: there is no {local_path(value, folders)}, which is {value} on MWAA")
