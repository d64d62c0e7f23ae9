"""What is said of a patient beside the leading yes or no: levels, survival, further outcomes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["FURTHER", "FurtherOutput", "further_outputs"]

FURTHER: Final = frozenset({"level", "survival", "risk", "log_odds", "posterior"})
"""With which words such columns of the table of patients begin, see `Endpoint.outputs`."""


@dataclass(frozen=True, kw_only=True)
class FurtherOutput:
    """One number.

    Attributes
    ----------
    of
        Name of the outcome; empty for the leading one.
    kind
        `level`, `survival`, `risk`; `posterior`, a bound of the leading probability; or `log_odds`,
        the yes of a further outcome.
    text
        What `value` is of.
    value
        A probability; of a `risk` the log hazard.
    """

    of: str
    kind: str
    text: str
    value: float


def further_outputs(record: Mapping[str, Any]) -> list[FurtherOutput]:
    """Of a patient's record, in its order; none where the endpoint is one yes or no, or refused.

    Means over members. Bounds of a posterior are calibrated, as the leading probability is; none of
    the others is.
    """
    if record["prediction"] is None:
        return []
    outcomes, told, of = record["question"]["further"], [], ""
    for key, value in record["prediction"]["further"].items():
        kind, _, rest = key.partition(":")
        if kind == "log_odds" and rest in outcomes:
            of = rest  # a further outcome begins with it
        if value is None:
            continue
        what = key.removesuffix(f":{of}") if of else key
        what = what.removeprefix(kind).removeprefix(":")
        if kind == "log_odds":
            value = 1 / (1 + math.exp(-value))
        text = {
            "level": f"level {what}",
            "survival": f"no event by month {what}",
            "risk": "log hazard, against the mean patient",
            "posterior": f"{what} end of the posterior",
            "log_odds": outcomes.get(of, {}).get("positive", of),
        }[kind]
        told.append(FurtherOutput(of=of, kind=kind, text=text, value=value))
    return told
