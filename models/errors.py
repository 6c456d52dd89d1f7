"""What can go wrong between a saved model and a score."""

from __future__ import annotations


class BundleError(Exception):
    """A saved model cannot be used.  One line: what is wrong, with which file, what to do."""


class PackageMissing(BundleError):
    """A package that only some commands need is not installed.  One line with what installs it."""


class RuntimeUnavailable(BundleError):
    """The runtime that scores is not installed, or the device asked for is not there."""


class TrainingError(Exception):
    """A network cannot be fitted or converted from what was given."""


class CalibrationError(Exception):
    """The traffic gives no threshold for the budget.  One line: what is lacking, what to do."""
