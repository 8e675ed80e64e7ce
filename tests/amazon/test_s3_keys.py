"""What a sensor's arguments mean, and which are refused when the DAG is parsed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tradewind.amazon.s3.keys import Awaited, parse, regex_prefix
from tradewind.amazon.s3.sensors import S3KeySensor
from tradewind.hooks.compat import AirflowFailException
from tradewind.hooks.errors import InvalidArgument

ODD_KEYS = [
    "dir/wh?t.csv",
    "a#b",
    "a:b/c",
    "with blanks.csv",
    "ünï/çødé ✓.csv",
    "a+b%20c&d=e",
    "[x]{y}.csv",
    "//double//",
]


@pytest.mark.parametrize("key", ODD_KEYS)
def test_a_key_is_taken_as_it_is(key: str) -> None:
    assert parse(f"s3://bucket/{key}") == [Awaited("bucket", key)]
    assert parse(key, "bucket") == [Awaited("bucket", key)]


def test_a_list_keeps_its_order() -> None:
    assert parse(["s3://one/a", "s3://two/b"]) == [Awaited("one", "a"), Awaited("two", "b")]


@pytest.mark.parametrize(
    ("wildcard_match", "kind"),
    [(None, "wildcard"), (True, "wildcard"), (False, "key")],
)
def test_an_asterisk_makes_a_wildcard_unless_told_otherwise(wildcard_match: bool | None, kind: str) -> None:
    [awaited] = parse("s3://bucket/in/*.csv", wildcard_match=wildcard_match)

    assert awaited.kind == kind


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"bucket_key": []}, "empty list"),
        ({"bucket_key": ""}, "names no bucket"),
        ({"bucket_key": "", "bucket_name": "b"}, "has no key"),
        ({"bucket_key": "key"}, "give bucket_name"),
        ({"bucket_key": "http://host/key"}, "names no bucket"),
        ({"bucket_key": "s3://"}, "names no bucket"),
        ({"bucket_key": "s3:///key"}, "names no bucket"),
        ({"bucket_key": "s3://key:secret@b/k"}, "must not hold credentials"),
        ({"bucket_key": "s3://bucket"}, "has no key"),
        ({"bucket_key": "s3://bucket/"}, "has no key"),
        ({"bucket_key": "s3://b/k", "bucket_name": "b"}, "leave bucket_name 'b' out"),
        ({"bucket_key": ["k", "s3://b/k"], "bucket_name": "b"}, "leave bucket_name 'b' out"),
        ({"bucket_key": "s3://b/{{ ds }}", "bucket_name": "b"}, "leave bucket_name 'b' out"),
        ({"bucket_key": "k", "bucket_name": "s3://b"}, "bare name"),
        ({"bucket_key": "k", "bucket_name": "b/dir"}, "bare name"),
        ({"bucket_key": None}, "string or a list"),
        ({"bucket_key": 5}, "string or a list"),
        ({"bucket_key": ["s3://b/k", None]}, "string or a list"),
        ({"bucket_key": "s3://b/*", "wildcard_match": True, "use_regex": True}, "exclude each other"),
        ({"bucket_key": "s3://b/(", "use_regex": True}, "no regular expression"),
        ({"bucket_key": "s3://b/k", "check_fn": "size > 0"}, "check_fn must be a function"),
        ({"bucket_key": "s3://b/k", "metadata_keys": ["Size"]}, "give check_fn too"),
        ({"bucket_key": "s3://b/k", "metadata_keys": [], "check_fn": bool}, "must be a list of names"),
        ({"bucket_key": "s3://b/k", "metadata_keys": "Size", "check_fn": bool}, "must be a list of names"),
        ({"bucket_key": "s3://b/k", "poke_interval": 0}, "poke_interval must be above 0"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_cannot_work_is_refused_when_the_dag_is_parsed(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(words)) as caught:
        S3KeySensor(task_id="wait", **arguments)
    assert isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize(
    "arguments",
    [
        {"bucket_key": "{{ var.value.key }}"},
        {"bucket_key": ["{{ ds }}", "s3://b/k"]},
        {"bucket_key": "s3://{{ params.bucket }}/k"},
        {"bucket_key": "{% if x %}a{% endif %}", "bucket_name": "{{ params.bucket }}"},
        {"bucket_key": "key/{{ ds }}", "bucket_name": "{{ params['a/b'] }}"},
        {"bucket_key": "s3://b/({{ ds }}", "use_regex": True},
    ],
    ids=str,
)
def test_templates_are_left_for_the_run(arguments: dict[str, Any]) -> None:
    S3KeySensor(task_id="wait", **arguments)


def test_what_looks_like_a_template_after_rendering_is_a_key() -> None:
    assert parse("s3://b/{{literally}}") == [Awaited("b", "{{literally}}")]
    assert parse("s3://b/{{literally}}", rendered=False) == []


def test_what_is_templated() -> None:
    assert set(S3KeySensor.template_fields) == {"bucket_key", "bucket_name", "aws_conn_id", "region_name"}


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        (r"in/2026/.*\.csv", "in/2026/"),
        (r"^in/a", "in/a"),
        (r"\Ain/a", "in/a"),
        (r"in/v1\.0/\d+", "in/v1.0/"),
        (r"in/ab*", "in/a"),
        (r"in/ab?", "in/a"),
        (r"in/ab{0,1}", "in/a"),
        (r"in/ab+", "in/ab"),
        (r"in/(a|b)/", "in/"),
        (r"in/[a|b]/", "in/"),
        (r"in/a|out/b", ""),
        (r"(in|out)/", ""),
        (r"(?i)in/", ""),
        (r"in/[\d]|b]", ""),
        (r"in/(?#( )|b", ""),
        (r".*", ""),
        (r"in/\w", "in/"),
        ("in/x$", "in/x"),
    ],
)
def test_the_literal_beginning_of_a_regular_expression(pattern: str, prefix: str) -> None:
    assert regex_prefix(pattern) == prefix


@given(st.text(alphabet="ab|()[]^\\d.*?+{2,}#:$", max_size=10), st.text(alphabet="abd.|()[]", max_size=6))
@example(r"[\d]|b", "b")
@example(r"a(?#()|b", "b")
@example("a{0}b", "b")
def test_no_match_is_ever_outside_of_the_literal_beginning(pattern: str, key: str) -> None:
    import warnings

    try:
        with warnings.catch_warnings(action="ignore"):
            match = re.compile(pattern).match(key)
    except (re.error, OverflowError):
        return
    if match:
        assert key.startswith(regex_prefix(pattern))


@pytest.mark.parametrize(("key", "prefix"), [("in/*.csv", "in/"), ("in/a?b", "in/a"), ("in/[ab]*", "in/"), ("*", "")])
def test_the_literal_beginning_of_a_wildcard(key: str, prefix: str) -> None:
    assert Awaited("b", key, "wildcard").prefix == prefix
