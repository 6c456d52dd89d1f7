"""The figures of a report, by matplotlib: the paper's figures 3 to 7, calibration, recall at low rates.

Each function gives a matplotlib Figure.  Colours are told apart by colour-blind people, and systems by
line style too, for paper without colour.  No window system and no global state of matplotlib is used.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np

from models.training.curves import PrecisionRecallCurve, Reliability, RocCurve
from models.training.metrics import Confusion, FamilyRecall, RecallAt

_P = ParamSpec("_P")
_R = TypeVar("_R")

_COLOURS = ("#0b5cad", "#c8102e", "#1b8a5a", "#a05a00", "#7b3fa0", "#4d5761", "#00879b", "#c2388e")
_LINES = ("-", "--", "-.", ":")
_MARKS = "osD^vPX*"
_GREY = "#8a949e"

DPI = 144  #: of the images; figures are laid out in inches

_STYLE = {
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.1,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters everywhere
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e7eb",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.hashsalt": "report",
}


def _styled(draw: Callable[_P, _R]) -> Callable[_P, _R]:
    """Draw in the style of the reports, whatever the user's own settings are."""

    @functools.wraps(draw)
    def styled(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        from matplotlib import rc_context, rcParamsDefault

        # The backend is left alone: a Figure without pyplot needs none.
        defaults = {key: value for key, value in rcParamsDefault.items() if not key.startswith("backend")}
        with rc_context({**defaults, **_STYLE}):
            return draw(*args, **kwargs)

    return styled


@_styled
def png(figure: Any) -> bytes:
    """A figure as PNG, the same bytes for the same figure: neither date nor version in it."""
    out = io.BytesIO()
    figure.savefig(out, format="png", facecolor="white", metadata={"Software": None})
    return out.getvalue()


@_styled
def accuracy_and_loss(history: Sequence[Mapping[str, float]]) -> Any:
    """Accuracy and loss by epoch, of training and, where there is one, validation.

    history: an entry an epoch, with `loss`, perhaps `accuracy`, and of validation `val_loss` or
    `validation_loss`, and so on.  Without `accuracy` there is the loss alone.
    """
    panels = [name for name in ("accuracy", "loss") if any(name in entry for entry in history)]
    figure, axes = _figure(3.8 * max(1, len(panels)), 3.2, columns=max(1, len(panels)))
    epochs = np.arange(1, len(history) + 1)
    for axis, name in zip(axes, panels, strict=False):
        for keys, label, colour, line in (
            ((name,), "training", _COLOURS[0], "-"),
            ((f"val_{name}", f"validation_{name}"), "validation", _COLOURS[1], "--"),
        ):
            values = [next((entry[key] for key in keys if key in entry), math.nan) for entry in history]
            if not np.isnan(values).all():
                mark = "o" if len(history) <= 30 else ""
                axis.plot(epochs, values, line, color=colour, label=label, marker=mark, markersize=3.5)
        axis.set(title=name.capitalize(), xlabel="epoch", xlim=(0.5, max(1, len(history)) + 0.5))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend()
    return figure


@_styled
def confusion_matrix(counts: Confusion) -> Any:
    """Counts of truth by verdict, each with its share of its row; the darker, the larger the share."""
    figure, (axis,) = _figure(4.2, 3.4)
    cells = np.array([[counts.tn, counts.fp], [counts.fn, counts.tp]])
    shares = cells / np.maximum(1, cells.sum(axis=1, keepdims=True))
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = (("true negatives", "false alarms"), ("missed", "found"))
    for i in range(2):
        for j in range(2):
            colour = "white" if shares[i, j] > 0.5 else "#1b1f24"
            axis.text(j, i - 0.12, f"{cells[i, j]:,}", ha="center", va="center", color=colour, fontsize=14)
            below = f"{names[i][j]}\n{100 * shares[i, j]:.2f} %" if cells[i].sum() else names[i][j]
            axis.text(j, i + 0.2, below, ha="center", va="center", color=colour, fontsize=8.5)
    axis.set(xticks=[0, 1], yticks=[0, 1], xlabel="verdict", ylabel="truth")
    axis.set_xticklabels(["benign", "attack"])
    axis.set_yticklabels(["benign", "attack"])
    axis.tick_params(length=0)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    return figure


@_styled
def pr_curves(curves: Mapping[str, PrecisionRecallCurve]) -> Any:
    """Precision by recall, a line a system, with what a guess would give."""
    figure, (axis,) = _figure(5.2, 4.2)
    for (name, curve), (colour, line) in zip(curves.items(), _looks()):
        if len(curve.recall):
            label = f"{_plain(name)} ({curve.average_precision:.4f})"
            axis.plot(curve.recall, curve.precision, line, color=colour, label=label)
    known = [curve.prevalence for curve in curves.values() if not math.isnan(curve.prevalence)]
    for i, prevalence in enumerate(sorted({round(one, 4) for one in known})):
        guess = "a guess" if i == 0 else None
        axis.axhline(prevalence, color=_GREY, linewidth=1, linestyle=":", label=guess)
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.01))
    _legend(axis, "average precision")
    return figure


@_styled
def roc_curves(curves: Mapping[str, RocCurve]) -> Any:
    """Recall by false-alarm rate, a line a system: all of it, and the low rates on a logarithmic axis."""
    figure, (whole, low) = _figure(8.4, 3.9, columns=2)
    lowest = 1e-1
    for (name, curve), (colour, line) in zip(curves.items(), _looks()):
        if not len(curve.recall):
            continue
        label = f"{_plain(name)} ({curve.area:.4f})"
        whole.plot(curve.false_alarm_rate, curve.recall, line, color=colour, label=label)
        seen = curve.false_alarm_rate > 0
        lowest = min(lowest, curve.false_alarm_rate[seen].min(initial=1.0))
        low.plot(curve.false_alarm_rate[seen], curve.recall[seen], line, color=colour)
    whole.plot([0, 1], [0, 1], ":", color=_GREY, linewidth=1, label="a guess")
    whole.set(xlabel="false-alarm rate", ylabel="recall", xlim=(-0.01, 1), ylim=(0, 1.01), title="All rates")
    low.set(xlabel="false-alarm rate, logarithmic", xlim=(lowest, 1), ylim=(0, 1.01), title="Low rates")
    low.set_xscale("log")
    _legend(whole, "area under the curve")
    return figure


