"""The log says why a worker ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from potassium.workers.death import OomKills, WorkerDeaths, describe, hung, unusable

KILLED = -signal.SIGKILL


def status_of(code: str) -> int:
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os; os._exit(3)", "exited with status 3"),
        ("", "exited with status 0"),
        ("import os; os.abort()", "was aborted (SIGABRT)"),
        ("import os; os.kill(os.getpid(), 11)", "had a segmentation fault (SIGSEGV)"),
        ("import os; os.kill(os.getpid(), 7)", "had a bus error (SIGBUS)"),
        ("import os; os.kill(os.getpid(), 4)", "ran an illegal instruction (SIGILL)"),
        ("import os; os.kill(os.getpid(), 8)", "had an arithmetic error (SIGFPE)"),
        ("import os; os.kill(os.getpid(), 31)", "made a system call that is forbidden"),
        ("import os; os.kill(os.getpid(), 24)", "used up its processor time"),
        ("import os; os.kill(os.getpid(), 15)", "was killed by signal 15 (SIGTERM)"),
        ("import os; os.kill(os.getpid(), 40)", "was killed by signal 40"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by signal 9 (SIGKILL)"),
    ],
)
def test_each_end_of_a_process_has_its_words(code: str, expected: str) -> None:
    """Real processes end in each of these ways."""
    assert describe(status_of(code)).what.startswith(expected)


def test_a_worker_killed_for_memory_is_named_so() -> None:
    """The kernel has counted a process that it killed, and nobody else has sent the signal."""
    text = describe(KILLED, oom_kills_before=4, oom_kills_after=5).what
    assert text.startswith("was killed by the kernel (SIGKILL), as memory ran out")


def test_a_worker_killed_by_somebody_is_not_said_to_be_out_of_memory() -> None:
    """The kernel has counted none."""
    text = describe(KILLED, oom_kills_before=4, oom_kills_after=4).what
    assert text.endswith("neither by this server nor by the kernel for want of memory")


@pytest.mark.parametrize(("before", "after"), [(None, 1), (1, None), (None, None)])
def test_where_the_kernel_does_not_count_the_log_says_where_to_look(
    before: int | None, after: int | None
) -> None:
    """Either may have been."""
    text = describe(KILLED, oom_kills_before=before, oom_kills_after=after).what
    assert "`dmesg`" in text


def test_what_the_server_did_itself_is_said_as_that() -> None:
    """Even if the kernel has killed others for memory meanwhile."""
    text = describe(KILLED, sent_by_us=True, oom_kills_before=4, oom_kills_after=5).what
    assert text == "was killed by this server (SIGKILL)"


def test_a_hang_names_the_handler() -> None:
    """And for how long it has not returned."""
    assert hung("/train", 300.0).what == "hangs: /train has not returned for 300 s; it is killed"


class Broken(RuntimeError):
    def __str__(self) -> str:
        raise ValueError("none")


def test_a_lost_accelerator_names_the_error() -> None:
    """Its first line, as torch adds several of advice."""
    error = RuntimeError("CUDA error: device-side assert triggered\nCompile with ...")
    text = "can no longer use its accelerator: "
    assert unusable(error).what == text + "CUDA error: device-side assert triggered"
    assert unusable(RuntimeError()).what == text + "RuntimeError"
    assert unusable(Broken()).what == text + "Broken"


EVENTS = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            {
                "proc/self/cgroup": "0::/system.slice/app.service\n",
                "sys/fs/cgroup/system.slice/app.service/memory.events": EVENTS,
                "proc/vmstat": "nr_free_pages 1\noom_kill 99\n",
            },
            2,
            id="version 2",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.events": EVENTS},
            2,
            id="a container, version 2",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/docker/abc\n0::/\n",
                "sys/fs/cgroup/memory/memory.oom_control": CONTROL,
                "proc/vmstat": "oom_kill 99\n",
            },
            7,
            id="a container, version 1",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "4:memory:/a/b\n",
                "sys/fs/cgroup/memory/a/b/memory.oom_control": CONTROL,
            },
            7,
            id="version 1",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "4:memory:/a\n",
                "sys/fs/cgroup/memory/a/memory.oom_control": "under_oom 0\n",
                "proc/vmstat": "nr_free_pages 1\noom_kill 99\n",
            },
            99,
            id="an old kernel counts for the machine alone",
        ),
        pytest.param({"proc/vmstat": "oom_kill 99\n"}, 99, id="no control groups"),
        pytest.param(
            {"proc/self/cgroup": "odd", "proc/vmstat": "oom_kill many\n"}, None, id="nonsense"
        ),
        pytest.param({}, None, id="no Linux"),
    ],
)
def test_the_kernels_count_is_read_wherever_it_is(
    tmp_path: Path, files: dict[str, str], expected: int | None
) -> None:
    """That of the control group first, as that of the machine may be about others."""
    assert OomKills(machine(tmp_path, files))() == expected


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts")
def test_this_machines_count_can_be_read() -> None:
    """Whatever it is."""
    count = OomKills()()
    assert count is None or count >= 0
    assert count is not None or not os.access("/proc/vmstat", os.R_OK)


def test_two_workers_killed_for_memory_at_one_moment_are_both_named_so() -> None:
    """And whoever is killed later by somebody is not."""
    counts = iter([4, 6, 6, 6])
    deaths = WorkerDeaths(lambda: next(counts))
    told = [deaths.describe(KILLED).what for _ in range(3)]
    assert ["as memory ran out" in text for text in told] == [True, True, False]


def test_a_worker_killed_by_somebody_is_not_taken_for_a_later_one() -> None:
    """The next one that the kernel kills is named so."""
    counts = iter([4, 4, 5])
    deaths = WorkerDeaths(lambda: next(counts))
    told = [deaths.describe(KILLED).what for _ in range(2)]
    assert ["as memory ran out" in text for text in told] == [False, True]


def test_other_deaths_are_not_taken_for_those_by_the_kernel() -> None:
    """A crash, or a worker that the server kills, leaves the count to whom it belongs."""
    counts = iter([4, 5])
    deaths = WorkerDeaths(lambda: next(counts))
    assert "SIGSEGV" in deaths.describe(-signal.SIGSEGV).what
    assert "by this server" in deaths.describe(KILLED, sent_by_us=True).what
    assert "as memory ran out" in deaths.describe(KILLED).what


def test_a_count_that_cannot_be_read_is_no_count() -> None:
    """Nor is the difference to one that could."""
    counts = iter([None, 5, None])
    deaths = WorkerDeaths(lambda: next(counts))
    assert "`dmesg`" in deaths.describe(KILLED).what
    assert "`dmesg`" in deaths.describe(KILLED).what
