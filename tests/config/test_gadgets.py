"""Nothing but recart's own classes is ever called, imported or reached through a configuration."""

from __future__ import annotations

import importlib
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from recart.config.build import build, build_each
from recart.config.check import check_config
from recart.config.compose import compose
from recart.config.targets import EXTERNAL, resolve
from recart.problems import InputError

OUTSIDE = [
    "os.system",
    "posix.system",
    "os.execv",
    "os.popen",
    "subprocess.Popen",
    "subprocess.run",
    "builtins.eval",
    "builtins.exec",
    "builtins.__import__",
    "builtins.open",
    "torch.load",
    "torch.hub.load",
    "pandas.read_pickle",
    "numpy.load",
    "joblib.load",
    "pickle.loads",
    "pickle.load",
    "yaml.unsafe_load",
    "functools.partial",
    "operator.methodcaller",
    "hydra.utils.get_method",
    "hydra.utils.instantiate",
    "hydra._internal.utils._locate",
    "importlib.import_module",
    "runpy.run_path",
    "shutil.rmtree",
    "pathlib.Path",
    "ctypes.CDLL",
    "code.InteractiveConsole",
    "antigravity.fly",
    "lightning.pytorch.Trainer",
    "lightning.pytorch.callbacks.LambdaCallback",
    "lightning.pytorch.callbacks.lr_monitor.LearningRateMonitor",
    "torch.optim.SGD",
]
THROUGH_RECART = [
    "recart.data.split.os.system",
    "recart.training.run_directory.subprocess.run",
    "recart.training.run_directory.os",
    "recart.training.checkpoints.load_checkpoint",
    "recart.training.checkpoints.torch.load",
    "recart.training.run_directory.Path",
    "recart.training.run_directory.RunDirectory.open",
    "recart.training.run_directory.InputError",
    "recart.training.trackers.secrets.token_hex",
    "recart.config.build.build",
    "recart.config.targets.importlib.import_module",
    "recart.problems.Problem.__init__.__globals__",
    "recart.problems.Problem.__class__",
    "recart.problems",
    "recart",
]
FORGED = [
    "",
    ".",
    "os",
    "recart..problems.Problem",
    "recart.problems.Problem ",
    " recart.problems.Problem",
    "recart.problems.Problem\n",
    "\uff52ecart.problems.Problem",
    "recart/problems/Problem",
    "recart.problems:Problem",
    "recartx.problems.Problem",
    "RECART.problems.Problem",
    ["os", "system"],
    {"_target_": "os.system"},
    None,
    3,
]
ALL = [*OUTSIDE, *THROUGH_RECART, *FORGED]


class _Bomb:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def armed(target: object, canary: Path) -> dict[str, Any]:
    """The gadget with arguments under which most of the corpus would leave the canary."""
    pickled = canary.with_name("bomb.pkl")
    pickled.write_bytes(pickle.dumps(_Bomb(canary)))
    command = f"touch {canary}"
    if target in ("pandas.read_pickle", "joblib.load", "torch.load", "numpy.load"):
        return {"_target_": target, "_args_": [str(pickled)]}
    if target in ("builtins.eval", "builtins.exec"):
        return {"_target_": target, "_args_": [f"__import__('os').system('{command}')"]}
    if target in ("subprocess.run", "subprocess.Popen"):
        return {"_target_": target, "args": command, "shell": True}
    return {"_target_": target, "_args_": [command]}


@pytest.mark.parametrize("target", ["os.system", "builtins.eval", "pandas.read_pickle"])
def test_the_corpus_is_armed(target: str, canary: Path) -> None:
    module, name = target.rsplit(".", 1)
    getattr(importlib.import_module(module), name)(*armed(target, canary)["_args_"])
    assert canary.exists()


def planted(place: str, target: object, canary: Path) -> Any:
    gadget = armed(target, canary)
    limits = {"_target_": "recart.data.checks.limits.Limits"}
    match place:
        case "outermost":
            return OmegaConf.create({"_target_": gadget["_target_"]})
        case "nested":
            return OmegaConf.create({**limits, "min_cells": gadget})
        case "in a list":
            return OmegaConf.create({**limits, "min_cells": [{"deep": [gadget]}]})
    config = {"hidden": target, "node": {**gadget, "_target_": "${hidden}"}}
    return OmegaConf.create(config).node


@pytest.mark.parametrize("target", ALL, ids=repr)
@pytest.mark.parametrize("place", ["outermost", "nested", "in a list", "by reference"])
def test_no_gadget_runs(target: object, place: str, canary: Path) -> None:
    node = planted(place, target, canary)
    with pytest.raises(InputError) as caught:
        build(node)
    assert "E-CONFIG-001" in {problem.code for problem in caught.value.problems}
    assert not canary.exists()
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("target", ALL, ids=repr)
def test_no_gadget_runs_in_a_group(target: object, canary: Path) -> None:
    limits = {"_target_": "recart.data.checks.limits.Limits"}
    group = OmegaConf.create({"harmless": limits, "callback": armed(target, canary)})
    with pytest.raises(InputError):
        build_each(group)
    assert not canary.exists()


def test_nothing_is_made_when_one_node_of_the_tree_is_refused(canary: Path) -> None:
    # the first node would make a folder, the second is refused
    node = {
        "_target_": "recart.problems.Problem",
        "code": {"_target_": "recart.data.receptors.none.NoReceptor"},
        "what": armed("os.system", canary),
        "mend": "",
    }
    with pytest.raises(InputError):
        build(OmegaConf.create(node))
    assert not canary.exists()


@pytest.mark.parametrize("key", ["_partial_", "_args_", "_recursive_", "_convert_", "_x"])
def test_no_key_but_the_target_steers_the_building(key: str) -> None:
    node = {"_target_": "recart.data.checks.limits.Limits", key: True}
    with pytest.raises(InputError, match=f"{key} has no meaning here"):
        build(OmegaConf.create(node))


@pytest.mark.parametrize(
    "target", ["os.system", "builtins.eval", "torch.load", "hydra.utils.get_method"]
)
def test_the_command_line_is_no_door(target: str) -> None:
    config = compose(["callbacks.progress=null", f"head._target_={target}"])
    with pytest.raises(InputError) as caught:
        check_config(config)
    assert any(problem.column == "head._target_" for problem in caught.value.problems)
    with pytest.raises(InputError):
        build(config.head)


@pytest.mark.parametrize("target", sorted(EXTERNAL))
def test_what_is_allowed_of_others_is_there(target: str) -> None:
    found = resolve(target, "")
    assert isinstance(found, type)
    assert found.__name__ == target.rsplit(".", 1)[1]


def test_a_class_may_be_named_where_its_package_shows_it() -> None:
    assert resolve("recart.data.simulate.Effects", "") is resolve(
        "recart.data.simulate.effects.Effects", ""
    )