@_styled
def recall_at_rates(systems: Mapping[str, Sequence[RecallAt]]) -> Any:
    """Recall with its interval at each false-alarm rate, hollow where the data cannot resolve the rate."""
    figure, (axis,) = _figure(5.6, 3.8)
    count = max(1, len(systems))
    for i, ((name, points), (colour, _)) in enumerate(zip(systems.items(), _looks())):
        told = [p for p in points if not math.isnan(p.recall)]
        if not told:
            continue
        # Side by side around the rate, or the intervals of equal systems hide each other.
        rates = [p.rate * 10 ** (0.12 * (i - (count - 1) / 2)) for p in told]
        recall = np.array([p.recall for p in told])
        reach = [recall - [p.low for p in told], [p.high for p in told] - recall]
        axis.errorbar(
            rates, recall, np.maximum(0, reach), fmt="none", ecolor=colour, elinewidth=1.2, capsize=2.5
        )
        axis.plot(rates, recall, "-", color=colour, linewidth=0.8, alpha=0.5)
        mark = _MARKS[i % len(_MARKS)]
        axis.plot([], [], mark, color=colour, markersize=5.5, label=_plain(name))
        for rate, point in zip(rates, told, strict=True):
            fill = colour if point.resolvable else "white"
            axis.plot(rate, point.recall, mark, color=colour, markerfacecolor=fill, markersize=5.5)
    axis.set_xscale("log")
    axis.set(xlabel="false alarms allowed, share of benign rows", ylabel="recall", ylim=(-0.02, 1.02))
    _legend(axis, None)
    return figure


@_styled
def calibration_curve(systems: Mapping[str, Reliability]) -> Any:
    """Share of attacks by score, with intervals, above how many rows have such a score."""
    figure, (axis, below) = _figure(5.2, 5.0, rows=2, heights=(3, 1))
    axis.plot([0, 1], [0, 1], ":", color=_GREY, linewidth=1, label="a probability")
    width = 0.08 / max(1, len(systems))
    for i, ((name, curve), (colour, line)) in enumerate(zip(systems.items(), _looks())):
        reach = np.maximum(0, [curve.attacks - curve.low, curve.high - curve.attacks])
        label = f"{_plain(name)} ({curve.error:.4f})"
        axis.errorbar(
            curve.score, curve.attacks, reach, fmt=_MARKS[i % len(_MARKS)], linestyle=line, color=colour,
            markersize=4, elinewidth=1, capsize=2, label=label,
        )  # fmt: skip
        bins = np.minimum(np.floor(curve.score * 10), 9) / 10 + 0.05
        below.bar(bins + width * (i - (len(systems) - 1) / 2), curve.rows, width, color=colour)
    axis.set(ylabel="share of attacks", xlim=(0, 1), ylim=(-0.02, 1.02))
    below.set(xlabel="score", ylabel="rows", xlim=(0, 1))
    below.set_yscale("log")
    below.set_ylim(bottom=0.7)
    _legend(axis, "mean distance")
    return figure


@_styled
def family_recalls(systems: Mapping[str, Sequence[FamilyRecall]]) -> Any:
    """Recall of each family with its interval, a mark a system, families by name from the top."""
    families = sorted({one.family for found in systems.values() for one in found}, key=str.lower)
    figure, (axis,) = _figure(6.4, 1.2 + 0.13 * len(families) * (1 + len(systems)))
    step = 0.7 / max(1, len(systems))
    for i, ((name, found), (colour, _)) in enumerate(zip(systems.items(), _looks())):
        places = np.array([families.index(one.family) + step * (i - (len(systems) - 1) / 2) for one in found])
        recall = np.array([one.recall for one in found])
        reach = [recall - [one.low for one in found], [one.high for one in found] - recall]
        axis.errorbar(
            recall, places, xerr=np.maximum(0, reach), fmt=_MARKS[i % len(_MARKS)], color=colour,
            markersize=4.5, elinewidth=1.2, capsize=2, label=_plain(name),
        )  # fmt: skip
    axis.set(xlabel="recall", xlim=(-0.02, 1.02), ylim=(len(families) - 0.4, -0.6))
    axis.set_yticks(range(len(families)))
    axis.set_yticklabels([_plain(name) for name in families])
    axis.grid(axis="y", visible=False)
    if systems:
        figure.legend(loc="outside upper right", ncols=3)
    return figure


def _figure(
    width: float, height: float, *, columns: int = 1, rows: int = 1, heights: Sequence[float] = (1,)
) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.subplots(rows, columns, squeeze=False, height_ratios=heights)
    return figure, list(axes.flat)


def _looks() -> Iterator[tuple[str, str]]:
    """Colour and line style of one system after the other, without end."""
    number = 0
    while True:
        yield _COLOURS[number % len(_COLOURS)], _LINES[number % len(_LINES)]
        number += 1


def _plain(name: str) -> str:
    """A name from data, so that no dollar sign makes a formula of it."""
    return name.replace("$", r"\$")


def _legend(axis: Any, title: str | None) -> None:
    """Names of the systems, with what stands behind them in brackets."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend(title=title, title_fontsize=8.5, alignment="left", loc="best")
