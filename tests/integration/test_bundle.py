"""A bundle: the same predictions without run and cohort, nobody named, nothing changed unseen."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import recart
from recart.config.compose import compose, config_folder
from recart.data.checks import Limits
from recart.data.cohort import Cohort
from recart.evaluation.audit.audit import Audit
from recart.evaluation.audit.finding import Finding, Severity
from recart.evaluation.launch import Evaluated
from recart.inference.bundle.manifest import MANIFEST, seal
from recart.inference.bundle.read import read_bundle
from recart.inference.bundle.write import write_bundle
from recart.inference.launch import embed_run
from recart.inference.outputs.differential_expression import differential_expression
from recart.inference.outputs.predictive_check import posterior_predictive_check
from recart.problems import InputError
from recart.training.member_configuration import OWN_VALUES
from recart.training.run_directory import RunDirectory

pytestmark = [pytest.mark.slow]

LEAK = Finding(
    check="identity",
    code="A-ID-001",
    severity=Severity.LEAK,
    what="P-0123456789 and P-abcdefabcd are one donor",
    mend="put them into one block",
)

STOPPED = Finding(
    check="targets",
    code="A-AUDIT-001",
    severity=Severity.UNKNOWN,
    what="the check stopped with ValueError; what it was to find is not known",
    mend="mend what stopped it, or report it",
)


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_of_the_run_in_a_browser(
    look_at_page: Callable[[Path, int, int], list[str]],
    evaluated: Evaluated,
    run: RunDirectory,
    width: int,
) -> None:
    """With what only a run has: maps of its cells, its training, the evidence of its audit."""
    drawn = {path.stem for path in run.figures.glob("*.png")}
    assert {"training", "latent_dimensions", "cells_by_patient", "cells_by_outcome"} <= drawn
    assert any(one.evidence for one in evaluated.audit.findings)
    assert look_at_page(run.report, width, len(drawn)) == []


@pytest.fixture
def new_file(place: Any, new_patients: Cohort) -> Path:
    """New patients as a file."""
    path: Path = place.write(new_patients, "new.h5mu")
    return path


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A bundle that may be changed."""
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def embed(output: Path, data: Path, **model: Path) -> pd.DataFrame:
    settings = [f"{key}={path}" for key, path in model.items()]
    settings += [f"data.path={data}", f"output={output}", "data.limits.min_cells=5"]
    return embed_run(compose(settings, entry="embed")).patients


# what a machine of a clinic does: no run, no cohort, no key, no network
ELSEWHERE = """
import socket, sys

class Closed(socket.socket):
    def __new__(cls, *args, **kwargs):
        raise OSError("a network was asked for")

socket.socket = Closed
socket.create_connection = socket.getaddrinfo = Closed
from recart.config.compose import compose
from recart.inference.launch import embed_run

embed_run(compose(sys.argv[1:], entry="embed"))
"""


