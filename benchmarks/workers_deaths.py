"""What workers.py prints of workers that are killed."""

import statistics
from collections import Counter
from functools import partial

import cores
import variants
from report import milliseconds, p99, row, table
from variants import LITSERVE, MOSEC, WORKERS
from workers_killed import BOUND, INIT, NAP, NOTHING, RATE, Death, under_load, until_it_serves
from workers_plan import Plan
from workers_report import judged

HEARS = 0.05  # seconds until the caller hears, at most
SLOWER = 2.0  # times the p99 of all others, at most


def deaths(plan: Plan) -> None:
    """Print what callers get when a worker is killed, and when the next one serves."""
    ours, _, *peers = plan.variants(MOSEC, LITSERVE)
    some = {variant.name: variant for variant in (ours, *peers)}
    free = cores.twice()
    in_calls = variants.in_turns(some, plan.rounds, partial(under_load, in_a_call=True))
    idle = variants.in_turns(some, plan.rounds, partial(under_load, in_a_call=False))
    again = variants.in_turns(some, plan.rounds, until_it_serves)
    free = min(free, cores.twice())
    table("killed in a call", "its caller gets", "after, median", "at most", "aim", "")
    for name, killed in in_calls.items():
        _callers(name, killed, free)
    table(
        f"{RATE} calls/s of {milliseconds(NAP)}", "p99 before the kill", "after", "after / before",
        "aim", "", "failed after",
    )  # fmt: skip
    for when, seen in ("in a call", in_calls), ("idle", idle):
        for name, killed in seen.items():
            _others(name, f"{name}, killed {when}", killed, free)
    table("from the kill until a new worker answers", "median", "at most", "median / init's time")
    for name, times in again.items():
        _new_workers(name, times)
    print(
        f"\ninit takes {INIT} s. Callers wait for {BOUND:.0f} s; nothing is also a connection that "
        f"closes. Two busy processes did {free:.2f} times the work of one."
    )


def _callers(name: str, seen: list[Death], free: float) -> None:
    """Print what the callers of killed workers got."""
    answers = [(one.caller, one.caller.at - one.killed) for one in seen if one.caller]
    heard = [after for _, after in answers]
    ours = name == WORKERS
    row(
        name,
        _told(Counter(answer.status for answer, _ in answers)),
        milliseconds(statistics.median(heard)),
        milliseconds(max(heard)),
        f"at most {milliseconds(HEARS)}" if ours else "",
        judged(0, free, reached=max(heard) <= HEARS) if ours else "",
    )


def _others(name: str, shown: str, seen: list[Death], free: float) -> None:
    """Print what all other callers noticed."""
    before = p99([latency for one in seen for latency in one.before])
    after = p99([latency for one in seen for latency in one.after])
    failed = sum((one.failed for one in seen), Counter[int]())
    reached = after <= SLOWER * before and not failed
    ours = name == WORKERS
    row(
        shown,
        milliseconds(before),
        milliseconds(after),
        f"{after / before:.2f}",
        f"at most {SLOWER}" if ours else "",
        judged(0, free, reached=reached) if ours else "",
        f"{_told(failed)} of {sum(len(one.after) for one in seen)}" if failed else "none",
    )


def _new_workers(name: str, times: list[float | None]) -> None:
    """Print when there were as many workers again."""
    in_time = [one for one in times if one is not None]
    if len(in_time) == len(times):
        middle = statistics.median(in_time)
        row(name, f"{middle:.2f} s", f"{max(in_time):.2f} s", f"{middle / INIT:.1f}")
    else:
        late = len(times) - len(in_time)
        row(name, f"not within {BOUND:.0f} s: {late} of {len(times)}", "", "")


def _told(statuses: Counter[int]) -> str:
    """Return each status with its number; 0 is no answer."""
    return ", ".join(
        f"{'nothing' if status == NOTHING else status}: {count}"
        for status, count in sorted(statuses.items())
    )
