"""Memory for a flow table."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from capture.meter.memory import zeros

PAIR = np.dtype([("first", np.int64), ("second", np.int32)], align=True)


@pytest.mark.parametrize("scattered", [False, True])
@pytest.mark.parametrize("count", [0, 1, 300_000])
def test_it_is_zero_can_be_written_and_begins_with_a_page(count: int, scattered: bool) -> None:
    array = zeros(count, PAIR, scattered=scattered)
    assert array.shape == (count,) and array.dtype == PAIR
    assert not array["first"].any() and not array["second"].any()
    assert array.ctypes.data % mmap.PAGESIZE == 0 or not count
    array["second"] = 7
    assert (array["second"] == 7).all()


def test_a_system_without_huge_pages_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 0xFFFF)  # no such advice: EINVAL
    assert zeros(4, np.dtype(np.int32), scattered=True).tolist() == [0, 0, 0, 0]
