"""The command line: `python -m merge_core`. Results go to stdout, progress and errors to stderr.

Exit code 0; 2 for what a person can mend, told in one `error:` line; 130 after Ctrl-C; 1 for a bug of ours.
"""

from __future__ import annotations

import argparse
import errno
import gc
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from merge_core import __version__
from merge_core.cli import commands, inspecting, merging
from merge_core.cli.terminal import plain
from merge_core.errors import UserError, UserErrors
from merge_core.progress import Cancelled

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}

_RECIPE = "a mergekit recipe (YAML), or a merge to make again: a folder, owner/name, or an address on the Hub"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit code."""
    # Commands import hundreds of modules, none of which is garbage: looking for some took a tenth of a short merge.
    gc.set_threshold(100_000, 50, 100)
    # numpy's BLAS would start a thread per core that waits by spinning. No command multiplies matrices with it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        parser = _parser()
        if not (sys.argv[1:] if arguments is None else arguments):
            parser.print_help()
            return 0
        options = parser.parse_args(arguments)
        options.run(options)
        sys.stdout.flush()
    except UserErrors as found:
        for problem in found.problems:
            _say_error(str(problem))
        return 2
    except UserError as error:
        _say_error(str(error))
        return 2
    except (KeyboardInterrupt, Cancelled):
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever reads our output has seen enough. Python would complain about it once more while it shuts down.
        _discard_output()
    except Exception as error:  # noqa: BLE001  nobody should be met by a traceback
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            where = f" for {error.filename}" if error.filename else ""
            _say_error(f"No space{where}: {error.strerror}. Free some space, or write to another disk.")
            _discard_unwritable_output()
            return 2
        _say_error(f"something went wrong inside Tiebreak ({type(error).__name__}); details are in {_log()}")
        return 1
    return 0


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints look like every other error."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the arguments."""
        raise UserError(f"{message[:1].upper()}{message[1:]}.", f"`{self.prog} --help` says more.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m merge_core", description="Merge fine-tuned models and see where they disagree."
    )
    parser.add_argument("--version", action="version", version=f"tiebreak {__version__}")
    add = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    merge = add.add_parser("merge", help="merge a recipe's models into a new folder")
    merge.add_argument("recipe", metavar="RECIPE", help=_RECIPE)
    merge.add_argument("out", type=Path, metavar="OUT", help="the folder to make")
    _add_threads(merge)
    _add_memory(merge)
    merge.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="what computes (default: cpu; cuda needs a GPU)",
    )
    _add_stream(merge)
    merge.add_argument(
        "--probe",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="measure the merge, its base and its parents on these, and tell it on the card",
    )
    merge.set_defaults(run=merging.merge)

    inspect = add.add_parser("inspect", help="show where a recipe's models disagree, by layer")
    inspect.add_argument("recipe", metavar="RECIPE", help=_RECIPE)
    inspect.add_argument("--json", type=Path, metavar="FILE", help="write the whole report there as well")
    inspect.add_argument(
        "--html", type=Path, metavar="FILE", help="write it there as a page that needs no network"
    )
    inspect.add_argument(
        "--tensor", metavar="NAME", help="of this tensor alone, by attention heads or blocks of rows"
    )
    inspect.add_argument(
        "--elections", action="store_true", help="count who is outvoted as well; takes several times as long"
    )
    inspect.add_argument(
        "--sample-mb",
        type=_megabytes,
        metavar="N",
        help="estimate from N MB of the weights, with 95%% intervals; models on the Hub are not downloaded",
    )
    inspect.add_argument(
        "--seed", type=_seed, default=0, metavar="S", help="which weights a sample reads (default: 0)"
    )
    _add_stream(inspect)
    _add_threads(inspect)
    _add_memory(inspect)
    inspect.set_defaults(run=inspecting.inspect)

    check = add.add_parser("check", help="say whether a recipe can be merged, without reading weights")
    check.add_argument("recipe", metavar="RECIPE", help=_RECIPE)
    check.set_defaults(run=commands.check)

    cache = add.add_parser("cache", help="list or remove the models and finished runs on this machine")
    cache.add_argument(
        "--remove", nargs="+", action="extend", metavar="NAME", help="models, or runs by their id"
    )
    cache.add_argument("--json", action="store_true", help="as JSON")
    cache.set_defaults(run=commands.cache)

    probe = add.add_parser("probe", help="measure a model on probe files")
    probe.add_argument("model", metavar="MODEL", help="a folder, or a model on the Hub")
    probe.add_argument("--probe", type=Path, nargs="+", action="extend", required=True, metavar="FILE")
    probe.add_argument("--json", type=Path, metavar="FILE", help="write the scores there as well")
    probe.set_defaults(run=commands.probe)

    push = add.add_parser("push", help="upload a merged folder to the Hub")
    push.add_argument("folder", type=Path, metavar="FOLDER")
    push.add_argument("repo_id", metavar="REPO_ID", help="owner/name")
    push.add_argument("--private", action="store_true", help="make a new repository private")
    push.add_argument("--pr", action="store_true", help="open a pull request instead of committing")
    push.set_defaults(run=commands.push)

    methods = add.add_parser("methods", help="list the merge methods with their parameters")
    methods.add_argument("--json", action="store_true", help="as JSON")
    methods.set_defaults(run=commands.methods)
    return parser


def _add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=_count, metavar="N", help="default: one per core")


def _add_memory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--memory", type=_bytes, default=1 << 30, metavar="SIZE", help="most memory to use (default: 1GiB)"
    )


def _add_stream(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--stream",
        action="store_true",
        help="read models on the Hub where they lie instead of downloading them; done by itself where the disk has no "
        "room for them",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, at least 1")
    return int(text)


def _megabytes(text: str) -> int:
    """`64`, `0.5` → bytes."""
    if re.fullmatch(r"\d+(\.\d+)?", text) is None or float(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of MB, more than 0")
    return round(float(text) * 10**6)


def _seed(text: str) -> int:
    if re.fullmatch(r"\d{1,18}", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


def _bytes(text: str) -> int:
    """`512MiB`, `1.5GB`, `1000000` → bytes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]i?)?b?", text.strip().lower())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 512MiB or 2GB")
    return int(float(match[1]) * UNITS[match[2] or ""])


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _discard_unwritable_output() -> None:
    """Where it is stdout that is on the full disk, Python would fail once more while it shuts down."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard_output()


def _say_error(text: str) -> None:
    print(f"error: {plain(text)}", file=sys.stderr)


def _log() -> str:
    with tempfile.NamedTemporaryFile("w", prefix="tiebreak-", suffix=".log", delete=False) as file:
        traceback.print_exc(file=file)
    return file.name


if __name__ == "__main__":
    code = main()
    gc.freeze()  # on its way out Python looks for garbage once more, a tenth of a short merge
    sys.exit(code)
