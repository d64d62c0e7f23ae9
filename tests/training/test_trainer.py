"""Devices that a machine does not have are refused before a cohort is read."""

from __future__ import annotations

import pytest
import torch

from recart.problems import InputError
from recart.training.trainer import TrainerSettings


def settings(accelerator: str, devices: int | str) -> TrainerSettings:
    return TrainerSettings(
        accelerator=accelerator, devices=devices, precision="32-true", deterministic=False
    )


@pytest.mark.parametrize("devices", [-1, "many", "0,1"])
def test_a_processor_is_no_list_of_devices(devices: int | str) -> None:
    with pytest.raises(InputError) as told:
        settings("cpu", devices).require_here()
    (problem,) = told.value.problems
    assert (problem.code, problem.column) == ("E-CONFIG-017", "trainer.devices")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("name", ["gpu", "cuda"])
def test_a_gpu_that_is_not_there_is_said(name: str) -> None:
    with pytest.raises(InputError) as told:
        settings(name, 1).require_here()
    (problem,) = told.value.problems
    assert (problem.code, problem.column) == ("E-CONFIG-017", "trainer.accelerator")


@pytest.mark.parametrize("devices", [1, 2, "auto", "2"])
def test_what_a_machine_has_is_taken(devices: int | str) -> None:
    settings("cpu", devices).require_here()
