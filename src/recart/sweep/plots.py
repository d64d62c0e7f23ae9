"""Optuna's plots of a sweep, over the trials of all folds.

Folds differ in their patients, so a trial's loss is given about the mean of its fold: below 0 it is
better than the fold's trials are on average.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from recart.report.canvas import INK, PALETTE, POSITIVE
from recart.sweep.front import front
from recart.sweep.selection import Selection
from recart.sweep.space import Distribution
from recart.sweep.tables import FoldTrials

if TYPE_CHECKING:
    import optuna
    import plotly.graph_objects as go

__all__ = ["sweep_plots"]

_FONT: Final = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif'
_SCORE: Final = "Inner loss about the fold's mean"


def sweep_plots(
    folds: Sequence[FoldTrials],
    space: Mapping[str, Distribution],
    chances: Mapping[str, Selection],
    objectives: Sequence[str] = ("inner_loss",),
) -> dict[str, go.Figure]:
    """History, importance, parallel coordinates and slices, by name, as far as they can be drawn.

    Of several objectives also their front.

    Parameters
    ----------
    folds
        Trials of each fold.
    space
        Distributions by key.
    chances
        What luck gives in each fold, by its name.
    objectives
        What was made small.
    """
    from optuna.visualization import (
        plot_parallel_coordinate,
        plot_param_importances,
        plot_slice,
    )

    study = _pooled(folds, space, chances)
    found = {"history": _history(folds, chances)}
    if len(objectives) > 1:
        found["front"] = _front(folds, objectives)
    if len(study.get_trials(deepcopy=False)) < 3:
        return {name: _dressed(figure) for name, figure in found.items()}
    varied = _varied(study, space)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's notes on what it calls experimental
        if varied:
            from optuna.importance import FanovaImportanceEvaluator

            found["importance"] = plot_param_importances(
                study, evaluator=FanovaImportanceEvaluator(seed=0), params=varied
            )
            found["parallel"] = plot_parallel_coordinate(
                study, params=varied, target=_value, target_name=_SCORE
            )
            slices = plot_slice(study, params=varied, target=_value, target_name=_SCORE)
            several = {"row": "all", "col": "all"} if len(varied) > 1 else {}
            _add_band(slices, chances, **several)
            slices.update_xaxes(title_font_size=10, tickangle=90)  # seven keys stand side by side
            found["slice"] = slices
    return {name: _dressed(figure) for name, figure in found.items()}


def _value(trial: Any) -> float:
    return float(trial.values[0])


def _pooled(
    folds: Sequence[FoldTrials],
    space: Mapping[str, Distribution],
    chances: Mapping[str, Selection],
) -> optuna.Study:
    """A study of all folds' complete trials, each about the mean of its fold."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize")
    distributions = {key: own.optuna() for key, own in space.items()}
    rows = [(score.trial, fold, score) for fold in folds for score in fold.scores]
    for trial, fold, score in sorted(rows, key=lambda row: row[0]):
        values = fold.values[trial]
        inside = all(own.contains(values.get(key)) for key, own in space.items())
        if score.state == "complete" and inside:
            loss = score.scores["inner_loss"] - chances[fold.name].typical
            study.add_trial(
                optuna.trial.create_trial(
                    value=loss, params=dict(values), distributions=distributions
                )
            )
    return study


def _varied(study: optuna.Study, space: Mapping[str, Distribution]) -> list[str]:
    """Keys of which more than one value was tried."""
    trials = study.get_trials(deepcopy=False)
    return [key for key in space if len({repr(own.params[key]) for own in trials}) > 1]


def _history(folds: Sequence[FoldTrials], chances: Mapping[str, Selection]) -> go.Figure:
    """Every trial in its order, the best so far, and where luck alone would put the best."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for number, fold in enumerate(folds):
        colour = PALETTE[number % len(PALETTE)]
        done = [own for own in fold.scores if own.state == "complete"]
        typical = chances[fold.name].typical
        x = [own.trial for own in done]
        y = [own.scores["inner_loss"] - typical for own in done]
        best = [min(y[: place + 1]) for place in range(len(y))]
        figure.add_trace(
            go.Scatter(
                x=x,
                y=y,
                mode="markers",
                name=fold.name,
                legendgroup=fold.name,
                marker={"color": colour, "size": 7, "symbol": number % 8, "opacity": 0.75},
            )
        )
        figure.add_trace(
            go.Scatter(
                x=x,
                y=best,
                mode="lines",
                line={"color": colour, "shape": "hv", "width": 1.5},
                legendgroup=fold.name,
                showlegend=False,
                hoverinfo="skip",
            )
        )
    _add_band(figure, chances)
    figure.add_hline(y=0, line={"color": "#5a6672", "width": 1, "dash": "dot"})
    figure.update_layout(xaxis_title="Trial", yaxis_title=_SCORE)
    return figure


def _front(folds: Sequence[FoldTrials], objectives: Sequence[str]) -> go.Figure:
    """The first two objectives of every trial, each about its fold's mean; open: dominated."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for number, fold in enumerate(folds):
        done = [own for own in fold.scores if own.state == "complete"]
        best = front(done, objectives)
        x, y = ([own.scores[name] for own in done] for name in objectives[:2])
        symbol = ["circle" if own.trial in best else "circle-open" for own in done]
        figure.add_trace(
            go.Scatter(
                x=[one - sum(x) / len(x) for one in x],
                y=[one - sum(y) / len(y) for one in y],
                mode="markers",
                name=fold.name,
                text=[f"trial {own.trial}" for own in done],
                marker={"color": PALETTE[number % len(PALETTE)], "size": 9, "symbol": symbol},
            )
        )
    first, second = (name.replace("_", " ") for name in objectives[:2])
    about = "about the fold's mean"
    figure.update_layout(
        xaxis_title=f"{first.capitalize()} {about}", yaxis_title=f"{second.capitalize()} {about}"
    )
    return figure


def _add_band(figure: go.Figure, chances: Mapping[str, Selection], **where: Any) -> None:
    """Where the best would lie were all configurations equally good; mean over folds."""
    known = [own for own in chances.values() if own.low == own.low]
    if known:
        low = sum(own.low for own in known) / len(known)
        high = sum(own.high for own in known) / len(known)
        band = {"fillcolor": "#5a6672", "opacity": 0.16, "line_width": 0}
        figure.add_hrect(y0=-high, y1=-low, **band, **where)


def _dressed(figure: go.Figure) -> go.Figure:
    """In the look of the report."""
    figure.update_layout(
        title=None,
        template="plotly_white",
        font={"family": _FONT, "color": INK, "size": 13},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 70, "r": 20, "t": 40, "b": 50},
        height=420,
        width=None,  # as wide as the page
        colorway=list(PALETTE),
    )
    figure.update_traces(marker_color=POSITIVE, selector={"type": "bar"})
    return figure
