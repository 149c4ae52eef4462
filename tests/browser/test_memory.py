"""The server's memory stays bounded however many pages are asked for."""

from __future__ import annotations

from itertools import cycle, islice

import pytest

pytest.importorskip("streamlit")
from etchmark.api import open_hub

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

VISITS = 200
MOST_MIB = 1500


def test_two_hundred_pages_leave_the_server_small(served: str) -> None:
    from visits import memory, visit

    boards = [f"leaderboard?benchmark={name}" for name in open_hub().benchmarks()]
    pages = ["", "model?name=cnn3d/periodic", "compare", "submit", "how-to-read", *boards]
    for page in islice(cycle(pages), VISITS):
        assert visit(served + page) > 5000, page
    assert memory(served) < MOST_MIB