def test_elsewhere_it_predicts_the_same_to_the_bit(
    bundle: Path, run: RunDirectory, place: Any, new_file: Path, tmp_path: Path
) -> None:
    of_run = embed(tmp_path / "run.h5mu", new_file, run=run.path)
    data = Path(shutil.copy(new_file, tmp_path / "new.h5mu"))
    gone = [place.folder, run.path.parent]
    hidden = [path.with_name(f"{path.name}-hidden") for path in gone]
    settings = [f"bundle={bundle}", f"data.path={data}", "data.limits.min_cells=5"]
    for path, other in zip(gone, hidden, strict=True):
        path.rename(other)
    try:
        done = subprocess.run(
            [sys.executable, "-c", ELSEWHERE, *settings, f"output={tmp_path / 'bundle.h5mu'}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        for path, other in zip(gone, hidden, strict=True):
            other.rename(path)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("predictions", "patients"):
        one, other = (
            pd.read_parquet(tmp_path / f"{of}.{name}.parquet") for of in ("run", "bundle")
        )
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert of_run["probability"].notna().all()
    assert of_run["set_80"].str.startswith("{").all()
    with h5py.File(tmp_path / "run.h5mu") as one, h5py.File(tmp_path / "bundle.h5mu") as other:
        latents = one["mod/rna/obsm/X_recart"][...]
        assert latents.tobytes() == other["mod/rna/obsm/X_recart"][...].tobytes()
        told = {key: value[()].decode() for key, value in other["uns/recart"].items()}
    assert told["bundle"] == json.loads((bundle / MANIFEST).read_text())["sha256"][:16]
    assert re.fullmatch(r"L[0-4]", told["claim_level"])


# what an installation for a bundle has: packages of its list, what these need, and no others
INSTALLED = """
import importlib.metadata, re, sys, warnings

bundle, data, output, *wanted = sys.argv[1:]
pages = {"hydra-core", "jinja2", "matplotlib", "umap-learn"}  # which recart.load does without
warnings.simplefilter("ignore")

def plain(name):
    return re.sub(r"[-_.]+", "-", re.split(r"[ ;<>=!~(\\[]", name)[0]).lower()

there = {plain(own.metadata["Name"]): own for own in importlib.metadata.distributions()}
tops = importlib.metadata.packages_distributions()

def missing_without(left):
    kept = {"recart"}
    while left:
        name = left.pop()
        if name in there and name not in kept:
            kept.add(name)
            left += [plain(own) for own in there[name].requires or () if "extra ==" not in own]
    return {top for top, names in tops.items() if not kept & set(map(plain, names))}

class Installed:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *more):
        return None if name.split(".")[0] in missing else self.finder.find_spec(name, *more)

    def __getattr__(self, name):
        return getattr(self.finder, name)

assert pages < set(wanted)
missing = missing_without([name for name in wanted if name not in pages])
sys.meta_path[:] = map(Installed, sys.meta_path)
trainers = {"lightning", "scvi", "scanpy", "wandb", "optuna", "tensorboard", "torchmetrics"}
assert trainers | {"hydra", "sklearn", "umap", "matplotlib"} < missing
import mudata, recart

model = recart.load(bundle)
read = model.read(mudata.read_h5mu(data))
told = model.predict(read)
assert len(model.embed(read)) and len(model.explain(read).groups)
assert model.outputs(read).get_protein_foreground_probability([0]).shape[0] == 1
assert not missing & {name.split(".")[0] for name in sys.modules}
missing = missing_without(list(wanted))
assert trainers < missing
from recart.config.compose import compose
from recart.inference.launch import embed_new
from recart.report.patient_files import write_patient_files

settings = [f"bundle={bundle}", f"data.path={data}", f"output={output}"]
embedded = embed_new(compose(settings, entry="embed"))
assert embedded.new.patients.equals(told)
assert len(write_patient_files(embedded, ["json", "html", "fhir"])) == 3 * len(told)
assert not missing & {name.split(".")[0] for name in sys.modules}
"""


def test_a_bundle_takes_the_packages_of_its_list_and_no_others(
    bundle: Path, new_file: Path, tmp_path: Path
) -> None:
    """As installed with `--no-deps` beside `bundle-requirements.txt`: nothing that trains."""
    listed = (config_folder().parent / "bundle-requirements.txt").read_text().splitlines()
    names = [line for line in listed if line and not line.startswith("#")]
    arguments = [str(bundle), str(new_file), str(tmp_path / "out.h5mu"), *names]
    done = subprocess.run(
        [sys.executable, "-c", INSTALLED, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_one_changed_byte_of_any_file_is_refused_by_name(copy: Path) -> None:
    read_bundle(copy)
    rng = np.random.default_rng(0)
    for path in files(copy):
        whole = path.read_bytes()
        changed = bytearray(whole)
        changed[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(changed))
        with pytest.raises(InputError) as caught:
            recart.load(copy)
        named = [(own.code, own.file) for own in caught.value.problems]
        assert named == [("E-BUNDLE-003", path.relative_to(copy).as_posix())]
        path.write_bytes(whole)
    read_bundle(copy)


def test_who_was_in_training_is_recognised_and_gets_no_prediction(
    bundle: Path, place: Any, tmp_path: Path
) -> None:
    """Without an id or a pseudonym in the bundle."""
    table = embed(tmp_path / "known.h5mu", place.cohort, bundle=bundle)
    assert table["in_training"].all()
    assert table["probability"].isna().all()
    assert (table["reasons"] == "R-TRAINING").all()


def secrets(place: Any, run: RunDirectory, trained: Path) -> Iterator[bytes]:
    """What must stand nowhere: ids, pseudonyms, names of places, of the machine and its user."""
    yield from (own.encode() for own in place.secrets)
    split = json.loads(run.split.read_text())
    yield from {own.encode() for fold in split["folds"] for own in fold["held_out"]}
    prepared = place.folder / "prepared"
    for table in prepared.glob("*.ids.csv"):
        ids = pd.read_csv(table)
        yield from (str(own).encode() for own in [*ids["pseudonym"], *ids["id"]])
    yield (prepared / "pseudonym.key").read_bytes().strip()
    yield from (str(own).encode() for own in (place.folder, run.path, trained, "cohort.h5mu"))


def test_nobody_and_no_place_is_named_in_any_byte(
    bundle: Path, run: RunDirectory, place: Any, trained: Path
) -> None:
    names = sorted(set(secrets(place, run, trained)))
    assert len(names) > 2 * 16 + 2 * 32  # patients and samples, ids and pseudonyms
    machine = [re.escape(own.encode()) for own in (getpass.getuser(), socket.gethostname())]
    of_machine = re.compile(rb"\b(" + b"|".join(machine) + rb")\b")
    with h5py.File(place.cohort) as file:
        obs = file["mod/rna/obs"]
        sequences = {
            own
            for name in obs
            if name.endswith("cdr3")
            for own in obs[name]["categories" if "categories" in obs[name] else ()][...]
        }
    assert len(sequences) > 100
    told = files(bundle)
    assert {path.suffix for path in told} == {".json", ".md", ".png", ".safetensors"}
    for path in told:
        content = path.read_bytes()
        assert not [name for name in names if name in content], path.name
        assert not set(re.findall(rb"[A-Z]{6,}", content)) & sequences, path.name
        if path.suffix in (".json", ".md"):
            assert not of_machine.search(content), path.name


def test_it_holds_no_cells_no_clones_and_nothing_that_runs(
    bundle: Path, evaluated: Evaluated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch, "load")  # no file could be unpickled
    own = read_bundle(bundle)
    tensors = load_file(bundle / "weights.safetensors")
    assert len(tensors) > 50
    store = evaluated.cohort.store
    # a number for each cell, of all or of those that a member was trained on, or for each clone
    split, bags = evaluated.split, evaluated.cohort.bags
    trained = [len(bags.cells(bags.of_patients(own.train))) for own in split.folds]
    counts = {len(store.cells), len(store.clones), *trained}
    assert min(counts) > 300  # no dimension of this small model
    for name, tensor in tensors.items():
        assert not counts & set(tensor.shape), name
    numbers: dict[str, str] = {}
    for member, of_run in zip(own.members, evaluated.members, strict=True):
        assert member.features.spec.patients == ()
        assert not member.held_out
        assert not member.fitted_on
        batches = of_run.features.spec.batches, member.features.spec.batches
        for name, number in zip(*batches, strict=True):  # the same number in all members
            assert numbers.setdefault(name, number) == number
        assert member.features.spec.genes == of_run.features.spec.genes
        assert member.rule == of_run.rule
        for key, weight in of_run.stack.state_dict().items():
            assert torch.equal(member.stack.state_dict()[key], weight)
    assert set(numbers.values()) == {f"training batch {i}" for i in range(len(numbers))}
    # patients are stored in order of their ids: rows in that order would say whose score is whose
    sets = own.trust["sets"] if own.trust else {}
    assert len(sets["logits"]) == 16
    assert (sets["logits"].diff() >= 0).all()


def test_a_leak_is_refused_unless_forced_and_then_marked_everywhere(
    evaluated: Evaluated, run: RunDirectory, new_file: Path, tmp_path: Path
) -> None:
    leaking = replace(evaluated, audit=Audit(findings=(*evaluated.audit.findings, LEAK)))
    part = [own for own in evaluated.audit.findings if own.check != "targets"]
    for own, code in (
        (leaking, "E-BUNDLE-008.*A-ID-001"),
        (replace(evaluated, audit=Audit()), "009"),
        (replace(evaluated, audit=Audit(findings=(*part, STOPPED))), "E-BUNDLE-012.*A-AUDIT-001"),
        (replace(evaluated, audit=Audit(findings=tuple(part))), "E-BUNDLE-013.*targets"),
    ):
        with pytest.raises(InputError, match=f"{code}.*bundle_force=true"):
            write_bundle(own, run, tmp_path / "forced", force=False)
        assert list(tmp_path.iterdir()) == []
    forced = tmp_path / "forced"
    write_bundle(leaking, run, forced, force=True)
    for name in ("claim.json", "model_card.md", "USE.md", MANIFEST):
        assert (
            "FORCED: this model was given away although its audit found a leak (A-ID-001)"
            in (forced / name).read_text()
        )
    with pytest.warns(UserWarning, match="FORCED"):
        model = recart.load(forced)
    assert "FORCED" in repr(model)
    assert model.watermark_.startswith("FORCED")
    output = tmp_path / "marked.h5mu"
    table = embed(output, new_file, bundle=forced)
    assert table["watermark"].str.startswith("FORCED").all()
    for path in tmp_path.glob("marked.*.csv"):
        rows = path.read_text().splitlines()
        assert all("FORCED" in row for row in rows[1:]), path.name
    with h5py.File(output) as file:
        assert file["mod/rna/uns/recart/watermark"][()].decode().startswith("FORCED")


def test_a_bundle_that_names_other_classes_is_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    manifest = json.loads((copy / MANIFEST).read_text())
    about = {key: manifest[key] for key in ("recart", "member_layout", "watermark", "use")}
    inner = config["inference"]
    inner["data"]["receptors"] = {"_target_": "recart.data.readers.h5ad.H5adReader", "path": "x"}
    (copy / "config.json").write_text(json.dumps(config))
    seal(copy, about)
    with pytest.raises(InputError, match=r"E-BUNDLE-010.*H5adReader"):
        read_bundle(copy)


def test_members_with_settings_of_their_own_keep_them(
    evaluated: Evaluated, run: RunDirectory, tmp_path: Path
) -> None:
    """As a sweep that chooses inside each fold leaves them."""
    first, *others = (member.name for member in evaluated.members)
    (run.path / OWN_VALUES).write_text(json.dumps({first: {"head.inner_folds": 7}}))
    try:
        write_bundle(evaluated, run, tmp_path / "own", force=False)
    finally:
        (run.path / OWN_VALUES).unlink()
    found = {own.name: own.recipe for own in read_bundle(tmp_path / "own").members}
    assert found[first].inner_folds == 7
    assert {found[name].inner_folds for name in others} == {2}


def test_members_of_another_layout_are_refused_with_their_version(copy: Path) -> None:
    seal(copy, {"recart": "0.0.9", "member_layout": 2, "watermark": None})
    with pytest.raises(InputError, match=r"E-BUNDLE-002.*layout 2.*read it with recart 0\.0\.9"):
        read_bundle(copy)


def test_in_memory_it_gives_the_outputs_that_embed_writes(
    bundle: Path, new_file: Path, tmp_path: Path
) -> None:
    import mudata

    asked = ["denoised_rna", "denoised_protein", "protein_foreground_prob"]
    settings = [f"bundle={bundle}", f"data.path={new_file}", "data.limits.min_cells=5"]
    settings += [f"output={tmp_path / 'out.h5mu'}", f"outputs=[{','.join(asked)}]", "reports=[]"]
    embed_run(compose(settings, entry="embed"))
    model = recart.load(bundle)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mudata's notes on what it reads
        written = mudata.read_h5mu(tmp_path / "out.h5mu")["rna"]
        data = mudata.read_h5mu(new_file)
    outputs = model.outputs(data)
    rna, protein = outputs.get_normalized_expression(library_size=1e4)
    foreground = outputs.get_protein_foreground_probability()
    assert sorted(rna.index) == sorted(data.obs_names)
    assert list(rna.index) != list(data.obs_names)  # by patient, and inside samples shuffled
    of_file = pd.DataFrame(
        written[:, list(rna.columns)].layers["denoised_rna"].toarray(), index=written.obs_names
    )
    expected = [of_file, *(written.obsm[name] for name in asked[1:])]
    for own, other in zip((rna, protein, foreground), expected, strict=True):
        np.testing.assert_allclose(own.reindex(written.obs_names), other, rtol=1e-4, atol=1e-6)
    batch = outputs.batches[0]
    elsewhere, _ = outputs.get_normalized_expression(transform_batch=batch, library_size=1e4)
    assert not np.allclose(elsewhere, rna)
    found = differential_expression(outputs, groupby="timepoint", n_samples_overall=60)
    features = len(outputs.genes) + len(outputs.proteins)
    assert found["comparison"].value_counts().to_dict() == {
        f"{name} vs Rest": features for name in ("post", "pre")
    }
    assert len(posterior_predictive_check(outputs, np.arange(20), n_samples=1)) == features


def test_what_the_readme_does_with_a_bundle_runs(
    bundle: Path, new_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mudata

    readme = (config_folder().parent / "README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    monkeypatch.chdir(tmp_path)
    Path("released").symlink_to(bundle)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mudata's notes on what it reads
        names: dict[str, Any] = {"mudata": mudata.read_h5mu(new_file)}
        for block in blocks:
            exec(compile(block, "README.md", "exec"), names)
    denoised = names["mudata"]["rna"].obsm["denoised"]
    assert denoised.shape == names["protein"].shape
    assert denoised.notna().all(axis=None)


def test_in_memory_it_says_what_embed_says(bundle: Path, new_file: Path, tmp_path: Path) -> None:
    import mudata

    table = embed(tmp_path / "out.h5mu", new_file, bundle=bundle)
    with h5py.File(tmp_path / "out.h5mu") as file:
        latents = file["mod/rna/obsm/X_recart"][...]
    model = recart.load(bundle)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mudata's notes on what it reads
        data = mudata.read_h5mu(new_file)
    data["rna"].obs["text"] = np.array(["a"] * data["rna"].n_obs, dtype=object)
    before = data["rna"].obs.dtypes.copy(), data["rna"].X.sum()
    pd.testing.assert_frame_equal(model.predict(data), table, check_exact=True)
    own = model.embed(data)
    assert own.to_numpy(np.float32).tobytes() == latents.tobytes()
    assert list(own.index) == list(data.obs_names)
    drivers = model.explain(data)
    told = table["logit_mean"].dropna()
    np.testing.assert_allclose(drivers.summary["score"][told.index], told, atol=1e-9)
    assert before[0].equals(data["rna"].obs.dtypes)
    assert before[1] == data["rna"].X.sum()
    rna = data["rna"]
    rna.obsm["protein"] = pd.DataFrame(
        data["prot"].X, index=rna.obs_names, columns=data["prot"].var_names
    )
    pd.testing.assert_frame_equal(model.predict(rna), table, check_exact=True)
    with pytest.raises(InputError, match=r"DataFrame, neither MuData nor AnnData"):
        model.predict(rna.obs)
    strict = Limits(min_cells=10_000)
    with pytest.raises(InputError, match=r"E-LIB-003 file=memory .*all 10 samples are failed"):
        model.read(rna, limits=strict)
    rna.X = rna.X.astype(np.float32)
    rna.X.data[0] = -1.0
    with pytest.raises(InputError, match=r"file=memory"):
        model.predict(rna)


def test_in_memory_names_may_repeat_and_tables_hold_what_no_file_takes(
    bundle: Path, new_file: Path
) -> None:
    import mudata

    model = recart.load(bundle)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mudata's notes on what it reads
        data = mudata.read_h5mu(new_file)["rna"]
    predicted, embedded = model.predict(data), model.embed(data)
    rows = np.arange(data.n_obs)
    data.obs["doublet"] = np.where(rows % 3 == 0, None, rows % 2 == 0)
    data.obs["drawn"] = pd.Timestamp("2024-05-01")
    data.obs["age_group"] = pd.cut(rows % 90, 3)
    data.obs["score"] = pd.Series([1, 2.5, None], dtype=object).reindex(rows % 3).to_numpy()
    data.var["variable"] = np.where(np.arange(data.n_vars) % 2, True, None)
    data.uns["fitted"] = object()
    data.obs_names = data.obs.groupby("sample", observed=True).cumcount().map("cell{}".format)
    assert not data.obs_names.is_unique
    pd.testing.assert_frame_equal(model.predict(data), predicted, check_exact=True)
    own = model.embed(data)
    assert list(own.index) == list(data.obs_names)
    np.testing.assert_array_equal(own.to_numpy(), embedded.to_numpy())
    assert data.obs["doublet"].dtype == object
    assert type(data.uns["fitted"]) is object
