"""A cohort of FCS files alone, trained and evaluated: cells have proteins, and no RNA."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from recart.config.compose import compose
from recart.evaluation.launch import evaluate_run
from recart.inference import launch
from recart.inference.launch import embed_run
from recart.training.launch import train_run
from recart.training.run_directory import RunDirectory

flowio = pytest.importorskip("flowio", reason="the extra cytometry is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

MARKERS = ["CD3", "CD4", "CD8", "CD19", "CD45RA", "CD62L", "CD279", "CD25"]
# on the arcsinh scale, of three populations
LEVELS = np.array([[3, 1, 3, 0, 1, 2, 2, 0], [3, 3, 0, 0, 2, 3, 1, 1], [0, 0, 0, 3, 2, 1, 0, 0]])


def _write(folder: Path, patients: int, cells: int) -> Path:
    """Responders have more cells of the first population; the sheet."""
    rng = np.random.default_rng(0)
    rows = ["sample,patient,timepoint,day,batch,fcs,response"]
    for p in range(patients):
        responds = p % 2
        kind = rng.choice(3, cells, p=rng.dirichlet([8 + 20 * responds, 8, 6]))
        signal = np.maximum(LEVELS[kind] + rng.normal(0, 0.4, (cells, len(MARKERS))), -0.3)
        events = np.column_stack([rng.uniform(1e3, 5e3, cells), 150 * np.sinh(signal)])
        with (folder / f"{p}.fcs").open("wb") as stream:
            flowio.create_fcs(
                stream,
                events.astype(np.float32).flatten().tolist(),
                ["FSC-A", *(f"D{i}-A" for i in range(len(MARKERS)))],
                opt_channel_names=["", *MARKERS],
            )
        rows.append(f"S{p},P{p},D0,0,B{p % 3},{p}.fcs,{'R' if responds else 'NR'}")
    (folder / "sheet.csv").write_text("\n".join(rows) + "\n")
    return folder / "sheet.csv"


def _gates(folder: Path, sheet: Path) -> list[str]:
    """Settings of a gate that only the first population is in; the first patient has no file."""
    header, _, *rows = sheet.read_text().splitlines()
    (folder / "gated.csv").write_text("\n".join([header, *rows]) + "\n")
    table = ["gate,parent,channel,low,high", "T cells,,CD3,1.5,", "cytotoxic,T cells,CD8,1.5,"]
    (folder / "gates.csv").write_text("\n".join(table) + "\n")
    return [
        "data/gates=fcs",
        f"data.gates.sheet={folder / 'gated.csv'}",
        f"data.gates.table={folder / 'gates.csv'}",
        "data.covariates=['gate:T cells','gate:cytotoxic']",
    ]


def test_a_cohort_without_genes_runs_to_its_claim_with_its_gates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet = _write(tmp_path, patients=24, cells=60)
    config = compose(
        [
            "data=fcs",
            f"data.path={sheet}",
            *_gates(tmp_path, sheet),
            "data.endpoint=response",
            "data.decision_day=0",
            "data.reader.unit=20",
            "data.limits.min_cells=10",
            "data/receptors=none",
            "data.folds.k=3",
            "data.folds.repeats=1",
            "training.epochs=4",
            "training.warmup_epochs=2",
            "model.hidden=16",
            "model.latent=4",
            "head.prototypes=4",
            "head.fine_prototypes=0",
            "head.inner_folds=2",
            "executor=in_process",
            "logger=csv",
            "callbacks={}",
            f"paths.run={tmp_path / 'run'}",
            f"paths.prepared={tmp_path / 'prepared'}",
        ]
    )
    assert np.isfinite(train_run(config))
    found = evaluate_run(RunDirectory.open(tmp_path / "run"))
    store = found.cohort.store
    assert (len(store.genes), len(store.proteins)) == (0, 8)
    # the gate's share is that of the population among the two that have CD3, of whose file it is
    gates, label = found.cohort.extras.filter(like="gate:"), found.cohort.bags.table["label"]
    assert list(gates) == ["gate:T cells", "gate:cytotoxic"]
    assert gates.isna().all(axis=1).sum() == 1
    known = gates["gate:cytotoxic"].notna()
    assert roc_auc_score(label[known], gates["gate:cytotoxic"][known]) > 0.7
    for member in found.members:
        assert member.head.chosen["shares"]["covariates"] > 0
        named = {f"covariates:gate:cytotoxic{kind}" for kind in ("", ":log", ":missing")}
        assert named <= set(member.head.chosen["features"])
    last = found.members[0].history[-1]
    assert last["train_rna"] == 0
    assert last["train_protein"] < found.members[0].history[0]["train_protein"]
    auroc = found.assessment.model.metrics.auroc
    assert auroc is not None
    assert auroc > 0.7
    # rivals read proteins too: fractions of clusters are what tells responders here
    rivals = {own.name: own.metrics.auroc for own in found.assessment.baselines}
    assert rivals["composition"] is not None
    assert rivals["composition"] > 0.7
    assert rivals["pseudobulk"] is not None
    assert rivals["pseudobulk"] > 0.7
    # new patients without gates are told so, and so is who has no sample from before the decision
    new = (tmp_path / "sheet.csv").read_text().splitlines()[:4]
    new[3] = new[3].replace("D0,0,", "D30,30,")
    (tmp_path / "new.csv").write_text("\n".join(new) + "\n")
    told: list[str] = []
    monkeypatch.setattr(launch, "say", told.append)
    embedded = embed_run(
        compose(
            [
                f"run={tmp_path / 'run'}",
                "data=fcs",
                f"data.path={tmp_path / 'new.csv'}",
                "data.reader.unit=20",
                "data.limits.min_cells=10",
                f"output={tmp_path / 'new.h5ad'}",
            ],
            "embed",
        )
    )
    assert list(embedded.patients.index) == ["P0", "P1"]
    assert embedded.patients["flags"].str.contains("covariates-missing").all()
    lines = "\n".join(told)
    assert "the new data lack 2 covariates that the model reads: gate:T cells" in lines
    assert "warning: 1 patients have no row" in lines
