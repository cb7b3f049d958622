"""Where each tensor stands in the map: one row per layer, one column per module, in the order data flows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from merge_core.network.data_flow import precedes_layers, role_of
from merge_core.network.layers import Place, locate

# A picture with more is no picture; what is beyond goes into one last row or column.
MOST_ROWS = 160
MOST_COLUMNS = 36
MOST_OUTSIDE = 16
EASILY_READ = 20  # columns; above this, numbered parts of a layer share a column
OTHER = "other"

_PARAMETER = re.compile(r"(weight|bias|g_idx|scales?|gamma|beta)", re.IGNORECASE)
_EXPERTS = re.compile(r"experts?", re.IGNORECASE)

_VAGUE = re.compile(
    r"(projection|proj|dense|layer_?norm|norm|weight|linear|out_proj|embedding|kernel)", re.IGNORECASE
)
_PLAIN_STACK = re.compile(r"(layers?|blocks?|block|h|model|transformer|module)", re.IGNORECASE)
_FIRST_STACK = re.compile(r"enc|vis|image|audio")
_LAST_STACK = re.compile(r"dec|lm|text|language")


@dataclass(frozen=True)
class Row:
    """One layer of one stack. `layer` is None for the row that holds all layers beyond `MOST_ROWS`."""

    stack: str
    layer: int | None
    label: str


@dataclass(frozen=True)
class Column:
    """One module. `module` is the rest of the tensors' names after the layer, without weight and bias."""

    module: str
    label: str


@dataclass(frozen=True)
class Cell:
    """What one rectangle stands for.

    Args:
        row, column: indices; -1 for what lies outside the layers.
        stack, layer, module: where it is, as events name it.
        tensors: indices into the names given to `arrange`.
    """

    row: int
    column: int
    stack: str
    layer: int | None
    module: str
    tensors: tuple[int, ...]

    @property
    def key(self) -> str:
        """Its name in events and addresses; the same in every map that has it."""
        return f"{self.stack}:{'' if self.layer is None else self.layer}:{self.module}"


@dataclass(frozen=True)
class Arrangement:
    """The map without its numbers.

    Args:
        cells: those of the grid, then `before`, then `after`.
        before, after: (label, index of its cell) of what data passes before and after the layers.
    """

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    cells: tuple[Cell, ...]
    before: tuple[tuple[str, int], ...]
    after: tuple[tuple[str, int], ...]


def arrange(names: Sequence[str]) -> Arrangement:
    """The map of the tensors called `names`, which may be any text."""
    places = [locate(name) for name in names]
    inside = [i for i, place in enumerate(places) if place.layer is not None]
    outside = [i for i, place in enumerate(places) if place.layer is None]
    rows = _rows([places[i] for i in inside])
    modules = _modules([places[i] for i in inside])
    columns = _columns(list(modules.values()))
    at_row = {(row.stack, row.layer): number for number, row in enumerate(rows)}
    at_column = {column.module: number for number, column in enumerate(columns)}
    found: dict[tuple[int, int], list[int]] = {}
    for i in inside:
        place = places[i]
        row = at_row.get((place.stack, place.layer), len(rows) - 1)
        column = at_column.get(modules[place.module], len(columns) - 1)
        found.setdefault((row, column), []).append(i)
    cells = [
        Cell(r, c, rows[r].stack, rows[r].layer, columns[c].module, tuple(found[r, c]))
        for r, c in sorted(found)
    ]
    before, after = _outside(names, outside, cells)
    return Arrangement(rows, columns, tuple(cells), before, after)


def row_titles(rows: Sequence[Row]) -> list[str]:
    """Every row as a sentence names it: "layer 3", or "decoder, layer 3" where there are several stacks."""
    words: dict[str, str] = {}
    for row in rows:  # the first row of a stack carries its word
        words.setdefault(row.stack, row.label.removesuffix(f" {row.layer}"))
    alone = len(words) == 1
    return [
        "more layers"
        if row.layer is None
        else f"layer {row.layer}"
        if alone
        else f"{words[row.stack]}, layer {row.layer}"
        for row in rows
    ]


def _rows(places: Sequence[Place]) -> tuple[Row, ...]:
    stacks = sorted(dict.fromkeys(p.stack for p in places), key=_stack_order)
    words = _stack_words(stacks)
    keys = sorted({(stacks.index(p.stack), p.layer or 0) for p in places})
    rows = []
    for number, (stack, layer) in enumerate(keys):
        first = number == 0 or keys[number - 1][0] != stack
        said = (words[stack] or "layer") if first else ""
        rows.append(Row(stacks[stack], layer, f"{said} {layer}".strip()))
    if len(rows) > MOST_ROWS:
        rows = [*rows[: MOST_ROWS - 1], Row(OTHER, None, "more")]
    return tuple(rows)


