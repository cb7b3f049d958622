"""Tiny real models with random weights, in folders that transformers opens."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTForImageClassification,
)

CORPUS = [
    "The sky is blue and the sea is deep.",
    "A cat sat on the mat; a dog ran to the door.",
    "naïve café",
]


def tokenizer(**special: str) -> PreTrainedTokenizerFast:
    """Byte-level BPE, so that every text can be spelled."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=list(special.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, **special)


def gpt2(folder: Path, positions: int = 64, **special: str) -> Path:
    """A GPT-2 whose tokenizer has an end-of-text token unless said otherwise."""
    spelled = tokenizer(**(special or {"eos_token": "<|endoftext|>"}))
    torch.manual_seed(1)
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": positions}
    # Ten times the usual spread: otherwise a random model is as good as a uniform one, and errors go unseen.
    config = GPT2Config(vocab_size=len(spelled), initializer_range=0.2, **sizes)
    GPT2LMHeadModel(config).save_pretrained(folder)
    spelled.save_pretrained(folder)
    return folder


def llama(folder: Path, positions: int = 64) -> Path:
    """A Llama whose tokenizer has a begin-of-text token."""
    spelled = tokenizer(bos_token="<s>", eos_token="</s>")
    torch.manual_seed(2)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(
        vocab_size=len(spelled), max_position_embeddings=positions, initializer_range=0.3, **sizes
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    spelled.save_pretrained(folder)
    return folder


def bert(folder: Path, labels: Sequence[str] = ("good", "bad", "neither")) -> Path:
    """A classifier of texts."""
    spelled = tokenizer(pad_token="<pad>", eos_token="</s>")
    torch.manual_seed(3)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(
        vocab_size=len(spelled),
        pad_token_id=spelled.pad_token_id,
        max_position_embeddings=40,
        initializer_range=0.5,
        id2label=dict(enumerate(labels)),
        label2id={label: place for place, label in enumerate(labels)},
        **sizes,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    spelled.save_pretrained(folder)
    return folder


def vit(folder: Path, labels: Sequence[str] = ("sandal", "sneaker", "bag"), channels: int = 1) -> Path:
    """A classifier of images, 8 × 8 pixels, that tells its classes apart."""
    torch.manual_seed(4)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = ViTConfig(
        image_size=8,
        patch_size=4,
        num_channels=channels,
        initializer_range=0.5,
        id2label=dict(enumerate(labels)),
        label2id={label: place for place, label in enumerate(labels)},
        **sizes,
    )
    ViTForImageClassification(config).save_pretrained(folder)
    preprocessing = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 8, "width": 8},
        "image_mean": [0.5] * channels,
        "image_std": [0.5] * channels,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return folder


def change_config(folder: Path, **changes: Any) -> Path:
    """The same folder with other values in its config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


def png(pixels: np.ndarray) -> str:
    """A PNG of uint8 pixels, as base64."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def write_probe(path: Path, header: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> Path:
    """A probe file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in (header, *items)))
    return path
