"""Words for what a patient's page shows: groups of features, flags, what speaks for what."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["TOLD", "driver_words", "flag_words", "group_words", "reason_words"]

TOLD: Final = 0.005  # what adds less is printed as nothing
_ALL: Final = "all cell states"  # what `shared_name` calls what no member shares with another
_GROUPS: Final = {
    "bag means": "mean of all cells",
    "fractions": "shares of cell states",
    "means": "mean state of the cells",
    "proteins": "surface proteins",
    "genes": "named genes",
    "CAR+ shares": "share of CAR+ cells",
    "clones": "clonal expansion and diversity",
    "covariates": "clinical covariates",
    "extras": "clinical covariates",
}
_FLAGS: Final = {
    "low-cell": "so few cells that their composition is mostly sampling noise",
    "genes-missing": "some genes that the model reads are not in these data",
    "proteins-missing": "some proteins that the model reads were not measured",
    "no-protein": "no protein that the model reads was measured",
    "no-receptor": "no T cell receptors",
    "covariates-missing": "some covariates that the model reads are not known",
    "unseen-batch": "a batch that the model has not seen",
    "in-training": "this patient was among those that the model was made with",
}
_REASONS: Final = {
    **_FLAGS,
    "no-prediction": "the model gave no prediction",
}


def group_words(group: str) -> str:
    """A group of features, in words."""
    if group.startswith("changes of "):
        return f"change over time of {group_words(group.removeprefix('changes of '))}"
    if group.startswith("sample "):
        return f"{group_words(group.removeprefix('sample '))} at each time point"
    if re.fullmatch(r"fractions of \d+", group):
        return "shares of finer cell states"
    return _GROUPS.get(group, group)


def flag_words(flags: Sequence[str]) -> list[tuple[str, str]]:
    """Each flag with what it means; empty where it says so itself."""
    return [(flag, _FLAGS.get(flag, "")) for flag in flags]


def reason_words(
    reasons: Sequence[str], policy: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """Each reason of a refusal with what it means, by the `policy` that refused where it tells."""
    known = {**_REASONS, **(policy or {})}
    return [(reason, known.get(reason, "")) for reason in reasons]


def driver_words(features: Sequence[Mapping[str, Any]], most: int) -> list[dict[str, Any]]:
    """The features that add most, each with whether it speaks for the positive class or against.

    Parameters
    ----------
    features
        Rows of `drivers.features` of a record, largest first.
    most
        How many are told.
    """
    told = [row for row in features if abs(row["contribution"]) >= TOLD][:most]
    return [
        {
            "name": _name(row),
            "of": "" if row["feature"] == _ALL else group_words(row["group"]),
            "speaks": "for" if row["contribution"] > 0 else "against",
            "contribution": row["contribution"],
            "sd": row["sd"],
            "agreed": abs(row["contribution"]) > row["sd"],
        }
        for row in told
    ]


def _name(row: Mapping[str, Any]) -> str:
    if row["feature"] == _ALL:
        return group_words(row["group"])
    return str(row["feature"]).replace("_", " ")
