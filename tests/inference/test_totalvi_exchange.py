"""A TOTALVI as a starting encoder and a member as a TOTALVI: the same latent means either way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recart.data.features import FeatureChoice, Features, bind
from recart.data.store import CohortStore
from recart.inference.scvi.export_totalvi import as_totalvi, check_exportable, panel_warning
from recart.inference.scvi.import_totalvi import convert
from recart.models.encoder import JointEncoder
from recart.models.product_of_experts import ProductOfExperts
from recart.models.rna import NegativeBinomial, Normal, ZeroInflated
from recart.models.rna_likelihood import RnaLikelihood
from recart.models.totalvi import Sizes, TotalVI, TotalVIStack
from recart.problems import InputError
from recart.training.encoding import encode
from recart.training.pretrained import PretrainedEncoder

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

MakeStore = Callable[..., CohortStore]
RECIPE = TotalVI(4, 16, JointEncoder(2), 1)


def _features(store: CohortStore) -> Features:
    cells = np.arange(len(store.cells))
    return FeatureChoice(n_genes=30, exclude=(), prior_cells=20).fit(store, cells, 0)


def _stack(features: Features, recipe: TotalVI, seed: int) -> TotalVIStack:
    spec = features.spec
    sizes = Sizes(
        genes=len(spec.genes),
        proteins=len(spec.proteins),
        receptor=spec.receptor_dim,
        batches=(len(spec.batches),),
    )
    stack = recipe.stack(sizes, [seed])
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    stack.set_batch_prior(0, torch.from_numpy(features.batch_share))
    stack.set_levels(
        0,
        torch.from_numpy(features.levels.gene_weight),
        torch.from_numpy(features.levels.protein_weight),
    )
    return stack.eval()


@pytest.fixture(scope="module")
def no_receptors() -> Callable[[CohortStore], CohortStore]:
    """A cohort of RNA and protein alone."""

    def take(store: CohortStore) -> CohortStore:
        return replace(store, receptor=None, clones=None)

    return take


def _latents(stack: TotalVIStack, features: Features, store: CohortStore) -> np.ndarray:
    return encode(stack, bind(features, store), store, [slice(0, len(store.cells))])


def _cells(store: CohortStore, features: Features) -> Any:
    """The store's cells as scvi-tools takes them, batches by their number."""
    import anndata

    column = [store.genes.index(name) for name in features.spec.genes]
    adata = anndata.AnnData(store.rna[:, column].toarray().astype(np.float32))
    adata.var_names = list(features.spec.genes)
    protein = np.asarray(store.protein, dtype=np.float32)
    adata.obsm["protein"] = pd.DataFrame(
        protein, index=adata.obs_names, columns=list(store.proteins)
    )
    batch = bind(features, store).batch_of_sample[store.cells["sample"].to_numpy()]
    adata.obs["batch"] = pd.Categorical(batch.astype(str))
    return adata


@pytest.mark.parametrize(
    "rna", [NegativeBinomial(), ZeroInflated(per_batch=True)], ids=["nb", "zinb-per-batch"]
)
@pytest.mark.parametrize("batches", [1, 3])
def test_an_exported_member_gives_the_same_latent_means(
    make_store: MakeStore,
    no_receptors: Callable[[CohortStore], CohortStore],
    rna: RnaLikelihood,
    batches: int,
    tmp_path: Path,
) -> None:
    import scvi

    store = no_receptors(make_store(patients=3, cells=60))
    names = [f"SECRET{i % batches}" for i in range(len(store.samples))]
    store = replace(store, samples=store.samples.assign(batch=names))
    features = _features(store)
    assert len(features.spec.batches) == batches
    stack = _stack(features, replace(RECIPE, rna=rna), 1)
    as_totalvi(features, stack).save(tmp_path / "totalvi", save_anndata=False)
    adata = _cells(store, features)
    model = scvi.model.TOTALVI.load(tmp_path / "totalvi", adata=adata)
    theirs = model.get_latent_representation(give_mean=True)
    ours = _latents(stack, features, store)
    assert np.abs(ours).max() > 0.5
    np.testing.assert_allclose(theirs, ours, atol=1e-4)
    saved = (tmp_path / "totalvi" / "model.pt").read_bytes()
    assert not any(name in saved for name in (b"P-000", b"S-000", b"SECRET"))


def test_partial_panels_are_warned_of_since_totalvi_reads_them_in_another_way(
    make_store: MakeStore, no_receptors: Callable[[CohortStore], CohortStore]
) -> None:
    store = no_receptors(make_store(patients=3, cells=60))
    features = _features(store)
    assert panel_warning(features, store) == ""
    assert "not known" in panel_warning(features, None)
    measured, protein = store.protein_measured.copy(), np.array(store.protein)
    measured[0, :3] = False  # a sample of the first patient
    lacks = store.cells["sample"].to_numpy() == 0
    protein[lacks, :3] = 0
    partial = replace(store, protein_measured=measured, protein=protein)
    assert panel_warning(features, partial).startswith("1 of 6 samples of training lack")
    others = replace(features, spec=replace(features.spec, patients=("P-001", "P-002")))
    assert panel_warning(others, partial) == ""
    # what it warns of is so, and of no other cells
    stack = _stack(features, RECIPE, 1)
    model = as_totalvi(features, stack)
    adata = _cells(partial, features)
    theirs = model.get_latent_representation(adata, give_mean=True)
    difference = np.abs(theirs - _latents(stack, features, partial)).max(axis=1)
    assert difference[~lacks].max() < 1e-4
    assert np.median(difference[lacks]) > 1e-3


