"""The map, its controls and what stands beneath it on a page of their own, fed with a report made for the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np

from components import page as pages
from components import theme
from components.interference import conflict_map, drilldown
from components.interference.inspecting import MapState
from components.tuning import tuner
from components.tuning.editing import Draft
from merge_core.interference import InterferenceReport, ModelNorm, PairAgreement, TensorInterference
from merge_core.interference.report import TensorElections
from merge_core.network.layers import locate
from merge_core.recipe import read_recipe

RECIPE = """
merge_method: ties
base_model: ./base
models:
  - {model: ./shoes, parameters: {weight: 1.0}}
  - {model: ./tops, parameters: {weight: 1.0}}
  - {model: ./digits, parameters: {weight: 1.0}}
parameters: {density: 0.2}
"""
MODELS = ("./shoes", "./tops", "./digits")


def made_up_report(
    names: list[str], *, seed: int = 0, entries: int = 4000, elections: bool = False
) -> InterferenceReport:
    """A report of tensors called `names`, counted on random task vectors whose agreement differs by tensor.

    Args:
        elections: with each model's part in it.
    """
    rng = np.random.default_rng(seed)
    densities = np.arange(1, 101) / 100
    tensors = []
    for name in names:
        common = rng.normal(size=entries) * rng.uniform(0, 1.2)
        tau = common + rng.normal(size=(len(MODELS), entries))
        rank = (np.argsort(np.argsort(-np.abs(tau), axis=1), axis=1) + 1) / entries
        kept = rank[None] <= densities[:, None, None]  # [densities, models, entries]
        survivors = kept.sum(1)
        both = (kept & (tau > 0)).any(1) & (kept & (tau < 0)).any(1)
        layer, module, stack = locate(name)
        tensors.append(
            TensorInterference(
                name,
                layer,
                module,
                stack,
                entries,
                tuple((survivors >= 1).sum(1).tolist()),
                tuple((survivors >= 2).sum(1).tolist()),
                tuple(both.sum(1).tolist()),
                **(_by_model(tau, rank) if elections else {}),
            )
        )
    pairs = tuple(
        PairAgreement(a, b, 0.041 - 0.02 * i, 0.512 - 0.01 * i)
        for i, (a, b) in enumerate([MODELS[:2], MODELS[::2], MODELS[1:]])
    )
    norms = tuple(ModelNorm(m, 3.0 * (1 + 2.1 * i), 0.012 * (1 + 2.1 * i)) for i, m in enumerate(MODELS))
    return InterferenceReport(MODELS, tuple(densities.tolist()), tuple(tensors), pairs, norms)


def _by_model(tau: Any, rank: Any) -> dict[str, Any]:
    """What a tensor's report says of single models."""
    vectors = tau.astype(np.float32)
    models = len(vectors)
    pairs = [(a, b) for a in range(models) for b in range(a + 1, models)]
    return {
        "energy": tuple(float((v.astype(float) ** 2).sum()) for v in vectors),
        "base_energy": 9.0 * vectors.shape[1],
        "inner": tuple(float((vectors[a] * vectors[b]).sum()) for a, b in pairs),
        "same": tuple(int((vectors[a] * vectors[b] > 0).sum()) for a, b in pairs),
        "both": tuple(vectors.shape[1] for _ in pairs),
        "elections": _elections(vectors, rank),
    }


def _elections(tau: Any, rank: Any) -> TensorElections:
    """Who survives and who is outvoted at every fifth density, by its definition."""
    size = np.abs(tau)
    kept = [np.where(rank <= share, tau, 0) for share in np.arange(5, 101, 5) / 100 + 1e-9]

    lost = [np.where(k * np.where(k.sum(0) >= 0, 1, -1) < 0, size, 0).sum(1) for k in kept]

    exponents = np.floor(np.log2(size)).astype(int)
    lowest = int(exponents.min())
    bins = np.arange(lowest, exponents.max() + 2)
    return TensorElections(
        election="mass",
        kept=_rows(np.transpose([(k != 0).sum(1) for k in kept])),
        kept_mass=_rows(np.transpose([np.abs(k).sum(1) for k in kept])),
        kept_energy=_rows(np.transpose([(k**2).sum(1) for k in kept])),
        outvoted=_rows(np.transpose(lost)),
        lowest=lowest,
        magnitudes=_rows(np.array([np.histogram(e, bins)[0] for e in exponents])),
    )


