"""With one member, equal weights and equal noise, the loss is that of scvi-tools' TOTALVI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from recart.models.rna import NegativeBinomial, ZeroInflated
from recart.models.rna_likelihood import RnaLikelihood

pytestmark = pytest.mark.slow  # imports scvi-tools: about 10 s

CELLS, GENES, PROTEINS = 33, 47, 11
LIKELIHOODS = pytest.mark.parametrize(
    ("likelihood", "recipe"),
    [
        (("nb", "gene"), NegativeBinomial()),
        (("nb", "gene-batch"), NegativeBinomial(per_batch=True)),
        (("zinb", "gene"), ZeroInflated()),
        (("zinb", "gene-batch"), ZeroInflated(per_batch=True)),
    ],
    ids=["nb", "nb-per-batch", "zinb", "zinb-per-batch"],
)
BATCHES = pytest.mark.parametrize("batches", [1, 3])
PANELS = pytest.mark.parametrize("masked", [False, True], ids=["one-panel", "masked-panels"])


@pytest.fixture
def drawn(make_cells: Any) -> Callable[[int, bool], Any]:
    """`drawn(batches, masked)`: Poisson counts; each batch's panel lacks three proteins."""

    def draw(batches: int, masked: bool) -> Any:
        g = torch.Generator().manual_seed(3)
        x = torch.poisson(torch.rand(CELLS, GENES, generator=g) * 3, generator=g)
        y = torch.poisson(torch.rand(CELLS, PROTEINS, generator=g) * 50, generator=g)
        measured = torch.ones(batches, PROTEINS, dtype=torch.bool)
        for e in range(batches if masked else 0):
            measured[e, e : e + 3] = False
        return make_cells(x, y, torch.randint(batches, (CELLS,), generator=g), measured)

    return draw


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-12), (torch.float32, 1e-5)],
    ids=["float64", "float32"],
)
@BATCHES
@PANELS
@LIKELIHOODS
def test_terms_equal_those_of_scvi_tools(
    likelihood: tuple[str, str],
    recipe: RnaLikelihood,
    batches: int,
    masked: bool,
    dtype: torch.dtype,
    tolerance: float,
    drawn: Callable[[int, bool], Any],
    compare_models: Any,
) -> None:
    compared = compare_models(drawn(batches, masked), recipe, likelihood, dtype)
    assert compared.ours.item() == pytest.approx(compared.theirs.loss.item(), rel=tolerance)
    for name, ours, theirs in compared.terms():  # cell by cell
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=0.0, msg=name)


@BATCHES
@PANELS
@LIKELIHOODS
def test_gradients_equal_those_of_scvi_tools(
    likelihood: tuple[str, str],
    recipe: RnaLikelihood,
    batches: int,
    masked: bool,
    drawn: Callable[[int, bool], Any],
    compare_models: Any,
) -> None:
    compared = compare_models(drawn(batches, masked), recipe, likelihood, torch.float64)
    names = set()
    for name, ours, theirs in compared.gradients():
        names.add(name)
        assert theirs.any(), name
        assert (ours - theirs).abs().max() <= 1e-10 * theirs.abs().max(), name
    # what scvi-tools lacks: weights of what is missing, of receptors, and of the only batch
    lacking = {
        name
        for name, parameter in compared.stack.named_parameters()
        if parameter.numel() and name not in names
    }
    if batches == 1:
        lacking = {name for name in lacking if not name.endswith(".condition")}
    assert lacking == {
        *("encoder.missing", "encoder.missing_rna"),
        *("decoder.presence.weight", "decoder.presence.bias"),
    }


def test_counts_of_masked_proteins_are_read_by_no_term(
    drawn: Callable[[int, bool], Any], compare_models: Any
) -> None:
    """scvi-tools must be given zeros there."""
    cells = drawn(3, True)
    stack = compare_models(cells, NegativeBinomial(), ("nb", "gene"), torch.float64).stack
    batch = cells.minibatch()
    filled = replace(batch, y_mba=torch.where(batch.y_mask_mba, batch.y_mba, 77.0))
    assert (filled.y_mba != batch.y_mba).any()
    expected = stack.terms(batch, None)
    for name, value in stack.terms(filled, None).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0, msg=name)
