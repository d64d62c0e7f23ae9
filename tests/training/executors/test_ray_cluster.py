"""Ray: how many jobs it has room for, what is said where it does not answer, what it is told."""

from __future__ import annotations

import os
import signal

import pytest

from recart.problems import InputError
from recart.training.executors.ray_cluster import RayCluster, _on_gpus

pytestmark = pytest.mark.slow  # starts Ray: seconds, once


def test_parts_of_a_gpu_lie_on_one() -> None:
    assert _on_gpus(2, 0.25) == 8
    assert _on_gpus(2, 0.4) == 4  # not 5: the fifth would lie across two
    assert _on_gpus(4, 2) == 2
    assert _on_gpus(0, 0.5) == 0


@pytest.mark.parametrize(("cpus", "gpus", "at_once"), [(0, 0, None), (1, -1, None), (1, 0, 0)])
def test_what_can_not_be_is_refused(cpus: float, gpus: float, at_once: int | None) -> None:
    with pytest.raises(ValueError, match="more is needed"):
        RayCluster(None, cpus, gpus, at_once)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999"])
def test_an_address_where_nobody_answers_is_said_at_once(address: str) -> None:
    import ray

    ray.shutdown()  # who is connected, by a test before, asks nobody
    with pytest.raises(InputError, match="E-JOB-004"):
        RayCluster(address, 1, 0, None).connected()


def test_places_follow_the_cores_of_each_machine(two_machines: str) -> None:
    assert RayCluster(two_machines, 1, 0, None).places == 2
    assert RayCluster(two_machines, 0.5, 0, None).places == 4
    assert RayCluster(two_machines, 0.5, 0, 3).places == 3


@pytest.mark.parametrize(("cpus", "gpus"), [(2, 0), (1, 0.5)])
def test_what_no_machine_has_is_said(cpus: float, gpus: float, two_machines: str) -> None:
    with pytest.raises(InputError, match=r"E-JOB-005.*none of the cluster's 2 machines has"):
        _ = RayCluster(two_machines, cpus, gpus, None).places


def test_nothing_is_told_to_rays_makers(two_machines: str) -> None:
    RayCluster(two_machines, 1, 0, None).connected()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_what_stops_this_process_stays_as_it_was(two_machines: str) -> None:
    import ray

    ray.shutdown()  # so that it connects anew
    before = signal.getsignal(signal.SIGTERM)
    RayCluster(two_machines, 1, 0, None).connected()
    assert signal.getsignal(signal.SIGTERM) is before
