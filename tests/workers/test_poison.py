"""Calls that kill workers are told apart from workers that are bad."""

from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from potassium.http.spooled import SpooledBody
from potassium.workers.poison import (
    MOST_REFUSED,
    MOST_SUSPECTS,
    REFUSED_FOR,
    PoisonRegister,
    call_fingerprint,
    refusal_line,
)

POISON, INNOCENT = b"poison", b"innocent"
JSON = b"application/json"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def register(clock: Clock) -> PoisonRegister:
    return PoisonRegister(clock)


def test_a_call_that_kills_three_workers_in_a_row_is_refused(register: PoisonRegister) -> None:
    """The third death is explained by it; the first two are not yet."""
    assert register.died([POISON]) == frozenset()
    assert register.died([POISON]) == frozenset()
    assert not register.is_refused(POISON)
    assert register.died([POISON]) == {POISON}
    assert register.is_refused(POISON)
    assert not register.is_refused(INNOCENT)


def test_a_call_that_ends_well_in_between_is_no_poison(register: PoisonRegister) -> None:
    """Three deaths in a row refuse a call, not three in all."""
    for _ in range(5):
        register.died([POISON])
        register.died([POISON])
        register.ended_well(POISON)
    assert not register.is_refused(POISON)
    assert not register


def test_the_same_call_is_refused_for_ten_minutes(register: PoisonRegister, clock: Clock) -> None:
    """Then it may run, and it takes three more deaths to refuse it again."""
    for _ in range(3):
        register.died([POISON])
    clock.now += REFUSED_FOR - 1
    assert register.is_refused(POISON)
    clock.now += 1
    assert not register.is_refused(POISON)
    register.died([POISON])
    assert not register.is_refused(POISON)


def test_deaths_that_are_far_apart_are_not_in_a_row(register: PoisonRegister, clock: Clock) -> None:
    """A call that was there when a worker died is suspect for ten minutes."""
    for _ in range(5):
        register.died([POISON])
        assert register.is_suspect(POISON)
        clock.now += REFUSED_FOR
        assert not register.is_suspect(POISON)
    assert not register.is_refused(POISON)


def test_a_batch_makes_all_its_calls_suspect_and_refuses_none(register: PoisonRegister) -> None:
    """One of them has killed the worker; they should run alone, and that clears the others."""
    batch = [POISON, *(b"%d" % one for one in range(31))]
    for _ in range(3):
        assert register.died(batch) == frozenset()
    assert all(register.is_suspect(one) for one in batch)
    for one in batch[1:]:
        register.ended_well(one)
    register.died([POISON])
    assert register.died([POISON]) == {POISON}
    assert len(register) == 1


def test_who_dies_in_company_each_time_is_refused_at_the_sixth(register: PoisonRegister) -> None:
    """Streams take turns, and cannot always run alone: a poison is found there as well."""
    for number in range(5):
        assert register.died([POISON, b"%d" % number]) == frozenset()
    assert register.died([POISON, b"another"]) == {POISON}
    assert not register.is_refused(b"another")


def test_a_batch_of_one_content_is_one_call(register: PoisonRegister) -> None:
    """The same content several times in a batch leaves no doubt."""
    for _ in range(3):
        register.died([POISON, POISON])
    assert register.is_refused(POISON)


def test_whoever_ran_beside_a_refused_call_is_not_suspect(register: PoisonRegister) -> None:
    """A refused call that was on its way already explains the death alone."""
    for _ in range(3):
        register.died([POISON])
    assert register.died([POISON, INNOCENT]) == {POISON}
    assert not register.is_suspect(INNOCENT)


def test_another_death_keeps_a_call_refused(register: PoisonRegister, clock: Clock) -> None:
    """The ten minutes begin with the last one."""
    for _ in range(3):
        register.died([POISON])
    clock.now += REFUSED_FOR / 2
    register.died([POISON])
    clock.now += REFUSED_FOR - 1
    assert register.is_refused(POISON)


def test_a_call_that_is_refused_for_longer_keeps_no_other_refused(
    register: PoisonRegister, clock: Clock
) -> None:
    """Each has its own ten minutes, whichever was first."""
    for call in (POISON, b"other"):
        for _ in range(3):
            register.died([call])
    clock.now += REFUSED_FOR / 2
    register.died([POISON])
    clock.now += REFUSED_FOR / 2
    assert register.is_refused(POISON)
    assert not register.is_refused(b"other")


def test_a_refused_call_that_ends_well_after_all_is_cleared(register: PoisonRegister) -> None:
    """It was on its way on another worker; so the workers are bad, and not the call."""
    for _ in range(3):
        register.died([POISON])
    register.ended_well(POISON)
    assert not register.is_refused(POISON)
    assert not register


def test_a_worker_that_dies_idle_makes_nothing_suspect(register: PoisonRegister) -> None:
    """Nobody needs a fingerprint after it."""
    assert register.died([]) == frozenset()
    assert not register


