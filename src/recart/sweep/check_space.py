"""Checks a search space against the configuration that it searches, before anything is trained."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recart.config.check import check_config
from recart.config.compose import config_folder
from recart.config.targets import nearest
from recart.problems import InputError, Problem, Problems
from recart.sweep.configurations import OF_ENCODER, SEARCHED, configured, is_group
from recart.sweep.pruners import Pruner
from recart.sweep.recipe import OBJECTIVES, Sweep
from recart.sweep.samplers import Grid, Nsga2, Sampler
from recart.sweep.space import Choice, Distribution, flat_space
from recart.sweep.storages import Storage
from recart.training.launch import recipes
from recart.training.readouts import build_head

__all__ = ["check_sweep"]

_JOINT: Final = "trials of joint training are judged on other patients, so that they don't compare"


def check_sweep(sweep: Sweep, base: DictConfig) -> dict[str, Distribution]:
    """The distributions by dotted key, in order of keys.

    Raises
    ------
    InputError
        With every problem of the sweep: keys that are not there, each with the nearest, ranges of
        wrong types or beyond what a component takes, parts that don't fit each other.
    """
    problems, found = Problems(), {}
    for problem in _no_parts(sweep):
        problems.error(problem)
    if OmegaConf.select(base, "training.joint") is not None:
        column, mend = "training.joint", "sweep with training=default, then train jointly"
        problems.error(replace(_problem("", _JOINT, mend), column=column))
    if OmegaConf.select(base, "paths.encoders") is not None:
        mend = "leave it out: trials that agree in the encoder share it anyway"
        problem = _problem("", "a sweep trains encoders of its own, on other patients", mend)
        problems.error(replace(problem, column="paths.encoders"))
    problems.raise_if_any()
    for key, own in flat_space(sweep.space).items():
        errors = list(_faults(key, own, base))
        if not errors and isinstance(own, Distribution):
            errors = list(_refused(key, own, base))
            found[key] = own
        for problem in errors:
            problems.error(problem)
    if not flat_space(sweep.space):
        problems.error(_problem("", "the search space is empty", "give it a key and its values"))
    for problem in _of_parts(sweep, found):
        problems.error(problem)
    problems.raise_if_any()
    return found


def _no_parts(sweep: Sweep) -> Iterator[Problem]:
    """Parts that are words where they should be components."""
    kinds = {"sampler": Sampler, "pruner": Pruner, "storage": Storage}
    for name, kind in kinds.items():
        own = getattr(sweep, name)
        if not isinstance(own, kind):
            yield Problem(
                code="E-SWEEP-003",
                column=f"sweep.{name}",
                what=f"{own!r} is no {name}",
                mend=f"choose a file of configs/sweep/{name}: sweep/{name}={own}",
            )
    space: object = sweep.space
    if not isinstance(space, Mapping):
        yield _problem("", f"{space!r} is no search space", "name keys and distributions")


def _faults(key: str, own: Any, base: DictConfig) -> Iterator[Problem]:
    """What is wrong with a key and its distribution, by themselves."""
    if not isinstance(own, Distribution):
        yield _problem(key, f"{own!r} is no distribution", "give it a _target_: Float, Int, Choice")
        return
    for fault in own.faults():
        yield _problem(key, fault, "correct the distribution")
    keys = [path for path in _keys(base, "") if path.split(".")[0] in SEARCHED]
    part = key.split(".")[0]
    if key not in keys:
        if part in base and part not in SEARCHED:
            yield _problem(
                key,
                f"{part} is not searched: all trials are of the same patients, folds and seed, and "
                "where they run changes nothing",
                f"search keys of {', '.join(SEARCHED)}",
            )
            return
        near = difflib.get_close_matches(key, keys, n=1, cutoff=0.6)
        mend = f"did you mean {near[0]}?" if near else nearest(key, keys)
        yield Problem(
            code="E-SWEEP-001",
            column=f"sweep.space.{key}",
            what=f"there is no key {key}",
            mend=mend,
        )
    elif is_group(base, key) and (files := _files(key)):
        yield from _no_options(key, own, files)
    elif isinstance(OmegaConf.select(base, key), DictConfig):
        yield _problem(key, f"{key} holds further keys", "name one of them")


def _files(key: str) -> list[str]:
    """Options of a group: names of its files."""
    return [path.stem for path in (config_folder() / key.replace(".", "/")).glob("*.yaml")]


def _no_options(key: str, own: Distribution, files: Sequence[str]) -> Iterator[Problem]:
    if not isinstance(own, Choice):
        what = f"{key} is a component, not a number"
        yield _problem(key, what, f"a Choice of its files: {', '.join(sorted(files))}")
        return
    for option in own.options:
        if option not in files:
            yield _problem(key, f"{key} has no option {option}", nearest(str(option), files))


def _refused(key: str, own: Distribution, base: DictConfig) -> Iterator[Problem]:
    """What a configuration with the outermost values of the key is refused for."""
    said = set()
    for value in own.probes():
        try:
            config = configured(base, {key: value})
            check_config(config)
            made = recipes(config)
            if made.training.joint is not None:
                raise ValueError(_JOINT)
            build_head(config)
        except InputError as error:
            for problem in error.problems:
                where = f"sweep.space.{key}"
                what = f"with {key}={value}: {problem.what}"
                if what not in said:
                    yield replace(problem, code="E-SWEEP-002", column=where, what=what)
                said.add(what)
        except (OmegaConfBaseException, ValueError, TypeError) as error:
            yield _problem(key, f"with {key}={value}: {error}", "correct the distribution")


def _of_parts(sweep: Sweep, space: Mapping[str, Distribution]) -> Iterator[Problem]:
    """What does not go together."""
    for name in sweep.objectives:
        if name not in OBJECTIVES:
            yield replace(
                _problem("", f"there is no objective {name}", nearest(name, OBJECTIVES)),
                column="sweep.objectives",
            )
    several = len(set(sweep.objectives)) > 1
    if not sweep.objectives or sweep.objectives[0] != "inner_loss":
        yield replace(
            _problem("", "the first objective chooses", "begin with inner_loss"),
            column="sweep.objectives",
        )
    if several and sweep.pruner.epochs:
        yield replace(
            _problem("", "trials of several objectives are not pruned", "use sweep/pruner=none"),
            column="sweep.pruner",
        )
    if isinstance(sweep.sampler, Nsga2) and not several:
        yield replace(
            _problem("", "NSGA-II weighs several objectives", "name two, or use sweep/sampler=tpe"),
            column="sweep.sampler",
        )
    scale = ("features.", "model.rna", "model.weights")
    moved = [key for key in space if key.startswith(scale)]
    if "encoder_loss" in sweep.objectives and moved:
        yield replace(
            _problem(
                "",
                f"{', '.join(moved)} change what the encoder's loss is a sum of, so that it does "
                "not compare trials",
                "leave them out of the space, or encoder_loss out of the objectives",
            ),
            column="sweep.objectives",
        )
    endless = [key for key, own in space.items() if own.values is None]
    if isinstance(sweep.sampler, Grid) and endless:
        yield replace(
            _problem("", f"{', '.join(endless)} have no steps", "give a step, or use a Choice"),
            column="sweep.sampler",
        )
    if sweep.budget is not None and sweep.budget < 2:
        yield replace(
            _problem(
                "",
                f"a budget of {sweep.budget}",
                "at least 2: the first trial is the configuration as it stands",
            ),
            column="sweep.budget",
        )
    if sweep.repeats < 1:
        yield replace(
            _problem("", f"{sweep.repeats} repeats", "at least 1"), column="sweep.repeats"
        )
    size = sweep.sampler.generation
    if sweep.pruner.epochs and size is None:
        yield replace(
            _problem(
                "",
                "all trials are drawn at once, so that none is there to compare with",
                "use a sampler with generations, such as sweep/sampler=tpe",
            ),
            column="sweep.pruner",
        )
    if sweep.pruner.epochs and not any(key.startswith(OF_ENCODER) for key in space):
        yield replace(
            _problem("", "only heads are searched, which train in seconds", "sweep/pruner=none"),
            column="sweep.pruner",
        )


def _keys(tree: Any, place: str) -> Iterator[str]:
    """Every dotted key, those of groups too."""
    if isinstance(tree, DictConfig):
        for key in map(str, tree):
            path = f"{place}.{key}" if place else key
            if key == "_target_":
                continue
            yield path
            if not OmegaConf.is_missing(tree, key):
                yield from _keys(tree._get_node(key), path)


def _problem(key: str, what: str, mend: str) -> Problem:
    column = f"sweep.space.{key}" if key else "sweep.space"
    return Problem(code="E-SWEEP-002", column=column, what=what, mend=mend)
