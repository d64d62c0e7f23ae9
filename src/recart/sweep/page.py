"""The page of a sweep: one HTML file that needs nothing beside it, drawn from what is there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from recart.config.build import build
from recart.sweep.front import front
from recart.sweep.outer_scores import outer_scores
from recart.sweep.plots import sweep_plots
from recart.sweep.recipe import FEW, FEW_BUDGET, MANY_BUDGET
from recart.sweep.selection import Selection, expected_extreme, selection
from recart.sweep.space import Distribution, flat_space
from recart.sweep.tables import SUMMARY, FoldTrials, read_folds
from recart.training.run_directory import write_atomically

__all__ = ["PAGE", "chances_of", "refresh_page", "write_page"]

PAGE = "sweep.html"


def refresh_page(run: Path, say: Callable[[str], None]) -> None:
    """Draw the page again if `run` is one of a sweep's, and say where it is."""
    folder = run.resolve().parent
    if (folder / SUMMARY).exists():
        say(f"sweep: {write_page(folder)}")


def write_page(folder: Path) -> Path:
    """Draw the page of a sweep that came to its end."""
    summary, folds = read_folds(folder)
    space = _space(folder)
    chances = chances_of(folds, int(summary["seed"]))
    objectives = list(summary["objectives"])
    plots = sweep_plots(folds, space, chances, objectives)
    content = _render(
        summary=summary,
        folds=folds,
        chances=chances,
        means=_means(folds, chances),
        tried=max(len(fold.values) for fold in folds),
        fronts={fold.name: front(fold.scores, objectives) for fold in folds},
        keys=list(space),
        plots={name: _div(figure, name) for name, figure in plots.items()},
        script=_script(),
        outer=outer_scores(folder),
        why=_why(summary, chances),
    )
    return write_atomically(folder / PAGE, content.encode())


def chances_of(folds: Sequence[FoldTrials], seed: int) -> dict[str, Selection]:
    """What luck gives in each fold, by its name."""
    found = {fold.name: selection(fold.scores, fold.groups, seed) for fold in folds}
    return {name: own for name, own in found.items() if own is not None}


def _space(folder: Path) -> dict[str, Distribution]:
    config: Any = OmegaConf.load(folder / "config.yaml")
    return flat_space(build(config.sweep).space)


def _means(folds: Sequence[FoldTrials], chances: Mapping[str, Selection]) -> dict[str, float]:
    """Means over folds: inner losses, and what was gained, by choice and by luck."""
    own = list(chances.values())
    default = [_loss(fold, 0) for fold in folds]
    nothing = [math.nan if f.saying_nothing is None else f.saying_nothing for f in folds]
    return {
        "best": float(np.mean([one.best for one in own])),
        "typical": float(np.mean([one.typical for one in own])),
        "default": float(np.mean(default)),
        "nothing": float(np.mean(nothing)),
        "gain": float(np.mean([one.gain for one in own])),
        "by_chance": float(np.mean([one.by_chance for one in own])),
        "by_formula": float(np.mean([one.by_formula for one in own])),
        "low": float(np.mean([one.low for one in own])),
        "high": float(np.mean([one.high for one in own])),
        "corrected": float(np.mean([one.corrected for one in own])),
    }


def _loss(fold: FoldTrials, trial: int) -> float:
    return float(fold.scores[trial].scores.get("inner_loss", math.nan))


def _why(summary: Mapping[str, Any], chances: Mapping[str, Selection]) -> str:
    """Why the budget is what it is."""
    budget, patients = int(summary["budget"]), int(summary["patients"])
    extremes = {k: f"{expected_extreme(k):.2f}" for k in (FEW_BUDGET, MANY_BUDGET, 100)}
    luck = (
        f"Of configurations that are all equally good the best of {FEW_BUDGET} lies "
        f"{extremes[FEW_BUDGET]} standard deviations below their mean by luck alone, of "
        f"{MANY_BUDGET} {extremes[MANY_BUDGET]}, of 100 {extremes[100]}"
    )
    if patients <= FEW:
        reason = (
            f"with {patients} patients that is most of what a longer search would find, so "
            f"{FEW_BUDGET} are the default for up to {FEW} patients"
        )
    else:
        reason = f"with {patients} patients (more than {FEW}) the default is {MANY_BUDGET}"
    chosen = "" if summary["default_budget"] else f" The budget of {budget} was set by hand."
    spread = float(np.mean([own.spread for own in chances.values()]))
    here = "" if math.isnan(spread) else f" Here one standard deviation is {_number(spread)}."
    return f"{luck}; {reason}.{here}{chosen}"


def _div(figure: Any, name: str) -> str:
    text: str = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=f"plot-{name}",
        config={"displaylogo": False, "responsive": True},
    )
    return text


def _script() -> str:
    from plotly.offline import get_plotlyjs

    text: str = get_plotlyjs()
    return text


def _render(**content: Any) -> str:
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=ChoiceLoader(
            [
                PackageLoader("recart.sweep", "page_parts"),
                PackageLoader("recart.report", "page_parts"),
            ]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, value=_value)
    # plotly escapes what it is given
    content["plots"] = {name: Markup(own) for name, own in content["plots"].items()}
    content["script"] = Markup(content["script"])
    return environment.get_template("sweep.html.j2").render(**content)


def _number(value: float | None, digits: int = 3) -> str:
    """Digits; a true minus; a dash where there is no number."""
    if value is None or not math.isfinite(value):
        return "\N{EN DASH}"
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _value(value: Any) -> str:
    """A value of a configuration, short."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
