"""Runs recipes through mergekit, in an environment that has it: `python run_mergekit.py RECIPE OUT [RECIPE OUT]…`."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import MergeOptions, run_merge

for recipe, out in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
    configuration = MergeConfiguration.model_validate(yaml.safe_load(Path(recipe).read_text()))
    run_merge(configuration, out, MergeOptions(copy_tokenizer=False, write_model_card=False))
