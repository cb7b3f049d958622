"""Probes: small sets of held-out items in a text file, and how each kind of model answers them.

A probe is a JSONL file in UTF-8: one JSON object a line, the first of which says what the others are. Empty lines
are passed over. Nothing outside the file is read.

First line, the header:
    probe    the name it is shown by, at most 60 characters; required
    kind     one of the kinds below; required
    labels   the classes that occur, as the model's `id2label` spells them; required for both classifications
    about    one sentence on the items: what they are, where they come from; optional

Every other line is an item, and has exactly these keys:
    image-classification       image: a PNG as base64, at most 2048 × 2048 pixels; label: its class
    text-classification        text; label: its class
    multiple-choice            context: may be empty; choices: two or more texts that follow it; answer: the place of
                               the right one, from 0
    causal-language-modelling  text

An example of each kind of item:
    {"image": "iVBORw0KGgo…", "label": "sandal"}
    {"text": "A fine film.", "label": "positive"}
    {"context": "The sky is", "choices": [" blue.", " flat."], "answer": 0}
    {"text": "It is a truth universally acknowledged, …"}

What is measured is said by each kind's class. Accuracies come with Wilson's 95 % interval, bits per byte with that of
a ratio of sums; both are intervals over items like these.
"""

from merge_core.probe.probe_set import ProbeResult, ProbeSet
from merge_core.probe.reading import load_probe
from merge_core.probe.running import check_probes, run_probe

__all__ = ["ProbeResult", "ProbeSet", "check_probes", "load_probe", "run_probe"]
