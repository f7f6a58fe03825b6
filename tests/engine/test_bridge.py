"""Sending items from other threads to the event loop."""

import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from support.moments import at_moment

from potassium.engine.bridge import Bridge


class FakeLoop:
    """Collects the callbacks that it is given until a test runs them."""

    def __init__(self) -> None:
        self.told: list[Callable[[], object]] = []

    def tell(self, callback: Callable[[], object]) -> None:
        self.told.append(callback)

    def turn(self) -> None:
        told, self.told = self.told, []
        for callback in told:
            callback()


@pytest.fixture
def _threads_change_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_all_that_piled_up_takes_one_wake_up() -> None:
    """However many items are sent before the loop's turn, the loop is woken once."""
    loop, received = FakeLoop(), list[int]()
    bridge = Bridge(loop.tell, received.append)
    for number in range(1000):
        bridge.send(number)
    assert len(loop.told) == 1
    loop.turn()
    assert received == list(range(1000))


def test_what_comes_after_a_delivery_wakes_the_loop_again() -> None:
    """The first item after each delivery wakes the loop again; without one, nothing is received."""
    loop, received = FakeLoop(), list[int]()
    bridge = Bridge(loop.tell, received.append)
    for number in range(3):
        bridge.send(number)
        assert len(loop.told) == 1
        loop.turn()
        assert received[-1] == number
    loop.turn()
    assert received == [0, 1, 2]


def test_what_is_sent_while_others_are_received_arrives() -> None:
    """A receiver may send: its item comes after those that wait, and is not lost."""
    loop, received = FakeLoop(), list[int]()

    def receive(number: int) -> None:
        received.append(number)
        if number < 2:
            bridge.send(number + 10)

    bridge = Bridge(loop.tell, receive)
    for number in range(3):
        bridge.send(number)
    while loop.told:
        loop.turn()
    assert received == [0, 1, 2, 10, 11]


def test_a_receiver_that_raises_does_not_cut_the_bridge() -> None:
    """Items sent after an error arrive, and so do those that waited behind the culprit."""
    loop, received = FakeLoop(), list[int]()

    def receive(number: int) -> None:
        if number == 0:
            raise ValueError
        received.append(number)

    bridge = Bridge(loop.tell, receive)
    bridge.send(0)
    bridge.send(1)
    with pytest.raises(ValueError, match=r"^$"):
        loop.turn()
    bridge.send(2)
    loop.turn()
    assert received == [1, 2]


def test_a_send_in_the_midst_of_a_delivery_arrives() -> None:
    """If another thread sends at any moment during a delivery, its item is received."""
    for moment in range(1, 1000):
        loop, received = FakeLoop(), list[str]()
        bridge = Bridge(loop.tell, received.append)
        bridge.send("first")
        send = lambda bridge=bridge: bridge.send("late")  # noqa: E731
        with at_moment(moment, Bridge._deliver.__code__, send) as came:
            loop.turn()
        if not came:
            return
        loop.turn()
        assert received == ["first", "late"]
        assert loop.told == []


def test_a_delivery_in_the_midst_of_a_send_loses_nothing() -> None:
    """If the loop has its turn at any moment during a send, the item is received."""
    for moment in range(1, 1000):
        loop, received = FakeLoop(), list[str]()
        bridge = Bridge(loop.tell, received.append)
        bridge.send("first")
        with at_moment(moment, Bridge.send.__code__, loop.turn) as came:
            bridge.send("late")
        loop.turn()
        assert received == ["first", "late"]
        if not came:
            return


@pytest.mark.usefixtures("_threads_change_often")
def test_nothing_is_lost_in_a_race() -> None:
    """Every item arrives, even if threads send at the very moment when a delivery ends."""
    rounds, senders = 2000, 2
    wake_up, arrived = threading.Semaphore(0), [threading.Semaphore(0) for _ in range(senders)]
    told: list[Callable[[], object]] = []
    lost: list[int] = []

    def tell(callback: Callable[[], object]) -> None:
        told.append(callback)
        wake_up.release()

    bridge: Bridge[int] = Bridge(tell, lambda sender: arrived[sender].release())

    def send(sender: int) -> None:
        for _ in range(rounds):
            bridge.send(sender)
            if not arrived[sender].acquire(timeout=2):
                lost.append(sender)
                return

    threads = [
        threading.Thread(target=send, args=(sender,), daemon=True) for sender in range(senders)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if wake_up.acquire(timeout=0.01):
            told.pop(0)()
    assert lost == []


@pytest.mark.usefixtures("_threads_change_often")
def test_the_items_of_each_thread_keep_their_order() -> None:
    """If several threads send at once, the items of each are received in the order sent."""
    count, senders = 3000, 3
    wake_up, told = threading.Semaphore(0), list[Callable[[], object]]()
    received: list[tuple[int, int]] = []

    def tell(callback: Callable[[], object]) -> None:
        told.append(callback)
        wake_up.release()

    bridge: Bridge[tuple[int, int]] = Bridge(tell, received.append)

    def send(sender: int) -> None:
        for number in range(count):
            bridge.send((sender, number))

    threads = [
        threading.Thread(target=send, args=(sender,), daemon=True) for sender in range(senders)
    ]
    for thread in threads:
        thread.start()
    while len(received) < count * senders and wake_up.acquire(timeout=2):
        told.pop(0)()
    for thread in threads:
        thread.join()
    for sender in range(senders):
        assert [number for who, number in received if who == sender] == list(range(count))
