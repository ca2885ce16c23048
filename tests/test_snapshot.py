"""Claims about snapshots: what is asked for, how often, and which files are refused in one line."""

import gzip
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from planner.collect import collect
from planner.errors import ApiRefused, BadAnswer, Forbidden, InputError, Unreachable
from planner.snapshot import OPTIONAL, RESOURCES, Snapshot, content_path, key, load, local_storages, save, take, write
from tests.rows import DATA, KNOWN, FixedSource, node, snapshot, storage, vm


def source_of(guests: int, nodes: int = 3) -> FixedSource:
    names = [f"pve{index}" for index in range(nodes)]
    rows = [node(name, used=4) for name in names] + [storage("local-lvm", name) for name in names]
    rows += [storage("ceph", name, shared=1) for name in names]
    rows += [vm(100 + index, names[index % nodes], 0.01) for index in range(guests)]
    contents = {content_path(name, "local-lvm"): [] for name in names}
    return FixedSource({RESOURCES: rows, **KNOWN, **contents})


@pytest.mark.parametrize("guests", [10, 1000])
def test_the_number_of_calls_does_not_depend_on_the_number_of_guests(guests: int) -> None:
    source = source_of(guests)
    take(source)
    assert len(source.asked) == 1 + len(OPTIONAL) + len(local_storages(source.get(RESOURCES))) == 13


@pytest.mark.parametrize("guests", [10, 1000])
def test_disks_cost_one_call_more_per_local_storage_of_a_node(guests: int) -> None:
    source = source_of(guests, nodes=5)
    take(source)
    assert len(source.asked) == 10 + 5
    assert content_path("pve3", "local-lvm") in source.asked


def test_only_available_storages_of_one_node_that_hold_guests_are_local() -> None:
    rows = [
        storage("a", "n1"), storage("b", "n1", shared=1), storage("c", "n1", shared="1"),
        storage("d", "n1", content="iso,backup"), storage("e", "n1", status="unknown"),
        storage("f", "n2", content="rootdir"), storage("a", "n1"), storage("g", "n2", content=None),
    ]  # fmt: skip
    assert local_storages(rows) == [("n1", "a"), ("n2", "f")]


@pytest.mark.parametrize(
    "refusal",
    [ApiRefused("no", status=501, reason="x"), ApiRefused("no", status=404, reason="x"), Forbidden("you may not")],
)
def test_an_optional_answer_that_is_refused_is_not_known(refusal: Exception) -> None:
    source = source_of(1)
    source.answers["/cluster/ha/rules"] = refusal
    taken = take(source)
    assert "/cluster/ha/rules" not in taken.answers
    assert "/pools" in taken.answers
    assert [note for note in collect(taken).notes if "HA rules" in note] == [
        "HA rules are not known: Proxmox VE may refuse a migration that breaks one"
    ]


@pytest.mark.parametrize(
    "error", [Forbidden("you may not"), Unreachable("nobody there"), ApiRefused("no", status=500, reason="x")]
)
def test_without_the_resources_there_is_no_snapshot(error: Exception) -> None:
    with pytest.raises(type(error)):
        take(FixedSource({RESOURCES: error}))


@pytest.mark.parametrize("error", [Unreachable("cut off"), BadAnswer("a login page")])
def test_a_lost_optional_answer_is_not_taken_for_a_refused_one(error: Exception) -> None:
    source = source_of(1)
    source.answers["/pools"] = error
    with pytest.raises(type(error)):
        take(source)


def test_a_snapshot_bears_its_time_with_time_zone() -> None:
    now = datetime(2026, 11, 23, 12, 30, 15, 999, tzinfo=UTC)
    assert take(source_of(1), now=now).taken_at == "2026-11-23T12:30:15+00:00"
    assert datetime.fromisoformat(take(source_of(1)).taken_at).tzinfo is not None


def test_the_name_of_an_answer_has_its_query_in_order() -> None:
    assert key("/a", {}) == "/a"
    assert key("/a", {"timeframe": "hour", "cf": "MAX"}) == "/a?cf=MAX&timeframe=hour"


# Files


