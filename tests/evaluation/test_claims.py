"""The ladder: which numbers allow which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recart.config.build import build_each
from recart.config.compose import compose
from recart.data.split import Kind
from recart.evaluation.assessment import Assessment, assess
from recart.evaluation.claims import ClaimLevel, lacking_for_more
from recart.evaluation.needed_baselines import NEEDED, not_run
from recart.evaluation.permutation import Permutation

ALL = tuple(names[0] for names in NEEDED)


def _assess(make: Any, *, effect: float, rival: float | None, **settings: Any) -> Assessment:
    baselines = {} if rival is None else {"composition": make(effect=rival, seed=1, **settings)}
    return assess(
        make(effect=effect, **settings), baselines, endpoint="response", seed=0, n_resamples=500
    )


def _words(assessment: Assessment) -> str:
    return f"{assessment.claim.headline} {assessment.claim.text}"


def test_noise_is_no_evidence_and_says_how_many_patients(make_predictions: Any) -> None:
    found = assess(
        make_predictions(effect=0.4, n=40, seed=5),
        {"composition": make_predictions(effect=0.0, n=40, seed=1)},
        endpoint="response",
        seed=0,
    )
    assert found.claim.level == ClaimLevel.NO_EVIDENCE
    assert found.model.auroc_interval is not None
    assert found.model.auroc_interval.low <= 0.5
    assert "includes 0.5" in found.claim.text
    assert "patients" in found.claim.text
    assert f"{found.model.metrics.auroc:.2f}" in found.claim.text
    assert f"{found.model.auroc_interval.width:.2f} wide" in found.claim.text


def test_signal_no_better_than_the_baseline_names_it(make_predictions: Any) -> None:
    found = _assess(make_predictions, effect=2.5, rival=2.5, n=60)
    assert found.claim.level == ClaimLevel.SIGNAL
    assert "not better than composition" in found.claim.headline


def test_signal_without_baselines_stays_at_signal(make_predictions: Any) -> None:
    found = _assess(make_predictions, effect=3.0, rival=None, n=60)
    assert found.claim.level == ClaimLevel.SIGNAL
    assert "No baseline was run" in found.claim.text


def _against_all(make: Any, but: tuple[str, ...] = (), **settings: Any) -> Assessment:
    """A strong model beside baselines that know nothing, all but a few."""
    table, noise = make(effect=4.0, n=80), make(effect=0.0, n=80, seed=1)
    rivals = {name: noise for name in ALL if name not in but}
    return assess(table, rivals, endpoint="response", seed=0, n_resamples=200, **settings)


def test_better_than_the_baselines(make_predictions: Any) -> None:
    found = _against_all(make_predictions)
    assert found.claim.level == ClaimLevel.BETTER
    assert "Predicts response" in found.claim.headline
    assert "No outside cohort" in found.claim.text


def test_one_unbeaten_baseline_is_enough_to_withhold(make_predictions: Any) -> None:
    found = assess(
        make_predictions(effect=4.0, n=80),
        {
            "noise": make_predictions(effect=0.0, n=80, seed=1),
            "twin": make_predictions(effect=4.0, n=80, seed=2),
        },
        endpoint="response",
        seed=0,
        n_resamples=500,
    )
    assert found.claim.level == ClaimLevel.SIGNAL
    assert found.best_baseline is not None
    assert found.best_baseline.name == "twin"
    assert "twin" in found.claim.headline


@pytest.mark.parametrize("reason", ["few", "leave-one-out", "aligned"])
def test_not_identifiable(make_predictions: Any, reason: str) -> None:
    table = make_predictions(n=14 if reason == "few" else 40, effect=4.0)
    if reason == "leave-one-out":
        table["fold"] = np.arange(40)
    found = assess(
        table,
        {"composition": table},
        endpoint="response",
        seed=0,
        n_resamples=100,
        obstacles=["Site is aligned with the endpoint."] if reason == "aligned" else (),
    )
    assert found.claim.level == ClaimLevel.NOT_IDENTIFIABLE
    expected = {
        "few": "One class has 7 patients",
        "leave-one-out": "single class",
        "aligned": "Site is aligned",
    }
    assert expected[reason] in found.claim.text


@pytest.mark.parametrize(("effect", "rival"), [(0.0, 0.0), (0.3, 2.0), (2.5, 2.5), (2.0, None)])
def test_below_the_top_nothing_is_said_to_be_predicted(
    make_predictions: Any, effect: float, rival: float | None
) -> None:
    found = _assess(make_predictions, effect=effect, rival=rival, n=40)
    assert found.claim.level < ClaimLevel.BETTER
    assert "predict" not in _words(found).lower()


def test_a_baseline_that_was_left_out_keeps_the_claim_at_a_signal(make_predictions: Any) -> None:
    found = _against_all(make_predictions, but=("composition", "pseudobulk"))
    assert found.claim.level == ClaimLevel.SIGNAL
    assert "left out: composition, pseudobulk" in found.claim.text
    assert "predicts" not in _words(found).lower()
    # what the cohort cannot have is no omission
    reason = {"clinical only": "no covariates are named"}
    both = ("clinical only", "composition + clinical")
    found = _against_all(make_predictions, but=both, left_out=reason)
    assert found.claim.level == ClaimLevel.BETTER


def test_every_shipped_baseline_is_needed() -> None:
    """A baseline that is added to the configuration is added to the claim, under its name."""
    config = compose()
    names = {own.name for own in build_each(config.baselines).values()}
    assert names == set(ALL)
    given = build_each({"own": {**config.baselines.composition, "given_types": True}})
    assert not_run([given["own"].name, *ALL[1:]], ()) == ()
    assert not_run(ALL[:5], ()) == ALL[5:]


def test_pairs_without_a_p_are_no_more_than_a_signal() -> None:
    refused = Permutation.refused("folds such as pairs follow the labels.")
    for permutation in (None, refused):
        (reason,) = lacking_for_more(Kind.PAIRS, (), permutation)
        assert "no permutation p" in reason
        assert lacking_for_more(Kind.PARTITION, (), permutation) == []


def test_why_there_is_no_p_is_said(make_predictions: Any) -> None:
    refused = Permutation.refused("A class is too small.")
    found = _against_all(make_predictions, permutation=refused)
    assert "No permutation p: A class is too small." in found.claim.text
    given = Permutation(p=0.005, k=199, observed=0.91, null_mean=0.5, null_sd=0.1, repeats=4)
    text = _against_all(make_predictions, permutation=given).claim.text
    assert "over 4 repeats, in which the labels as they are give 0.91" in text


@pytest.mark.parametrize(
    ("k", "said"), [(5, "Too few permutations to speak"), (99, "do as well too often to speak")]
)
def test_permutations_that_could_not_tell_are_not_said_to_do_as_well(
    make_predictions: Any, k: int, said: str
) -> None:
    p = max(1 / (k + 1), 0.2)
    given = Permutation(p=p, k=k, observed=0.91, null_mean=0.5, null_sd=0.1)
    claim = _against_all(make_predictions, permutation=given).claim
    assert claim.level == ClaimLevel.NO_EVIDENCE
    assert said in claim.text
