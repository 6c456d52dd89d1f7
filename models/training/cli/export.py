"""`ids-train export`."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.errors import TrainingError
from models.training.cli.options import Subcommands, load_tensorflow, need


def add(commands: Subcommands) -> None:
    """The parser of `export`."""
    export = commands.add_parser(
        "export",
        help="write a bundle's network in another form",
        description="Write a bundle's network for other tools: LiteRT in float32 or in 8 bits, ONNX, or a"
        " .keras file.  They take inputs scaled as the bundle scales them and give logits.  None of them is"
        " read back by ids-daemon, which scores with the bundle as it is.",
    )
    export.add_argument("bundle", metavar="BUNDLE", help="folder or zip, or the name of one that ships")
    export.add_argument("--format", required=True, choices=("litert", "int8", "onnx", "keras"))
    export.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write")
    export.add_argument(
        "--data",
        type=Path,
        nargs="+",
        metavar="FLOWS",
        help="int8 needs it: traffic as the network will see it, flow records or a data set as for calibrate",
    )
    export.set_defaults(run=_export)


def _export(args: argparse.Namespace) -> None:
    from models.any_bundle import load_any

    bundle = load_any(args.bundle)
    if args.out.is_dir():
        raise TrainingError(f"{args.out}: is a folder: name a file in it")
    if args.format == "int8" and not args.data:
        raise TrainingError("int8 needs the traffic that the ranges of its numbers come from: give --data")
    if not args.out.parent.is_dir():
        raise _unwritable(args.out, "no such folder")
    lines: list[str] = []
    if args.format == "litert":
        data = bundle.tflite
    else:
        need("tensorflow")
        load_tensorflow()

        from models.training import exporting
        from models.training.examples import examples_of

        if args.format == "int8":
            data, lines = exporting.to_int8(bundle, examples_of(bundle, args.data))
        else:
            data = exporting.to_onnx(bundle) if args.format == "onnx" else exporting.to_keras(bundle)
    try:
        args.out.write_bytes(data)
    except OSError as error:
        raise _unwritable(args.out, error.strerror) from None
    for line in lines:
        print(line)
    print(f"wrote {args.out}")


def _unwritable(path: Path, reason: str | None) -> TrainingError:
    return TrainingError(f"{path}: cannot be written ({reason}): name another place")
