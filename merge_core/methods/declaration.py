"""How a merge method is declared: the signature of one function is its schema.

The first argument says which space the method works in: `tau` (task vectors, fine-tune minus base) or `theta` (the
weights themselves). Keyword-only arguments annotated with a `Field` are the method's parameters; the user interface,
the command line and the recipe checker all read them from here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

Kind = Literal["float", "int", "bool", "choice"]
Space = Literal["delta", "weight"]
Value = float | int | bool | str


@dataclass(frozen=True)
class Field:
    """What a parameter means, written in the annotation of a method's argument.

    Args:
        label: a person's words for it, at most three.
        help: one sentence.
        low, high: inclusive range of a number; None is unbounded.
        choices: the values of a choice, in display order.
        words: a person's words for each of `choices`; empty where the values say enough.
        per_model: may differ from model to model; the method then receives an array [models].
        required: a recipe must say it; there is no default that would mean what its author meant.
        required_unless: (other parameter, its values) under which a required one may be left out.
    """

    label: str
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    per_model: bool = False
    required: bool = False
    required_unless: tuple[str, tuple[str, ...]] | None = None


@dataclass(frozen=True)
class Parameter:
    """One parameter of a method, as a recipe, a command line or a control may set it. See `Field`."""

    name: str
    kind: Kind
    default: Value | None
    label: str
    help: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    words: tuple[str, ...]
    per_model: bool
    required: bool
    required_unless: tuple[str, tuple[str, ...]] | None

    @property
    def argument(self) -> str:
        """Its name in the method's signature: `lambda` is a word of Python's own."""
        return f"{self.name}_" if self.name == "lambda" else self.name

    def describe_range(self) -> str:
        """The accepted values in words, for an error or a help text."""
        if self.kind == "choice":
            return " | ".join(self.choices)
        if self.kind == "bool":
            return "true or false"
        noun = "a whole number" if self.kind == "int" else "a number"
        if self.low is not None and self.high is not None:
            return f"{noun} from {self.low:.15g} to {self.high:.15g}"
        if self.low is not None:
            return f"{noun}, at least {self.low:.15g}"
        return f"{noun}, at most {self.high:.15g}" if self.high is not None else noun

    def accepts(self, value: object) -> bool:
        """True where `value` has the right type and lies in range (a bool is no number)."""
        if self.kind == "choice":
            return value in self.choices
        if self.kind == "bool":
            return isinstance(value, bool)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if self.kind == "int" and value != int(value):
            return False
        finite = value == value and abs(value) != float("inf")
        above = self.low is None or value >= self.low
        return finite and above and (self.high is None or value <= self.high)


@dataclass(frozen=True)
class Method:
    """A merge method, made by `@method` from one function.

    Args:
        name: the recipe's `merge_method`.
        title, reference, help: for people; `help` is the function's docstring.
        space: "delta" where the function takes task vectors (a base model is needed), "weight" where it takes weights.
        parameters: what a recipe may set, in the order of the signature.
        function: the declared function.
        trim: settings → how each task vector is trimmed before `function` sees it; None for methods that never trim.
        resolve: settings → the same with a value for every parameter that neither the recipe nor a default gives one.
        draws: whether `function` draws at random, and so takes a `drawing.Draw`.
    """

    name: str
    title: str
    reference: str
    help: str
    space: Space
    parameters: tuple[Parameter, ...]
    function: Callable[..., Any]
    trim: Callable[..., Any] | None
    resolve: Callable[[dict[str, Any]], dict[str, Any]]
    draws: bool

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of that name, or None."""
        return next((p for p in self.parameters if p.name == name), None)

    def unsaid(self, name: str, said: Mapping[str, Any]) -> Any:
        """What the parameter called `name` is where a recipe says nothing of it, and `said` of the others."""
        settings = {
            p.argument: p.default if p.name == name else said.get(p.name, p.default) for p in self.parameters
        }
        wanted = self.parameter(name)
        return None if wanted is None else self.resolve(settings)[wanted.argument]


def method(
    *,
    title: str,
    reference: str,
    trim: Callable[..., Any] | None = None,
    resolve: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> Callable[[Callable[..., Any]], Method]:
    """Declare the decorated function as a merge method; keyword-only arguments with a `Field` are its parameters."""

    def declare(function: Callable[..., Any]) -> Method:
        signature = inspect.signature(function)
        hints = get_type_hints(function, include_extras=True)
        first = next(iter(signature.parameters))
        parameters = tuple(
            _parameter(p.name, hints[p.name], p.default)
            for p in signature.parameters.values()
            if p.kind is p.KEYWORD_ONLY and _annotated(hints[p.name])
        )
        return Method(
            name=function.__name__,
            title=title,
            reference=reference,
            help=inspect.getdoc(function) or "",
            space="delta" if first == "tau" else "weight",
            parameters=parameters,
            function=function,
            trim=trim,
            resolve=resolve,
            draws="draw" in signature.parameters,
        )

    return declare


def _annotated(hint: Any) -> tuple[Any, Field] | None:
    """(type, Field) of `Annotated[type, Field]` or of `Annotated[type, Field] | None`; None of any other hint."""
    if get_origin(hint) is Annotated:
        return next(((get_args(hint)[0], a) for a in get_args(hint)[1:] if isinstance(a, Field)), None)
    return next((found for part in get_args(hint) if (found := _annotated(part))), None)


def _parameter(name: str, hint: Any, default: Any) -> Parameter:
    annotated = _annotated(hint)
    assert annotated is not None, f"{name}: not annotated with a Field"
    base, field = annotated
    kinds: dict[Any, Kind] = {bool: "bool", int: "int", str: "choice"}
    return Parameter(
        name=name.rstrip("_"),  # `lambda_` stands for the recipe's `lambda`
        kind=kinds.get(base, "float"),
        default=None if default is inspect.Parameter.empty else default,
        label=field.label,
        help=field.help,
        low=field.low,
        high=field.high,
        choices=field.choices,
        words=field.words or field.choices,
        per_model=field.per_model,
        required=field.required,
        required_unless=field.required_unless,
    )