def _rows(values: Any) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(row) for row in values.tolist())


def sampled_from(report: InterferenceReport) -> InterferenceReport:
    """The report as if its counts were estimates from a tenth of the weights, some of them poor ones."""

    def bounds(tensor: TensorInterference, number: int) -> dict[str, Any]:
        wide = 0.6 if number % 5 == 0 else 0.1
        found: dict[str, Any] = {}
        for name in ("touched", "contested", "conflicted"):
            counts = getattr(tensor, name)
            found[f"{name}_low"] = tuple(int(count * (1 - wide)) for count in counts)
            found[f"{name}_high"] = tuple(min(tensor.numel, int(count * (1 + wide)) + 1) for count in counts)
        for name in ("touched", "contested"):
            rates = [
                part / max(whole, 1)
                for part, whole in zip(tensor.conflicted, getattr(tensor, name), strict=True)
            ]
            found[f"of_{name}_low"] = tuple(rate * (1 - wide) for rate in rates)
            found[f"of_{name}_high"] = tuple(min(1.0, rate * (1 + wide)) for rate in rates)
        return found

    tensors = tuple(
        replace(tensor, sampled=tensor.numel // 10, **bounds(tensor, number))
        for number, tensor in enumerate(report.tensors)
    )
    pairs = tuple(
        replace(p, cosine_low=-0.1, cosine_high=0.2, sign_agreement_low=0.4, sign_agreement_high=0.6)
        for p in report.pairs
    )
    norms = tuple(
        replace(
            n,
            norm_low=n.norm * 0.9,
            norm_high=n.norm * 1.1,
            relative_low=None if n.relative is None else n.relative * 0.9,
            relative_high=None if n.relative is None else n.relative * 1.1,
        )
        for n in report.norms
    )
    return replace(report, tensors=tensors, pairs=pairs, norms=norms)


def map_page(state: Callable[[], MapState]) -> gr.Blocks:
    """A page that shows what `state` answers when it is opened."""
    draft = Draft.of(read_recipe(RECIPE))

    def answer(held: Draft) -> tuple[Any, Any]:
        now = state()
        asked = {"names": tuple(t.name for t in now.report.tensors)} if now.report is not None else {}
        return conflict_map.shown(now, held, asked), asked

    with gr.Blocks(title="Map", analytics_enabled=False, fill_width=True) as demo:
        page = pages.build(draft)
        with gr.Row(elem_classes=["tb-page"]):
            with gr.Column(elem_classes=["tb-left"]), gr.Column(elem_classes=["tb-panel"]):
                tuned = tuner.build(page, draft.recipe)
                undo = gr.Button("Undo", elem_id="tb-undo")
            with gr.Column(elem_classes=["tb-middle"]):
                the_map = conflict_map.build()
                conflict_map.follow(the_map, page, tuned)
                drilldown.build()
        shared = [page.draft, page.past, page.redraw]
        undo.click(pages.undone, shared, [*shared, page.notice], **pages.CHANGE)
        said = gr.Textbox(elem_id="draft")  # what the server holds, for tests to read
        page.draft.change(lambda held: held.text, page.draft, said, **pages.QUICK)
        the_map.download(lambda: "download", None, said, **pages.QUICK)

        the_map.elections(lambda: "elections", None, said, **pages.QUICK)

        def sample(event: gr.EventData) -> str:
            return f"sample {event.mb}"

        the_map.sample(sample, None, said, **pages.QUICK)
        renew = gr.Button("Renew", elem_id="renew")
        asked = gr.State({})
        conflict_map.edit(the_map, page, asked)
        page.draft.change(
            lambda held, names: conflict_map.shown(None, held, names),
            [page.draft, asked],
            the_map,
            **pages.QUICK,
        )
        renew.click(lambda held: answer(held), page.draft, [the_map, asked], **pages.QUICK)
        demo.load(
            lambda held, redraws: (*answer(held), redraws + 1),
            [page.draft, page.redraw],
            [the_map, asked, page.redraw],
            **pages.CHANGE,
        )
    return demo


@contextmanager
def served(state: Callable[[], MapState]) -> Iterator[str]:
    """The address of such a page while it is served from this process."""
    demo = map_page(state)
    settings: dict[str, Any] = {
        "theme": theme.theme(),
        "head": theme.head(),
        "footer_links": [],
        "ssr_mode": False,
    }
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True, **settings)
    try:
        yield address
    finally:
        demo.close()
