"""The pytest fixture ``callmeter_calls``: what the code under test recorded, as rows, without a store.

>>> def test_copy_is_recorded(callmeter_calls):  # doctest: +SKIP
...     write_copy("shoes")
...     (call,) = callmeter_calls
...     assert (call["caller"], call["status"]) == ("sales_copy", "ok")
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import pytest

from callmeter import _native, _runtime

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["RecordedCalls", "callmeter_calls"]

_FLUSH_S = 30.0


class RecordedCalls(Sequence[dict[str, Any]]):
    """The calls of this process that ended since the test began, the first to start first; read anew at each look.

    Each is a dictionary by the names of the record's fields; what is unknown is not in it. Costs are the store's to work
    out, and are not there.
    """

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []

    def _look(self) -> list[dict[str, Any]]:
        _native.flush(_FLUSH_S)
        rows = [json.loads(row) for row in _native.captured()]
        self._rows += [{name: value for name, value in row.items() if value is not None} for row in rows]
        self._rows.sort(key=lambda row: str(row["call_id"]))
        return self._rows

    def clear(self) -> None:
        """Forgets the calls so far."""
        self._look().clear()

    def of(self, caller: str) -> list[dict[str, Any]]:
        """The calls of one caller."""
        return [row for row in self._look() if row.get("caller") == caller]

    def __len__(self) -> int:
        return len(self._look())

    @overload
    def __getitem__(self, at: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, at: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, at: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self._look()[at]

    def __repr__(self) -> str:
        return f"RecordedCalls({self._look()!r})"


@pytest.fixture
def callmeter_calls(tmp_path: Path) -> Iterator[RecordedCalls]:
    """The calls that this process records during the test; they go to no store."""
    _runtime.begin_capture(tmp_path / "callmeter-home")
    try:
        yield RecordedCalls()
    finally:
        _runtime.end_capture()
