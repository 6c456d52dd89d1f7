"""calibration.json of a bundle of host windows, held against what models.evidence can use."""

from __future__ import annotations

from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from models.bundle_files import AGAIN, parse_json
from models.bundle_store import Part, first_fault
from models.errors import BundleError
from models.window_columns import COUNTER_NAMES

_MOST = 1 << 20  # benign captures, and their maxima

_Number = Annotated[float, Field(allow_inf_nan=False)]


def _is_counter(name: str) -> str:
    if name not in COUNTER_NAMES:
        raise ValueError(f"this version counts no {name!r}")
    return name


def _is_sentence(text: str) -> str:
    """ValueError unless `text` can be filled in with a {value} and nothing else."""
    if not text.isprintable():
        raise ValueError("more than one line of plain text")
    for _, name, layout, conversion in Formatter().parse(text):
        if name is not None and (name, layout, conversion) != ("value", "", None):
            raise ValueError("asks for more than {value}")
    return text


def _is_falling(maxima: list[float]) -> list[float]:
    if any(one < other for one, other in zip(maxima, maxima[1:])):
        raise ValueError("not from the highest to the lowest")
    return maxima


class _Counter(Part):
    """See models.evidence.calibrate."""

    name: Annotated[str, AfterValidator(_is_counter)]
    role: Literal["actor", "target"] | None
    family: Annotated[str, Field(max_length=64)]
    text: Annotated[str, Field(max_length=200), AfterValidator(_is_sentence)]
    captures: Annotated[int, Field(ge=1, le=_MOST)]
    maxima: Annotated[
        list[Annotated[_Number, Field(ge=0)]],
        Field(min_length=1, max_length=_MOST),
        AfterValidator(_is_falling),
    ]


class _Calibration(Part):
    """See models.evidence.HostEvidence; what else there is, is told to people."""

    model_config = ConfigDict(extra="allow")

    threshold: _Number
    target_cap: _Number
    counter_weight: Annotated[_Number, Field(ge=0)]
    average: Annotated[_Number, Field(gt=0, le=1)]
    counters: list[_Counter]


def read_calibration(data: bytes, where: str) -> dict[str, Any]:
    """What `data` holds as it stands; BundleError when a score cannot be made or told with it."""
    found = parse_json(data, where)
    try:
        checked = _Calibration.model_validate(found)
    except ValidationError as error:
        raise BundleError(f"{where}: {first_fault(error)}: {AGAIN}") from None
    for counter in checked.counters:
        if len(counter.maxima) > counter.captures:
            raise BundleError(f"{where}: more maxima of {counter.name} than captures: {AGAIN}")
    return found