def _totalvi(adata: Any, **more: Any) -> Any:
    import scvi

    torch.manual_seed(0)
    scvi.model.TOTALVI.setup_anndata(
        adata, protein_expression_obsm_key="protein", batch_key="batch"
    )
    settings = {"use_layer_norm": "both", "use_batch_norm": "none", **more}
    model = scvi.model.TOTALVI(
        adata, n_latent=4, n_hidden=16, n_layers_encoder=2, n_layers_decoder=1, **settings
    )
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter += 0.2 * torch.randn(parameter.shape)
    model.is_trained_ = True
    model.module.eval()
    return model


def test_an_imported_totalvi_gives_the_same_latent_means(
    make_store: MakeStore,
    no_receptors: Callable[[CohortStore], CohortStore],
    tmp_path: Path,
) -> None:
    """In a process of its own, of which tensors and names of features go on, and nothing else."""
    store = no_receptors(make_store(patients=3, cells=60))
    store = replace(store, samples=store.samples.assign(batch="SECRETBATCH"))
    features = _features(store)
    adata = _cells(store, features)
    adata.obs["batch"] = pd.Categorical(["SECRETBATCH"] * adata.n_obs)
    order = np.random.default_rng(0).permutation(adata.n_vars)[:-4]  # and knows fewer genes
    model = _totalvi(adata[:, order].copy())
    model.save(tmp_path / "totalvi", save_anndata=True)
    output = tmp_path / "start.safetensors"
    command = [sys.executable, "-m", "recart.inference.scvi.import_totalvi"]
    done = subprocess.run(
        [*command, str(tmp_path / "totalvi"), str(output)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert b"SECRETBATCH" not in output.read_bytes()

    known = set(adata.var_names[order])
    part = replace(
        store,
        rna=store.rna[:, [g for g, name in enumerate(store.genes) if name in known]],
        genes=tuple(name for name in store.genes if name in known),
    )
    of_part = _features(part)
    stack = RECIPE.stack(
        Sizes(genes=26, proteins=len(store.proteins), receptor=0, batches=(1,)), [3]
    )
    PretrainedEncoder(pretrained=str(output)).apply(stack, 0, of_part)
    ours = _latents(stack, of_part, part)
    np.testing.assert_allclose(model.get_latent_representation(give_mean=True), ours, atol=1e-4)
    assert np.abs(ours).max() > 0.5


def test_what_recart_does_not_compute_is_refused_by_name(
    make_store: MakeStore,
    no_receptors: Callable[[CohortStore], CohortStore],
    tmp_path: Path,
) -> None:
    store = no_receptors(make_store(patients=2, cells=40))
    features = _features(store)
    model = _totalvi(_cells(store, features), use_batch_norm="both", latent_distribution="ln")
    model.save(tmp_path / "usual")
    with pytest.raises(InputError) as error:
        convert(tmp_path / "usual", tmp_path / "out.safetensors")
    text = str(error.value)
    assert "use_batch_norm='none'" in text
    assert "latent_distribution='normal'" in text
    assert not (tmp_path / "out.safetensors").exists()


def test_members_that_totalvi_has_no_place_for_are_refused(make_store: MakeStore) -> None:
    store = make_store(patients=2, cells=40)
    features = _features(store)
    other = replace(RECIPE, rna=Normal(), encoder=ProductOfExperts())
    with pytest.raises(InputError) as error:
        check_exportable(features, _stack(features, other, 0))
    columns = {problem.column for problem in error.value.problems}
    assert columns == {"model/encoder", "model/rna", "data/receptors"}


def test_a_start_that_does_not_fit_says_what_to_set(make_store: MakeStore, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    about = {"genes": [], "gene_ids": [], "proteins": [], "hidden": 256, "latent": 20}
    about |= {"encoder_layers": 2, "decoder_layers": 1}
    path = tmp_path / "start.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata={"recart": json.dumps(about)})
    features = _features(make_store(patients=2, cells=40))
    with pytest.raises(InputError) as error:
        PretrainedEncoder(pretrained=str(path)).apply(_stack(features, RECIPE, 0), 0, features)
    assert [own.mend for own in error.value.problems] == [
        "set model.hidden=256",
        "set model.latent=20",
    ]
    with pytest.raises(InputError, match=r"set model\.hidden=256"):  # before any cohort is read
        PretrainedEncoder(pretrained=str(path)).require(RECIPE)
    with pytest.raises(InputError, match="E-SCVI-002"):
        PretrainedEncoder(pretrained=str(tmp_path / "no")).require(RECIPE)


class _Shell:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("was_run"),))


def test_a_model_that_holds_code_is_refused_and_does_not_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model_state_dict": {}, "attr_dict": _Shell()}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="E-SCVI-001"):
        convert(tmp_path, tmp_path / "out.safetensors")
    assert not (tmp_path / "was_run").exists()
