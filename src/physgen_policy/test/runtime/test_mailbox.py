# SPDX-License-Identifier: Apache-2.0
"""The mailbox between callbacks and the inference thread."""

import threading

import pytest

from physgen_policy.runtime.mailbox import Cancelled, CancelToken, Mailbox


def test_only_the_newest_item_survives_and_the_others_are_counted() -> None:
    """A slow worker gets the newest item; what it missed is known."""
    box: Mailbox[int] = Mailbox()
    for item in (1, 2, 3):
        box.put(item)
    assert box.take() == 3
    assert box.overwritten == 2
    box.put(4)
    box.clear()
    box.put(5)
    assert box.take() == 5
    assert box.overwritten == 2


def test_closing_wakes_the_worker_and_ends_delivery() -> None:
    """A worker that waits must come back when the node stops."""
    box: Mailbox[int] = Mailbox()
    results: list[int | None] = []
    worker = threading.Thread(target=lambda: results.append(box.take()))
    worker.start()
    box.close()
    worker.join(10)
    assert results == [None]
    box.put(1)
    assert box.take() is None


def test_every_item_of_an_unhurried_producer_arrives() -> None:
    """Nothing is lost when the worker keeps up."""
    box: Mailbox[int] = Mailbox()
    taken: list[int] = []
    ready = threading.Semaphore(1)

    def work() -> None:
        while (item := box.take()) is not None:
            taken.append(item)
            ready.release()

    worker = threading.Thread(target=work)
    worker.start()
    for item in range(200):
        assert ready.acquire(timeout=60)
        box.put(item)
    assert ready.acquire(timeout=60)
    box.close()
    worker.join(10)
    assert taken == list(range(200))


def test_cancel_token_raises_at_the_next_check_only() -> None:
    """Cancelling is a request."""
    token = CancelToken()
    token.check()
    token.cancel()
    assert token.cancelled
    with pytest.raises(Cancelled):
        token.check()
