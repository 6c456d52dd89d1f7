"""What can go wrong between a source of packets and a flow record."""

from __future__ import annotations


class CaptureError(Exception):
    """A source cannot be read (any further).  The message names file, place and remedy."""


class FilterError(CaptureError):
    """A capture filter that is none, or that nothing here can compile; `reason` is without the filter."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"capture filter {text!r}: {reason}")
        self.reason = reason


class FlowFileError(Exception):
    """A file of flow records cannot be read or written."""


class ExtraMissing(Exception):
    """A package that comes with an extra is not installed; the message is the line that installs it."""
