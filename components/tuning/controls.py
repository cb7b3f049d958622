"""One control for each parameter a merge method declares: which kind, with what words, over which range."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components import wording
from components.choice import Choice
from merge_core.methods import METHODS, Parameter

# Shown under "More settings": they refine what the others say. A new method's own parameters stand in front.
SECOND_ROW = ("normalize", "rescale", "dialect", "combine", "seed")
LAST = "lambda"  # what happens to the result after all else
IN_PERCENT = ("density",)
FEW = 3  # choices that stand side by side; more go into a list, with their explanation


class Slider(gr.Slider):
    """A slider whose number box may be typed into: what lies past an end counts as the end, and is no error."""

    def get_block_name(self) -> str:
        """What the browser draws."""
        return "slider"

    def preprocess(self, payload: float) -> float:
        """The number that is meant."""
        return super().preprocess(min(max(payload, self.minimum), self.maximum))


@dataclass(frozen=True)
class Control:
    """How one parameter is shown.

    Args:
        parameter: the declaration, from the first method that has it.
        methods: the methods that take it.
    """

    parameter: Parameter
    methods: tuple[str, ...]

    @property
    def name(self) -> str:
        """The recipe's key."""
        return self.parameter.name

    @property
    def in_front(self) -> bool:
        """False for what "More settings" holds."""
        return self.name not in SECOND_ROW

    @property
    def is_slider(self) -> bool:
        """True for a number between two ends."""
        parameter = self.parameter
        return parameter.kind == "float" and parameter.low is not None and parameter.high is not None

    def to_view(self, value: Any) -> Any:
        """A recipe's value as the control shows it."""
        if value is None:
            value = self.parameter.default
        if self.parameter.kind == "choice":
            return self.parameter.choices[0] if value is None else value
        if self.parameter.kind == "bool":
            return bool(value)
        if value is None:
            value = 1.0
        return round(100 * float(value), 4) if self.name in IN_PERCENT else value

    def spelled(self, value: Any) -> str:
        """A recipe's value in a sentence."""
        if not isinstance(value, float):
            return str(value)
        return (
            f"{wording.number(100 * value)}{wording.NARROW}%"
            if self.name in IN_PERCENT
            else wording.number(value)
        )

    def from_view(self, shown: Any) -> Any:
        """What the control shows as a recipe's value."""
        if self.name in IN_PERCENT and shown is not None:
            return round(float(shown) / 100, 6)
        return shown

    def build(self, value: Any) -> gr.components.Component:
        """The Gradio component, showing a recipe's value."""
        parameter = self.parameter
        shared: dict[str, Any] = {
            "label": self.label(),
            "value": self.to_view(value),
            "elem_id": self.name,
            "elem_classes": ["tb-control"],
            "interactive": True,
        }
        if parameter.kind == "bool":
            return gr.Checkbox(info=parameter.help, **shared)
        if parameter.kind == "choice":
            if not self.is_list:
                return gr.Radio(self.choices(), **{**shared, "elem_classes": ["tb-control", "tb-seg"]})
            return Choice(
                elem_id=self.name, elem_classes=["tb-control"], value=shared["value"], **self.listed()
            )
        if not self.is_slider:
            return gr.Number(precision=0 if parameter.kind == "int" else None, **shared)
        low, high = self.range(shared["value"])
        step = 1 if self.name in IN_PERCENT else 0.05 if high - low > 1 else 0.01
        return Slider(low, high, step=step, buttons=[], **shared)

    def label(self, method: str | None = None) -> str:
        """The parameter's words, which may differ from method to method, with its unit."""
        declared = METHODS[method].parameter(self.name) if method else None
        words = (declared or self.parameter).label
        return f"{words} (%)" if self.name in IN_PERCENT else words

    def range(self, shown: float) -> tuple[float, float]:
        """Ends of the slider: the declared range, or the usual part of a wide one, holding `shown`."""
        low, high = float(self.parameter.low or 0), float(self.parameter.high or 1)
        if self.name in IN_PERCENT:
            return 1, 100
        if high - low > 4:
            low, high = max(low, 0.0), min(high, 2.0)
        return min(low, shown), max(high, shown)

    def listed(self, method: str | None = None) -> dict[str, Any]:
        """What a list of its choices says, when it is built and in each update."""
        return {"choices": self.choices(), "words": self.label(method)}

    @property
    def is_list(self) -> bool:
        """True for a choice among many."""
        return self.parameter.kind == "choice" and len(self.choices()) > FEW

    def choices(self) -> list[tuple[str, str]]:
        """(words, value) of a choice."""
        return list(zip(self.parameter.words, self.parameter.choices, strict=True))


def declared_controls(methods: Iterable[Any] = METHODS.values()) -> tuple[Control, ...]:
    """Every parameter of every method once, in the order first declared; weights stand with their models."""
    parameters: dict[str, Parameter] = {}
    takers: dict[str, list[str]] = {}
    for method in methods:
        for parameter in method.parameters:
            if parameter.name == "weight":
                continue
            parameters.setdefault(parameter.name, parameter)
            takers.setdefault(parameter.name, []).append(method.name)
    controls = [Control(parameter, tuple(takers[name])) for name, parameter in parameters.items()]
    return tuple(sorted(controls, key=lambda control: control.name == LAST))
