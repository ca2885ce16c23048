"""Claims about task logs: what they say of bytes, speed, downtime and errors is read, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from planner import tasklog
from planner.tasklog import Copied, Progress

RECORDED = Path(__file__).parent / "data" / "pve9-recorded"
LIVE = """\
2026-11-03 09:15:02 starting migration of VM 117 to node 'gamma' (192.0.2.13)
2026-11-03 09:15:04 start remote tunnel
2026-11-03 09:15:06 starting online/live migration on unix:/run/qemu-server/117.migrate
2026-11-03 09:15:06 set migration capabilities
2026-11-03 09:15:06 start migrate command to unix:/run/qemu-server/117.migrate
2026-11-03 09:15:07 migration active, transferred 311.5 MiB of 6.0 GiB VM-state, 322.0 MiB/s
2026-11-03 09:15:11 migration active, transferred 1.5 GiB of 6.0 GiB VM-state, 301.2 MiB/s
2026-11-03 09:15:16 migration active, transferred 3.0 GiB of 6.0 GiB VM-state, 99.5 MiB/s, VM dirties lots of memory: 120.4 MiB/s
2026-11-03 09:15:16 xbzrle: send updates to 1234 pages in 2.5 MiB encoded memory, cache-miss 61.00%, overflow 7
2026-11-03 09:15:17 auto-increased downtime to continue migration: 200 ms
""".splitlines()  # noqa: E501
LIVE_END = """\
2026-11-03 09:15:18 average migration speed: 512.0 MiB/s - downtime 87 ms
2026-11-03 09:15:18 migration status: completed
2026-11-03 09:15:21 migration finished successfully (duration 00:00:19)
TASK OK
""".splitlines()
VOLUMES = """\
1073741824 bytes (1.1 GB, 1.0 GiB) copied, 5 s, 215 MB/s
2147483648 bytes (2.1 GB, 2.0 GiB) copied, 10.5 s, 205 MB/s
32768+0 records in
536870912 bytes (537 MB, 512 MiB) copied, 2.5 s, 215 MB/s
""".splitlines()

SENT = """\
2026-11-03 23:59:50 shutdown CT 201
2026-11-03 23:59:53 starting migration of CT 201 to node 'gamma' (192.0.2.13)
2026-11-03 23:59:53 found local volume 'tank:subvol-201-disk-0' (in current VM config)
2026-11-03 23:59:53 found local volume 'tank:subvol-201-disk-1' (in current VM config)
2026-11-03 23:59:55 full send of rpool/data/subvol-201-disk-0@before estimated size is 1.50G
2026-11-03 23:59:55 send from @before to rpool/data/subvol-201-disk-0@__migration__ estimated size is 512M
2026-11-03 23:59:55 total estimated size is 2.00G
2026-11-03 23:59:56 TIME        SENT   SNAPSHOT rpool/data/subvol-201-disk-0@before
2026-11-03 23:59:56 23:59:56    100M   rpool/data/subvol-201-disk-0@before
2026-11-03 23:59:57 23:59:57    220M   rpool/data/subvol-201-disk-0@before
2026-11-04 00:00:09 00:00:09   1.50G   rpool/data/subvol-201-disk-0@before
2026-11-04 00:00:10 TIME        SENT   SNAPSHOT rpool/data/subvol-201-disk-0@__migration__
2026-11-04 00:00:10 00:00:10   64.0M   rpool/data/subvol-201-disk-0@__migration__
2026-11-04 00:00:12 00:00:12    500M   rpool/data/subvol-201-disk-0@__migration__
2026-11-04 00:00:14 full send of rpool/data/subvol-201-disk-1@__migration__ estimated size is 20.6K
2026-11-04 00:00:14 total estimated size is 20.6K
2026-11-04 00:00:15 start container on target node
2026-11-04 00:00:17 migration finished successfully (duration 00:00:27)
""".splitlines()
"""A container on ZFS, at midnight: a volume with a snapshot, and one that is sent within a second."""


def disks(name: str) -> list[str]:
    """A machine with two local disks, one after the other, as each release names their jobs."""
    return f"""\
