"""A model folder as transformers opens it: from its own files alone, without code from it, on the CPU."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from merge_core.checkpoint import open_folder
from merge_core.errors import UserError
from merge_core.probe.model_view import model_view

BATCH_WORK = 4e9  # floating-point operations of one batch: a fifth of a second on a slow machine
LARGEST_BATCH = 32
ONE_THREAD = 20_000_000  # numbers; smaller models wait longer for their threads to meet than these save
LARGEST_FLOAT32 = 4 << 30  # bytes; larger models stay in the number type they are stored in
LARGEST_SIDE = 2048  # pixels that a processor may enlarge an image to
LONGEST_MESSAGE = 240  # characters of what transformers has to say
LONGEST_WINDOW = 512  # tokens; logits of more would fill memory where the vocabulary is large

VOCABULARIES = (
    ".model",
    ".spm",
    ".tiktoken",
    ".bpe",
    "vocab.json",
    "vocab.txt",
    "tokenizer.json",
    "tekken.json",
)

# What transformers raises when a folder does not fit together, or a model meets input that it is not made for.
FAILURES = (
    *(
        OSError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        RuntimeError,
        ImportError,
        ArithmeticError,
    ),
    *(SafetensorError, StrictDataclassError),
)


@dataclass(frozen=True)
class Head:
    """What a kind of probe asks of a model.

    Args:
        words: for a person.
        auto: the class of transformers that opens such models.
    """

    words: str
    auto: str


IMAGE_CLASSIFIER = Head("an image classifier", "AutoModelForImageClassification")
TEXT_CLASSIFIER = Head("a text classifier", "AutoModelForSequenceClassification")
CAUSAL_MODEL = Head("a causal language model", "AutoModelForCausalLM")


class LocalModel:
    """A model's configuration at once; tokenizer, processor and weights when first asked for.

    Args:
        folder: a model in Hugging Face form.
        check: called before every layer of the model; may raise to stop.

    Raises:
        UserError: there is no such model, or transformers does not know its kind.
    """

    def __init__(self, folder: Path, check: Callable[[], None]) -> None:
        self.name = folder.name or str(folder)
        self._check = check
        self._opened: dict[Head, Any] = {}
        # Pickles, adapters, and headers and indexes that lie are refused here, before transformers sees the folder.
        checkpoint = open_folder(folder, str(folder))
        self._view = model_view(checkpoint)
        self._numbers = sum(spec.numel for spec in checkpoint.specs.values())
        self._own_code = "auto_map" in checkpoint.config
        self.config = self._load("AutoConfig", "configuration")
        # A configuration may name attention code in a repository of anybody's.
        self.config._attn_implementation = None
        self.config._experts_implementation = None

    def check_head(self, head: Head, probe: str) -> None:
        """Raise a `UserError` unless the model says that it is what `head` asks for."""
        import transformers

        known = getattr(transformers, head.auto)._model_mapping
        fitting = known.get(type(self.config), ())
        names = {made.__name__ for made in (fitting if isinstance(fitting, tuple | list) else (fitting,))}
        said = self.config.architectures
        if not fitting or (isinstance(said, list) and said and not names & set(map(str, said))):
            found = (
                str(said[0])[:60] if isinstance(said, list) and said else f"a {self.config.model_type} model"
            )
            raise self.unfit(probe, f"it asks for {head.words}, and this is {found}")

    def check_labels(self, labels: tuple[str, ...], probe: str) -> None:
        """Raise a `UserError` unless the model knows every class."""
        known = list(self.labels.values())
        missing = [label for label in labels if label not in known]
        if missing:
            raise self.unfit(
                probe, f"it asks for the class {_listed(missing)}, and the model knows {_listed(known)}"
            )

    def unfit(self, probe: str, why: str) -> UserError:
        """The error of a model that cannot answer a probe at all."""
        return UserError(
            f"{self.name} does not fit the probe {probe}: {why}.", "Pick another probe or model."
        )

    @property
    def labels(self) -> dict[int, str]:
        """Class number → name; empty where the configuration says nothing sensible."""
        named = self.config.id2label
        return {int(number): str(name) for number, name in named.items()} if isinstance(named, dict) else {}

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        tokenizer = self._load("AutoTokenizer", "tokenizer")
        # Where the files are missing, transformers makes some tokenizers up, to which every word is unknown.
        names = [path.name for path in Path(self._view.name).iterdir()]
        if tokenizer.vocab_files_names and not any(name.endswith(VOCABULARIES) for name in names):
            raise UserError(
                f"{self.name} lacks its tokenizer: expected a file such as tokenizer.json.",
                "Copy the tokenizer's files of the model it was made from into its folder.",
            )
        return tokenizer

    @cached_property
    def processor(self) -> Any:
        """What turns an image into the model's input; its arithmetic is Pillow's on every machine."""
        processor = self._load("AutoImageProcessor", "preprocessing", backend="pil")
        sizes = [getattr(processor, key, None) for key in ("size", "crop_size", "pad_size")]
        sides = [side for size in sizes if size for side in dict(size).values() if side is not None]
        if any(not isinstance(side, int) or not 0 < side <= LARGEST_SIDE for side in sides):
            raise UserError(
                f"{self.name}: preprocessor_config.json: expected sizes from 1 to {LARGEST_SIDE} pixels, found "
                f"{self._brief(sides)}."
            )
        return processor

    def weights(self, head: Head) -> Any:
        """The model itself, ready to answer; float32 unless it is large.

        Raises:
            UserError: its weights do not fit its configuration, or a part of it was never trained.
        """
        if head not in self._opened:
            self._check()
            dtype = "float32" if 4 * self._numbers <= LARGEST_FLOAT32 else "auto"
            model, report = self._load(
                head.auto,
                "weights",
                config=self.config,
                use_safetensors=True,
                dtype=dtype,
                output_loading_info=True,
            )
            missing = sorted(map(str, report["missing_keys"]))
            if missing:
                raise UserError(
                    f"{self.name} lacks weights that {head.words} needs: {_listed(missing)}.",
                    "They would be made up. Pick a model that has them.",
                )
            for module in model.modules():
                module.register_forward_pre_hook(lambda *_: self._check())
            self._opened[head] = model.eval()
        return self._opened[head]

    @property
    def window(self) -> int:
        """How many tokens the model is given at most."""
        limits = [
            getattr(self.config, "max_position_embeddings", None),
            getattr(self.tokenizer, "model_max_length", None),
        ]
        return max(2, min([LONGEST_WINDOW, *(n for n in limits if isinstance(n, int) and n > 0)]))

    def batch(self, positions: int) -> int:
        """How many items to put into a batch. The same for everybody: batches change a result's last bits.

        Args:
            positions: tokens or patches of one item, about.
        """
        return int(max(1, min(LARGEST_BATCH, BATCH_WORK // (2 * max(self._numbers, 1) * positions))))

    @contextmanager
    def threads(self) -> Iterator[None]:
        """As many threads inside as help a model of this size.

        On two cores shared with other work, six models of 424,000 numbers took 45 s with two threads, 6 s with one.
        """
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1 if self._numbers < ONE_THREAD else before)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    @contextmanager
    def answering(self, probe: str) -> Iterator[None]:
        """What goes wrong inside is a `UserError` about the model, not a bug of ours."""
        import torch

        try:
            with torch.inference_mode():
                yield
        except FAILURES as error:
            raise UserError(f"{self.name} fails at the probe {probe}: {self._brief(error)}.") from None

    def require_finite(self, values: Any, probe: str) -> None:
        """Raise a `UserError` where the model's answer, a tensor, is not all numbers."""
        if not bool(values.isfinite().all()):
            raise UserError(
                f"{self.name} answers the probe {probe} with values that are not finite.",
                "Its weights may hold NaN or infinity, or have grown too large.",
            )

    def _load(self, auto: str, what: str, **settings: Any) -> Any:
        """Open one part of the folder by one of transformers' Auto classes."""
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        opened = getattr(transformers, auto)
        try:
            return opened.from_pretrained(
                self._view.name, local_files_only=True, trust_remote_code=False, **settings
            )
        except FAILURES as error:
            if self._own_code:
                raise UserError(
                    f"{self.name} comes with Python code of its own, which Tiebreak does not run.",
                    "Pick a model whose kind transformers knows.",
                ) from None
            raise UserError(
                f"{self.name}: transformers cannot open its {what}: {self._brief(error)}.",
                "Are all files of the model there?",
            ) from None

    def _brief(self, problem: object) -> str:
        """The beginning of a message that may run over pages and hold anything."""
        text = re.sub(r"\s+", " ", str(problem)).strip().replace(self._view.name, self.name)
        text = "".join(character for character in text if character.isprintable())
        if len(text) > LONGEST_MESSAGE:
            text = text[:LONGEST_MESSAGE] + "…"
        return text.rstrip(".") or type(problem).__name__


def _listed(names: list[str]) -> str:
    return ", ".join(name[:60] for name in names[:8]) + (
        f", … ({len(names)} in all)" if len(names) > 8 else ""
    )
