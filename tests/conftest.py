"""What holds for every test: shapes of models are checked, one thread, real data if given.

And a small random cohort, already in the store's form, and a browser to look at pages with.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from jaxtyping import config, install_import_hook
from scipy import sparse

os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a shell starts in its background is deaf to Ctrl-C, which tests wait for.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Checks every jaxtyping signature of the models at run time, in fast tests of these folders; must
# stand before they are imported.
_CHECKED = ("models", "losses", "training")
_HOOK = install_import_hook(["recart.models", "recart.losses"], "beartype.beartype")

from recart.contracts import CellBatch, SparseRows  # noqa: E402 -- after the hook
from recart.data.bags import Admission, Bags, make_bags  # noqa: E402 -- after the hook
from recart.data.store import CohortStore  # noqa: E402

_UNSET = "RECART_REAL_DATA is not set: no folder of real data"
CHROMIUM = next(
    (path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path),
    None,
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first: several workers then end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests on real data where there is none; check shapes in fast tests of models."""
    # the checks take half the time of a training: those of models and of their training suffice
    config.update(
        "jaxtyping_disable",
        item.get_closest_marker("slow") is not None or item.path.parent.name not in _CHECKED,
    )
    if item.get_closest_marker("real_data") and not os.environ.get("RECART_REAL_DATA"):
        pytest.skip(_UNSET)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data."""
    folder = os.environ.get("RECART_REAL_DATA")
    if not folder:
        pytest.skip(_UNSET)
    return Path(folder)


def _store(patients: int, cells: int, seed: int) -> CohortStore:
    rng = np.random.default_rng(seed)
    genes, proteins, receptor_dim = 40, 7, 6
    sizes = rng.integers(cells // 2, cells, size=2 * patients)
    stop = np.cumsum(sizes)
    patient = np.repeat(np.arange(patients), 2)
    sample_of_cell = np.repeat(np.arange(2 * patients), sizes)
    total = int(stop[-1])
    kind = rng.integers(0, 3, total)
    profile = rng.gamma(0.5, 1.0, (3, genes))
    protein_profile = rng.gamma(2.0, 10.0, (3, proteins))
    clones = 5 * patients
    clone = np.where(
        rng.random(total) < 0.5, 5 * patient[sample_of_cell] + rng.integers(0, 5, total), -1
    )
    receptor = rng.normal(size=(clones, receptor_dim)).astype(np.float32)
    rna = sparse.csr_matrix(rng.poisson(profile[kind]).astype(np.uint16))
    return CohortStore(
        rna=rna,
        genes=tuple(f"GENE{i}" for i in range(genes)),
        protein=rng.poisson(protein_profile[kind]).astype(np.uint16),
        proteins=tuple(f"PROT{i}" for i in range(proteins)),
        protein_measured=np.ones((2 * patients, proteins), dtype=bool),
        cells=pd.DataFrame(
            {
                "source": np.arange(total),
                "sample": sample_of_cell.astype(np.int32),
                "patient": patient[sample_of_cell].astype(np.int32),
                "clone": clone.astype(np.int32),
                "n_counts": np.asarray(rna.sum(axis=1)).ravel().astype(np.float32),
                "n_genes": np.diff(rna.indptr).astype(np.int32),
                "pct_mito": np.zeros(total, dtype=np.float32),
                "car_umi": np.zeros(total, dtype=np.int32),
            }
        ),
        samples=pd.DataFrame(
            {
                "patient": patient.astype(np.int32),
                "start": stop - sizes,
                "stop": stop,
                "has_receptor": True,
                "day": np.tile([-30.0, 30.0], patients),
                "batch": [f"B{i % 3}" for i in range(2 * patients)],
            },
            index=[f"S-{i:03d}" for i in range(2 * patients)],
        ),
        patients=pd.DataFrame(
            {"response": np.where(np.arange(patients) % 2, "R", "NR")},
            index=[f"P-{i:03d}" for i in range(patients)],
        ),
        receptor=receptor,
        clones=pd.DataFrame(
            {
                "patient": np.repeat(np.arange(patients), 5).astype(np.int32),
                "n_cells": np.bincount(clone[clone >= 0], minlength=clones),
                "has_alpha": True,
                "has_beta": True,
                "known": True,
            }
        ),
        normalised=False,
        dropped={},
    )


@pytest.fixture(scope="session")
def make_store() -> Callable[..., CohortStore]:
    """`make_store(patients=12, cells=40, seed=0)`: two samples per patient, three batches."""

    def make(patients: int = 12, cells: int = 40, seed: int = 0) -> CohortStore:
        return _store(patients, cells, seed)

    return make


@pytest.fixture(scope="session")
def make_all_bags() -> Callable[[CohortStore], Bags]:
    """One bag per patient, all samples admitted."""

    def make(store: CohortStore) -> Bags:
        labels = (store.patients["response"] == "R").astype(float)
        return make_bags(store, labels, unit="patient", admission=Admission())

    return make


@pytest.fixture
def take_member() -> Callable[[CellBatch, int], CellBatch]:
    """`take_member(batch, m)`: one member alone."""

    def take(batch: CellBatch, member: int) -> CellBatch:
        own = slice(member, member + 1)
        return replace(
            batch,
            x=SparseRows.from_dense(batch.x.dense()[own]),
            **{f.name: getattr(batch, f.name)[own] for f in fields(batch) if f.name != "x"},
        )

    return take


def _rich_bags(n: int, seed: int = 0, cells: int = 60) -> tuple[Any, np.ndarray]:
    """Bags of two time points with CAR status, markers and clones; the label moves all a little."""
    from recart.training.heads import BagLatents, Token

    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    centres = 3.0 * np.eye(3)
    tokens = [
        Token(timepoint, stage, "blood", car)
        for stage, timepoint in enumerate(("D0", "D7"))
        for car in ("-", "+")
    ]
    latents, markers, token_of_cell = [], [], []
    for label in labels:
        share = rng.dirichlet(np.array([6.0 + 4 * label, 6.0, 6.0]))
        kind = rng.choice(3, cells, p=share)
        latents.append((centres[kind] + rng.normal(0, 0.5, (cells, 3))).astype(np.float32))
        marker = rng.normal(size=(cells, 3)) + np.eye(3)[kind] + 0.5 * label
        marker[:, 2] = np.nan if rng.random() < 0.3 else marker[:, 2]
        markers.append(marker.astype(np.float32))
        token_of_cell.append(rng.integers(0, 4, cells).astype(np.int32))
    extras = rng.normal(size=(n, 2)) + 0.5 * labels[:, None]
    extras[::5, 1] = np.nan
    bags = BagLatents(
        latents=latents,
        extras=np.abs(extras),
        extra_names=["diversity", "age"],
        extra_groups=["clones", "covariates"],
        patients=np.arange(n),
        token_of_cell=token_of_cell,
        tokens=tokens,
        markers=markers,
        marker_names=["protein:CD8", "protein:CD4", "gene:GZMB"],
    )
    return bags, labels


@pytest.fixture(scope="session")
def make_rich_bags() -> Callable[..., tuple[Any, np.ndarray]]:
    """`make_rich_bags(n, seed=0, cells=60)`: bags with everything that a head can read."""
    return _rich_bags


def _new_patients(head: Any, bags: Any, rule: Any) -> Any:
    """Three patients as one member sees them: the third is refused."""
    from recart.inference.cell_pictures import CellPictures
    from recart.inference.cell_states import CellStates
    from recart.inference.explain import combine, explain_head
    from recart.inference.new_patients import NewPatients
    from recart.inference.state_drivers import state_drivers

    names = pd.Index([f"bag{n}" for n in range(3)], name="bag")
    own = replace(
        bags,
        latents=bags.latents[:3],
        extras=bags.extras[:3],
        patients=bags.patients[:3],
        token_of_cell=bags.token_of_cell[:3],
        markers=bags.markers[:3],
    )
    states = CellStates.over([state_drivers(head, rule, own, names, head)])
    drivers = combine([explain_head(head, rule, own)], names, states)
    score = drivers.summary["score"].to_numpy()
    probability = 1 / (1 + np.exp(-score))
    values, features = head.embedding(own)
    cells = sum(map(len, own.latents))
    patients = pd.DataFrame(
        {
            "n_cells": [len(z) for z in own.latents],
            "n_samples": 2,
            "probability": probability,
            "probability_min": probability * 0.8,
            "probability_max": probability + 0.2 * (1 - probability),
            "logit_mean": score,
            "logit_sd": 0.4,
            "members": 1,
            "gene_coverage": 1.0,
            "protein_coverage": [1.0, 0.8, 1.0],
            "known_batch": [True, False, True],
            "flags": ["", "proteins-missing;unseen-batch", "low-cell"],
            "set_80": ["{R}", "{NR}", ""],
            "set_90": ["{R, NR}: cannot say", "{NR}", ""],
            "refused": [False, False, True],
            "reasons": ["", "", "R-OOD-LATENT;R-FEW-CELLS"],
            "ood_cells": [0.01, 0.02, 0.64],
            "in_training": False,
            "claim_level": "L2",
        },
        index=names,
    )
    empty = ["probability", "probability_min", "probability_max", "logit_mean", "logit_sd"]
    patients.loc["bag2", empty] = np.nan
    points = [head.view.of(own, n).numpy().astype(np.float32) for n in range(3)]
    starts = np.cumsum([0, *map(len, points)])
    return NewPatients(
        latents=np.concatenate(list(own.latents)),
        reference="m0",
        patients=patients,
        embedding=pd.DataFrame(values, index=names, columns=features),
        drivers=drivers,
        pictures=CellPictures(
            points=tuple(points),
            rows=tuple(np.arange(a, b) for a, b in pairwise(starts)),
            cells=cells,
        ),
    )


@pytest.fixture(scope="session")
def rich_recipe() -> Any:
    """A small default head, to be fitted."""
    from recart.training.endpoints import BinaryEndpoint
    from recart.training.prototype_head import PrototypeHead

    return PrototypeHead(
        prototypes=5,
        fine_prototypes=9,
        shrinkage=5.0,
        cells=900,
        strengths=[0.1],
        inner_folds=3,
        use_extras=True,
        endpoint=BinaryEndpoint(column="response", positive=["CR"], negative=["PR", "SD"]),
    )


@pytest.fixture(scope="session")
def rich_head(rich_recipe: Any, make_rich_bags: Callable[..., tuple[Any, np.ndarray]]) -> Any:
    """It, fitted to 20 rich bags, their labels mixed up a little."""
    return rich_recipe.fit(*make_rich_bags(20), seed=1)


@pytest.fixture(scope="session")
def make_new_patients(
    rich_head: Any, make_rich_bags: Callable[..., tuple[Any, np.ndarray]]
) -> Callable[[], Any]:
    """`make_new_patients()`: two that are predicted by `rich_head`, and one that it refuses."""
    from recart.training.decision_rule import DecisionRule

    rule = DecisionRule(intercept=0.3, slope=0.8, calibrated=True)
    return lambda: _new_patients(rich_head, make_rich_bags(3, seed=7)[0], rule)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium of the system; nothing is downloaded."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        # Chromium's own sandbox is not to be had as root, nor in many containers
        running = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


def _look(browser: Any, report: Path, width: int, figures: int) -> list[str]:
    """What the page asked for beside itself."""
    said: list[str] = []
    asked: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())

    assert said == []
    assert asked[0] == report.as_uri()

    # closed lists are opened: what they hold must fit too
    page.evaluate("document.querySelectorAll('details').forEach(list => { list.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = """width => [...document.querySelectorAll('main *')]
        .filter(one => !one.closest('.scroll, svg'))
        .filter(one => one.getBoundingClientRect().right > width + 1)
        .map(one => one.outerHTML.slice(0, 80))"""
    assert page.evaluate(beyond, width) == []

    sizes = page.evaluate(
        """[...document.querySelectorAll('figure svg')].map(svg => {
            const outer = svg.getBoundingClientRect();
            const inner = svg.querySelector('g').getBoundingClientRect();
            return [outer.width, outer.height, inner.width, inner.height];
        })"""
    )
    assert len(sizes) == page.evaluate("document.querySelectorAll('figure').length") == figures
    assert all(side > 60 for size in sizes for side in size), sizes

    small = page.evaluate(
        """[...document.querySelectorAll('main p, main td, main dd, main li, main figcaption')]
            .filter(one => one.textContent.trim())
            .map(one => parseFloat(getComputedStyle(one).fontSize))"""
    )
    assert min(small) >= 12

    lost = page.evaluate(
        """[...document.querySelectorAll('a')].map(link => link.getAttribute('href'))
            .filter(href => !document.querySelector(href))"""
    )
    assert lost == []
    page.close()
    return asked[1:]


@pytest.fixture
def look_at_page(browser: Any) -> Callable[[Path, int, int], list[str]]:
    """`look_at_page(path, width, figures)`: quiet, drawn, it fits; what it asked for besides."""
    return partial(_look, browser)