@pytest.mark.parametrize("name", ["s.json", "s.json.gz"])
def test_a_saved_snapshot_loads_as_it_was(tmp_path: Path, name: str) -> None:
    taken = take(source_of(10))
    save(taken, tmp_path / name)
    back = load(tmp_path / name)
    assert (back.answers, back.taken_at) == (taken.answers, taken.taken_at)
    assert ((tmp_path / name).read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")


def test_compression_is_seen_from_the_content_not_the_name(tmp_path: Path) -> None:
    packed = tmp_path / "s.txt"
    packed.write_bytes((DATA / "instances" / "S-1.json.gz").read_bytes())
    assert len(load(packed).answers[RESOURCES]) == 70


def test_the_same_snapshot_is_saved_as_the_same_bytes(tmp_path: Path) -> None:
    one, other = tmp_path / "1.json.gz", tmp_path / "2.json.gz"
    taken = take(source_of(3))
    save(taken, one)
    save(Snapshot(dict(reversed(taken.answers.items())), taken.taken_at), other)
    assert one.read_bytes() == other.read_bytes()


def test_writing_leaves_nothing_else_behind_and_replaces_what_was_there(tmp_path: Path) -> None:
    save(snapshot(node("a")), tmp_path / "s.json")
    save(snapshot(node("b")), tmp_path / "s.json")
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]
    assert load(tmp_path / "s.json").answers[RESOURCES][0]["node"] == "b"


def test_writing_through_a_link_keeps_the_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "s.json")
    write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "s.json").read_bytes() == b"new"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write(pipe, b"text")
    reader.join(10)
    assert read == [b"text"]
    assert pipe.is_fifo()


@pytest.mark.parametrize("place", ["missing/s.json", "file/s.json", "directory"])
def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "directory").mkdir()
    with pytest.raises(InputError, match=r"^cannot write .*: .+") as caught:
        write(tmp_path / place, b"x")
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["directory", "file"]


GOOD = json.dumps({"format": "proxlb-plan-snapshot/1", "taken_at": "", "answers": {RESOURCES: []}}).encode()
BAD_FILES = {
    "empty": (b"", "not JSON"),
    "html": (b"<!doctype html>\n<html>\n<title>Login</title>", "not JSON"),
    "garbage": (bytes(range(256)), "not JSON"),
    "cut_off": (GOOD[:40], "not JSON"),
    "cut_off_gz": (gzip.compress(GOOD)[:-20], "damaged"),
    "damaged_gz": (gzip.compress(GOOD)[:-8] + b"\0" * 8, "damaged"),
    "gz_of_garbage": (gzip.compress(b"\xff\xfe garbage"), "not JSON"),
    "not_really_gz": (b"\x1f\x8bgarbage", "damaged"),
    "list": (b"[]", "holds list"),
    "number": (b"7", "holds int"),
    "foreign": (b'{"data": []}', "its format is None"),
    "plan": (b'{"format": "proxlb-plan/2"}', "not a snapshot"),
    "later_format": (b'{"format": "proxlb-plan-snapshot/2"}', "not a snapshot"),
    "no_answers": (b'{"format": "proxlb-plan-snapshot/1"}', "no answer for /cluster/resources"),
    "answers_list": (b'{"format": "proxlb-plan-snapshot/1", "answers": []}', "no answer for /cluster/resources"),
    "other_answers": (b'{"format": "proxlb-plan-snapshot/1", "answers": {"/pools": []}}', "no answer for"),
    "nan": (GOOD.replace(b"[]", b"[NaN]"), "NaN is no number"),
    "infinity": (GOOD.replace(b"[]", b"[-Infinity]"), "-Infinity is no number"),
    "deep": (b"[" * 200_000, "not JSON"),
    "long_number": (GOOD.replace(b"[]", b"9" * 5000), "not JSON"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_file_that_is_no_snapshot_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    content, expected = BAD_FILES[kind]
    path = tmp_path / "s.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load(path)
    message = str(caught.value)
    assert expected in message and str(path) in message
    assert "\n" not in message and len(message) < 300 + len(str(path))


def test_a_file_that_is_missing_or_a_directory_is_refused_in_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InputError, match=r"^cannot read snapshot .*: .+"):
            load(path)


@pytest.mark.parametrize("answer", [None, {}, "text", 7, [1], [None], [[]]])
def test_resources_that_are_no_list_of_objects_are_refused(answer: object) -> None:
    with pytest.raises(InputError, match="not a list of objects"):
        collect(Snapshot({RESOURCES: answer}, ""))