def test_a_register_without_suspects_is_false(register: PoisonRegister, clock: Clock) -> None:
    """While it is, no call pays for a fingerprint; it becomes so again by itself."""
    assert not register
    register.died([POISON])
    assert register
    clock.now += REFUSED_FOR
    assert not register


def test_a_register_is_bounded(register: PoisonRegister, clock: Clock) -> None:
    """The oldest are forgotten; suspects without end do not make it forget what is refused."""
    for _ in range(3):
        register.died([POISON])
    for number in range(MOST_SUSPECTS + 100):
        clock.now += 0.001
        register.died([b"%d" % number])
    assert len(register) == MOST_SUSPECTS + 1
    assert not register.is_suspect(b"99")
    assert register.is_suspect(b"100")
    assert register.is_refused(POISON)
    for number in range(MOST_REFUSED):
        for _ in range(3):
            register.died([b"r%d" % number])
    assert not register.is_refused(POISON)
    assert register.is_refused(b"r0")


class Calls(RuleBasedStateMachine):
    """Two poisons among ten calls, on workers that also die for reasons of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.register = PoisonRegister(self.clock)
        self.deaths: dict[int, list[tuple[float, bool]]] = {}  # since each call last ended well

    @rule(calls=st.lists(st.integers(0, 9), max_size=4))
    def die(self, calls: list[int]) -> None:
        refused = {one for one in calls if self.register.is_refused(b"%d" % one)}
        explained = self.register.died([b"%d" % one for one in calls])
        assert explained <= {b"%d" % one for one in calls}
        assert all(self.register.is_refused(one) for one in explained)
        if refused:
            assert explained == {b"%d" % one for one in refused}
        for one in refused or set(calls):
            self.deaths.setdefault(one, []).append((self.clock.now, len(set(calls)) == 1))

    @rule(call=st.integers(0, 9))
    def end_well(self, call: int) -> None:
        self.register.ended_well(b"%d" % call)
        self.deaths.pop(call, None)
        assert not self.register.is_suspect(b"%d" % call)

    @rule(seconds=st.sampled_from([0.5, 60.0, REFUSED_FOR / 2, REFUSED_FOR]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def it_is_refused_only_for_three_deaths_in_a_row(self) -> None:
        for call in range(10):
            if self.register.is_refused(b"%d" % call):
                deaths = self.deaths[call]
                assert len(deaths) >= 3
                assert any(alone for _, alone in deaths) or len(deaths) >= 6
                assert deaths[-1][0] > self.clock.now - REFUSED_FOR

    @invariant()
    def three_deaths_alone_refuse(self) -> None:
        for call, deaths in self.deaths.items():
            last = deaths[-3:]
            if len(last) == 3 and last[0][0] > self.clock.now - REFUSED_FOR:
                assert self.register.is_refused(b"%d" % call) or not all(one for _, one in last)

    @invariant()
    def nothing_is_both(self) -> None:
        for call in range(10):
            name = b"%d" % call
            assert not (self.register.is_suspect(name) and self.register.is_refused(name))

    @precondition(lambda self: not self.register)
    @rule(call=st.integers(0, 9))
    def a_false_register_knows_of_nothing(self, call: int) -> None:
        assert len(self.register) == 0
        assert not self.register.is_suspect(b"%d" % call)
        assert not self.register.is_refused(b"%d" % call)


TestCalls = Calls.TestCase


def test_what_the_handler_sees_makes_the_fingerprint() -> None:
    """The path, the content, its media type and the query."""
    one = call_fingerprint("/a", b"{}", JSON, b"top=1")
    assert one == call_fingerprint("/a", b"{}", b"Application/JSON; charset=utf-8", b"top=1")
    others = [
        call_fingerprint("/b", b"{}", JSON, b"top=1"),
        call_fingerprint("/a", b"[]", JSON, b"top=1"),
        call_fingerprint("/a", b"{}", b"text/plain", b"top=1"),
        call_fingerprint("/a", b"{}", JSON, b"top=2"),
        call_fingerprint("/a", b"{}", JSON + b"top=1"),
    ]
    assert len({one, *others}) == 6


def test_a_form_sent_again_has_the_same_fingerprint() -> None:
    """Its boundary is another one each time."""

    def sent(boundary: bytes) -> bytes:
        part = b'--%b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--%b--\r\n'
        content_type = b"multipart/form-data; boundary=" + boundary
        return call_fingerprint("/a", part % (boundary, boundary), content_type)

    assert sent(b"first") == sent(b"second-one")


def test_a_body_on_disk_has_the_fingerprint_of_its_content(tmp_path: Path) -> None:
    """Wherever the content is kept."""
    content = b"0123456789" * 300_000
    (tmp_path / "body").write_bytes(content)
    body = SpooledBody.at(tmp_path / "body")
    try:
        assert call_fingerprint("/a", body) == call_fingerprint("/a", content)
    finally:
        body.close()


def test_the_log_says_what_is_refused_and_for_how_long() -> None:
    """It names the handler, and shows nothing of the content."""
    line = refusal_line("/embed", call_fingerprint("/embed", b"secret"))
    assert line.startswith("/embed: a call is refused for 10 minutes")
    assert "secret" not in line
