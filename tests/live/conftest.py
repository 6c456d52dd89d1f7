"""The namespaces that live tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.net import Namespaces, reason_against


@pytest.fixture(scope="session")
def _possible() -> None:
    if reason := reason_against():
        pytest.skip(reason)


@pytest.fixture
def namespaces(_possible: None) -> Iterator[Namespaces]:
    with Namespaces() as made:
        yield made