2026-11-03 10:00:00 starting migration of VM 118 to node 'gamma' (192.0.2.13)
2026-11-03 10:00:01 found local disk 'fast:vm-118-disk-0' (attached)
2026-11-03 10:00:03 starting storage migration
2026-11-03 10:00:03 scsi0: start migration to nbd:unix:/run/qemu-server/118_nbd.migrate:exportname=drive-scsi0
{name}-scsi0: transferred 0.0 B of 8.0 GiB (0.00%) in 0s
{name}-scsi0: transferred 200.0 MiB of 8.0 GiB (2.44%) in 1s
{name}-scsi0: transferred 8.0 GiB of 8.0 GiB (100.00%) in 1m 20s, ready
all 'mirror' jobs are ready
{name}-efidisk0: transferred 0.0 B of 528.0 KiB (0.00%) in 0s
{name}-efidisk0: transferred 528.0 KiB of 528.0 KiB (100.00%) in 1s, ready
{name}-virtio1: transferred 1.0 GiB of 1.5 TiB (0.07%) in 10s
{name}-virtio1: transferred 2.0 GiB of 1.5 TiB (0.13%) in 20s
""".splitlines()


READY = [*disks("drive")[:7], "drive-scsi0: transferred 8.1 GiB of 8.1 GiB (100.00%) in 5m 1s, ready"]


def recorded(name: str) -> list[str]:
    answer: Any = json.loads((RECORDED / f"{name}.json").read_text())
    return tasklog.texts(answer["body"]["data"])


def test_memory_tells_how_far_it_is_and_how_fast() -> None:
    assert tasklog.progress(LIVE[:6]) == Progress(311.5, 6144, 322.0)
    assert tasklog.progress(LIVE) == Progress(3072, 6144, 99.5)


@pytest.mark.parametrize("name", ["drive", "mirror"])
def test_disks_are_added_up_under_both_names(name: str) -> None:
    lines = disks(name)
    small = 528 / 1024
    assert tasklog.progress(lines[:6]) == Progress(200, 8192, 200)
    assert tasklog.progress(lines) == Progress(8192 + small + 2048, 8192 + small + 1.5 * 2**20, 102.4)


def test_memory_is_added_to_the_disks_that_were_copied_before() -> None:
    assert tasklog.progress(disks("mirror")[:7] + LIVE) == Progress(8192 + 3072, 8192 + 6144, 99.5)


def test_at_its_end_all_is_done_although_unused_memory_was_never_sent() -> None:
    assert tasklog.progress(LIVE + LIVE_END) == Progress(6144, 6144, None)


def test_a_migration_that_was_aborted_is_no_further_than_it_was() -> None:
    aborted = "2026-11-03 09:15:18 ERROR: migration aborted (duration 00:00:16): socket closed"
    assert tasklog.progress([*LIVE, aborted]) == tasklog.progress(LIVE)


def test_more_than_all_is_never_done() -> None:
    line = "2026-11-03 09:15:16 migration active, transferred 7.5 GiB of 6.0 GiB VM-state, 99.5 MiB/s"
    assert tasklog.progress([line]) == Progress(6144, 6144, 99.5)


@pytest.mark.parametrize("lines", [[], LIVE[:5], recorded("task_log_ha"), recorded("task_log_pci"), ["transferred of"]])
def test_where_nothing_is_said_nothing_is_known(lines: list[str]) -> None:
    assert tasklog.progress(lines) is None


def test_the_older_wording_means_nothing() -> None:
    lines = ["Nov 03 09:15:16 migration status: active (transferred 512, remaining 99, total 1024)",
             "Nov 03 09:15:16 migration xbzrle cachesize: 64 transferred 0 pages 0 cachemiss 0 overflow 0"]  # fmt: skip
    assert tasklog.progress(lines) is None
    assert tasklog.summary(lines) == tasklog.Summary()


def test_a_summary_tells_what_the_network_carried_and_how_long_the_machine_was_halted() -> None:
    told = tasklog.summary(LIVE + LIVE_END)
    assert (told.seconds, told.downtime_s, told.average_mib_s) == (19, 0.087, 512)
    assert told.memory == Copied(3072, 10) and told.disks == Copied()
    assert (told.mib, told.mib_per_second) == (3072, pytest.approx(307.2))


def test_a_summary_adds_up_disks_one_after_the_other() -> None:
    told = tasklog.summary(disks("drive"))
    assert told.disks == Copied(8192 + 528 / 1024 + 2048, 80 + 1 + 20)
    assert told.seconds is None and told.downtime_s is None


def test_a_disk_that_is_ready_is_not_counted_on() -> None:
    assert tasklog.summary(READY).disks == Copied(8192, 80)


def test_volumes_of_a_stopped_guest_count_with_what_dd_says() -> None:
    assert tasklog.summary(VOLUMES).disks == Copied(2560, 13)


def test_recorded_logs_are_understood() -> None:
    live = tasklog.summary(recorded("task_log_live"))
    assert (live.seconds, live.average_mib_s, live.downtime_s, live.mib) == (1, 1024, 0.04, 0)
    assert tasklog.summary(recorded("task_log_stopped")).seconds == 0
    assert tasklog.summary(recorded("task_log_ha")) == tasklog.Summary()


def test_what_zfs_sends_is_added_up_snapshot_by_snapshot() -> None:
    told = tasklog.summary(SENT)
    assert told.disks == Copied(1536 + 500, 17) and (told.seconds, told.restarted, told.silent) == (27, True, False)
    assert tasklog.progress(SENT[:8]) == Progress(0, 2048, None)
    assert tasklog.progress(SENT[:10]) == Progress(220, 2048, 110)
    assert tasklog.progress(SENT[:14]) == Progress(2036, 2048, pytest.approx((2036 - 220) / 15))
    bare = [tasklog.TIME.sub("", line).strip() for line in SENT]  # as older releases write them
    assert tasklog.summary(bare).disks == told.disks


@pytest.mark.parametrize("copied", [[], VOLUMES[:1], VOLUMES])
def test_volumes_of_which_nothing_is_said_are_noticed(copied: list[str]) -> None:
    found = [line for line in SENT if "found local volume" in line]
    assert tasklog.summary([*found, *copied]).silent == (copied != VOLUMES)


def test_errors_say_why_without_time_and_without_saying_it_twice() -> None:
    assert tasklog.errors(recorded("task_log_pci")) == (
        "ERROR: migration aborted (duration 00:00:00): can't migrate VM which uses local devices: hostpci0",
    )
    first, *others = tasklog.errors(recorded("task_log_localdisk"))
    assert first.startswith("can't migrate local disk 'local-lvm:vm-101-disk-0': ")
    assert len(others) == 2 and all(line.startswith("ERROR: ") for line in others)
    assert tasklog.errors(["TASK ERROR: migration problems"]) == ("TASK ERROR: migration problems",)
    assert tasklog.errors(LIVE + LIVE_END) == ()


@pytest.mark.parametrize(
    "lines", [LIVE + LIVE_END, disks("drive"), disks("mirror") + LIVE + LIVE_END, VOLUMES, READY, SENT]
)
def test_the_essence_of_a_log_says_the_same_in_few_lines(lines: list[str]) -> None:
    few = tasklog.essence(lines)
    assert set(few) < set(lines) and tasklog.summary(few) == tasklog.summary(lines)


@pytest.mark.parametrize("lines", [LIVE + LIVE_END + disks("mirror"), SENT])
def test_figures_name_nothing(lines: list[str]) -> None:
    shown = [figure for line in lines if (figure := tasklog.figures(line))]
    assert tasklog.summary(shown) == tasklog.summary(lines) == tasklog.summary(tasklog.essence(shown))
    hidden = ("117", "118", "201-", "gamma", "192", "fast", "unix", "tank", "rpool", "@")
    assert not any(name in line for line in shown for name in hidden)


@pytest.mark.parametrize("answer", [None, {}, "text", [None, 1, {"n": 1}, {"t": None}]])
def test_what_is_no_log_has_no_lines(answer: Any) -> None:
    assert tasklog.texts(answer) == []


def test_no_line_breaks_it() -> None:
    odd = ["9999-99-99 99:99:99 start migrate command", "drive-x1: transferred 1 B",
           "2026-13-45 00:00:00 migration active, transferred 1 XiB of 2 B VM-state",
           "2026-11-03 00:00:00 migration active, transferred 1.0 GB of 2.0 GiB VM-state"]  # fmt: skip
    tasklog.summary(odd)
    tasklog.progress(odd)
    assert tasklog.errors(odd) == ()