def _stack_order(stack: str) -> int:
    lower = stack.lower()
    return 0 if _FIRST_STACK.search(lower) else 2 if _LAST_STACK.search(lower) else 1


def _stack_words(stacks: Sequence[str]) -> list[str]:
    """What tells stacks apart, in a word each; "" where there is only one."""
    if len(stacks) < 2:
        return [""]
    parts = [[p for p in stack.split(".") if not _PLAIN_STACK.fullmatch(p)] for stack in stacks]
    common = {part for part in parts[0] if all(part in other for other in parts)}
    words = [".".join(p for p in own if p not in common) for own in parts]
    return words if len(set(words)) == len(words) and all(words) else list(stacks)


def _modules(places: Sequence[Place]) -> dict[str, str]:
    """Module of a tensor → the module its column stands for."""
    unique = list(dict.fromkeys(place.module for place in places))
    kept = {module: _bare(module, numbers=True) for module in unique}
    if len(set(kept.values())) > EASILY_READ:
        kept = {module: _bare(module, numbers=False) for module in unique}
    # Modules of one role that never stand in one layer share a column: T5 numbers the parts of its layers, and its
    # decoder has one more.
    layers: dict[str, set[tuple[str, int | None]]] = {}
    for place in places:
        layers.setdefault(kept[place.module], set()).add((place.stack, place.layer))
    first: dict[str, str] = {}
    stands_for = {}
    for module, found in layers.items():
        role = role_of(module)[1] or module
        leader = first.setdefault(role, module)
        if leader != module and layers[leader].isdisjoint(found):
            layers[leader] |= found
            stands_for[module] = leader
    return {module: stands_for.get(bare, bare) for module, bare in kept.items()}


def _bare(module: str, *, numbers: bool) -> str:
    """The module without weight and bias, the numbers of its experts, and all numbers unless `numbers`."""
    parts = module.split(".")
    if len(parts) > 1 and _PARAMETER.fullmatch(parts[-1]):
        parts = parts[:-1]
    return (
        ".".join(
            part
            for place, part in enumerate(parts)
            if not part.isdigit() or (numbers and not (place and _EXPERTS.fullmatch(parts[place - 1])))
        )
        or module
    )


def _columns(modules: Sequence[str]) -> tuple[Column, ...]:
    unique = list(dict.fromkeys(modules))
    flow = {module: (*role_of(module), place) for place, module in enumerate(unique)}
    ordered = sorted(unique, key=lambda module: (flow[module][0], flow[module][2]))
    if len(ordered) > MOST_COLUMNS:
        ordered = [*ordered[: MOST_COLUMNS - 1], OTHER]
    labels = _distinct(ordered, [flow[m][1] if m in flow else OTHER for m in ordered])
    return tuple(Column(module, label) for module, label in zip(ordered, labels, strict=True))


def _distinct(modules: Sequence[str], labels: Sequence[str]) -> list[str]:
    """A label for each module, no two alike: the one given, else its last words, else all of it."""
    short = [label or _last_words(module) for module, label in zip(modules, labels, strict=True)]
    return [
        label if short.count(label) == 1 else module for module, label in zip(modules, short, strict=True)
    ]


def _last_words(module: str) -> str:
    parts = module.split(".")
    if len(parts) > 1 and _VAGUE.fullmatch(parts[-1]):
        return ".".join(parts[-2:])
    return parts[-1]


def _outside(
    names: Sequence[str], outside: Sequence[int], cells: list[Cell]
) -> tuple[tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]:
    """What lies before and after the layers; appends its cells to `cells`."""
    modules: dict[str, list[int]] = {}
    for i in outside:
        modules.setdefault(_bare(names[i], numbers=True), []).append(i)
    sides = [
        [m for m in modules if precedes_layers(m)],
        sorted((m for m in modules if not precedes_layers(m)), key=lambda m: "norm" not in m.lower()),
    ]
    made = []
    for side in sides:
        kept = side if len(side) <= MOST_OUTSIDE else [*side[: MOST_OUTSIDE - 1], OTHER]
        labels = _distinct(kept, ["" if m in modules else OTHER for m in kept])
        strip = []
        for module, label in zip(kept, labels, strict=True):
            rest = [m for m in side if m not in kept]
            tensors = modules[module] if module in modules else [i for m in rest for i in modules[m]]
            strip.append((label, len(cells)))
            cells.append(Cell(-1, -1, "", None, module, tuple(tensors)))
        made.append(tuple(strip))
    return made[0], made[1]
