"""Options of the commands that fit the paper's network: how flows are cut and scaled, sizes, fitting."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from models.errors import TrainingError
from models.training.cli.options import at_least, share

if TYPE_CHECKING:
    from models.training.paper.flow_fit import Settings
    from models.training.searching import Best

#: Options that take a number, by the name of the size or setting that they are.
_WHOLE = {
    "filters": "filters of the convolution",
    "kernel": "features that a filter sees",
    "pooling": "features that become one",
    "lstm": "units of the LSTM",
    "dense": "units of the dense layer",
    "batch_size": "flows of a step",
    "patience": "epochs without a better validation loss before it stops",
}
_REAL = {"learning_rate": "of Adam"}
_SHARE = {"dropout": "share of units dropped while fitting", "averaging": "how slowly averaged weights fade"}


def add_flow_options(group: Any) -> list[argparse.Action]:
    """The options, into a group of a parser's, and given back; those that are not given are None."""
    added: list[argparse.Action] = []

    def add(name: str, **how: Any) -> None:
        added.append(group.add_argument(_flag(name), **how))

    add(
        "split",
        choices=("text", "matrix", "time"),
        help="text: duplicates dropped, at random 70/15/15 (default); matrix: duplicates kept, 70/30; time:"
        " in each class the first 70 %% by time, groups of near duplicates whole",
    )
    add(
        "scale",
        choices=("minmax", "log-minmax"),
        help="to [0, 1] as it is (default), or of the logarithm",
    )
    add("best_features", type=at_least(1), metavar="N", help="keep the N that tell most")
    add("levels", type=at_least(0), help="of each feature before the convolution; 0: none")
    add(
        "embedding",
        type=at_least(0),
        help="numbers made of a feature's levels before the convolution; 0: none",
    )
    for name, meaning in _WHOLE.items():
        add(name, type=at_least(1), help=meaning)
    for name, meaning in _REAL.items():
        add(name, type=positive, help=meaning)
    for name, meaning in _SHARE.items():
        add(name, type=share, help=meaning)
    add("schedule", choices=("constant", "cosine"), help="of the learning rate")
    add("class_weights", choices=("none", "root", "balanced"), help="in the loss")
    return added


def flow_settings(args: argparse.Namespace, found: Best | None = None) -> Settings:
    """What the options say; where one is not given counts `found`, the best of a search, and what it had."""
    names = ("levels", "embedding", "epochs", "schedule", "class_weights", *_WHOLE, *_REAL, *_SHARE)
    given = {name: getattr(args, name) for name in names if getattr(args, name, None) is not None}
    try:
        return _settings(args, found, given)
    except (KeyError, TypeError, ValueError) as error:
        if found is None:
            raise
        raise TrainingError(f"the search is not of this version ({error}): search again") from None


def _settings(args: argparse.Namespace, found: Best | None, given: dict[str, Any]) -> Settings:
    from models.training.paper.flow_fit import Settings, with_sizes

    base = Settings() if found is None else Settings.from_dict(found.base)
    asked = {"cut": args.split, "scale": args.scale, "best": args.best_features, "seed": args.seed}
    base = replace(base, **{name: value for name, value in asked.items() if value is not None})
    return with_sizes(base, {**(found.point if found else {}), **given})


def positive(text: str) -> float:
    """The type of an option that takes a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number above 0")
    return value


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
