"""`python -m tests.benchmarks`: Tiebreak, mergekit and the floor on the same files, in alternation.

Prints a Markdown table of medians and ratios; a full run also puts it between the README's benchmark marks.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks import rivals
from tests.benchmarks.measure import Run, middle, run

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".bench"
NEEDED = {"15M": 1, "125M": 6, "1.1B": 16}  # GB of disk for models and outputs


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Args:
        size, dtype: of the made-up checkpoints.
        method, parameters: the recipe's.
        rounds: how often each contender runs; mergekit at most `mergekit` times, because it takes so long.
        command: of Tiebreak.
    """

    size: str
    dtype: str
    method: str
    parameters: dict[str, object] = field(default_factory=dict)
    rounds: int = 5
    mergekit: int = 0
    command: str = "merge"

    @property
    def title(self) -> str:
        """What the first column says."""
        what = (
            "inspect, TIES" if self.command == "inspect" else {"ties": "TIES"}.get(self.method, self.method)
        )
        if "dialect" in self.parameters:
            what += f", {self.parameters['dialect']} dialect"
        elif self.parameters.get("trim_scope") == "model":
            what += ", whole-model trim"
        return f"{what}, {self.size} {self.dtype}"


DENSITY: dict[str, object] = {"density": 0.2}
WHOLE: dict[str, object] = {**DENSITY, "trim_scope": "model"}
CASES = (
    Case("15M", "bfloat16", "ties", DENSITY),
    Case("125M", "bfloat16", "ties", DENSITY, mergekit=3),
    Case("125M", "bfloat16", "ties", WHOLE),
    Case("125M", "bfloat16", "ties", DENSITY, command="inspect", rounds=3),
    Case("125M", "float32", "ties", DENSITY, mergekit=1),
    Case("125M", "float32", "task_arithmetic"),
    Case("1.1B", "bfloat16", "ties", DENSITY, rounds=3, mergekit=1),
    Case("1.1B", "bfloat16", "ties", WHOLE, rounds=3),
    Case("1.1B", "bfloat16", "ties", {**DENSITY, "dialect": "paper"}, rounds=3),
    Case("1.1B", "bfloat16", "linear", rounds=3),
    Case("1.1B", "bfloat16", "task_arithmetic", rounds=3),
    Case("1.1B", "bfloat16", "ties", DENSITY, command="inspect", rounds=3),
)
QUICK = (
    Case("15M", "bfloat16", "ties", DENSITY, rounds=3, mergekit=1),
    Case("125M", "bfloat16", "ties", DENSITY, rounds=3),
)
HEAD = (
    "| three fine-tunes of one base | Tiebreak | CPU | peak | mergekit | CPU | peak | faster | floor | of the floor |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small models, one round of mergekit")
    parser.add_argument("--only", metavar="TEXT", default="", help="only the lines whose title contains TEXT")
    parser.add_argument(
        "--models", type=Path, help="keep the made-up models there; else they are thrown away"
    )
    options = parser.parse_args()
    cases = [case for case in (QUICK if options.quick else CASES) if options.only in case.title]
    program = rivals.mergekit(CACHE) if any(case.mergekit for case in cases) else None
    lines = [HEAD]
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=CACHE
    ) as scratch:  # beside the checkout: /tmp may be a small one in memory
        models = options.models or Path(scratch) / "models"
        for line in _lines(cases, program, models, Path(scratch), keep=options.models is not None):
            print(line, file=sys.stderr)
            lines.append(line)
    table = "\n".join(lines)
    print(table)
    if not options.quick and not options.only:
        _put_into_readme(table)


def _lines(cases: list[Case], program: Path | None, models: Path, scratch: Path, keep: bool) -> Iterator[str]:
    previous: Path | None = None
    for case in cases:
        folder = models / f"{case.size}-{case.dtype}"
        if previous not in (None, folder) and not keep:
            shutil.rmtree(previous)
        previous = folder
        free = shutil.disk_usage(scratch).free
        if not folder.exists() and free < NEEDED[case.size] * 10**9:
            print(f"left out {case.title}: it needs {NEEDED[case.size]} GB of disk", file=sys.stderr)
            previous = None
            continue
        yield _measure(case, _generate(folder, case), program, scratch)


def _generate(folder: Path, case: Case) -> list[Path]:
    """The base and its fine-tunes, made by a process of its own: a child's peak memory counts its parent's in."""
    maker = [sys.executable, "-m", "tests.benchmarks.checkpoints", str(folder), case.size, case.dtype]
    subprocess.run(maker, check=True, cwd=ROOT)
    return [folder / "base", *sorted(folder.glob("tuned-*"))]


def _measure(case: Case, models: list[Path], program: Path | None, scratch: Path) -> str:
    recipe = scratch / "recipe.yml"
    recipe.write_text(rivals.recipe(models, case.method, case.dtype, case.parameters))
    out, log = scratch / "out", scratch / "log"
    own = (
        rivals.tiebreak("inspect", recipe)
        if case.command == "inspect"
        else rivals.tiebreak("merge", recipe, str(out))
    )
    os.environ["TIEBREAK_HOME"] = str(scratch / "home")
    ours: list[Run] = []
    theirs: list[Run] = []
    least: list[Run] = []
    run(rivals.floor(models, out), log)  # so that every contender finds the files in the system's cache
    for number in range(case.rounds):
        for command, runs, wanted in (
            (own, ours, True),
            (rivals.floor(models, out), least, True),
            ([str(program), str(recipe), str(out)], theirs, program is not None and number < case.mergekit),
        ):
            shutil.rmtree(out, ignore_errors=True)
            shutil.rmtree(scratch / "home", ignore_errors=True)  # nothing measured before may help
            if wanted:
                runs.append(run(command, log))
    shutil.rmtree(out, ignore_errors=True)
    return _line(case.title, middle(ours), middle(theirs) if theirs else None, middle(least))


def _line(title: str, ours: Run, theirs: Run | None, least: Run) -> str:
    cells = [title, *_cells(ours), *(_cells(theirs) if theirs else ("", "", ""))]
    cells.append(f"**{theirs.wall / ours.wall:.1f} ×**" if theirs else "")
    cells += [f"{least.wall:.2f} s", f"{ours.wall / least.wall:.1f} ×"]
    return f"| {' | '.join(cells)} |"


def _cells(run: Run) -> tuple[str, str, str]:
    return f"{run.wall:.2f} s", f"{run.cpu:.1f} s", f"{run.peak / 1e6:,.0f} MB"


def _put_into_readme(table: str) -> None:
    readme = ROOT / "README.md"
    text = readme.read_text() if readme.exists() else ""
    begin, end = "<!-- benchmark -->", "<!-- /benchmark -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if pattern.search(text):
        readme.write_text(pattern.sub(lambda _: f"{begin}\n{table}\n{end}", text))


if __name__ == "__main__":
    main()
