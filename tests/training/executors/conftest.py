"""The module `errands`, where other processes find it too; and a Ray cluster of two machines."""

from __future__ import annotations

import importlib
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

HERE = str(Path(__file__).parent)

# Ray makes its workers nice by 15: beside other tests, two of them took 15 minutes for 30 seconds
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 -- Ray's spelling


@pytest.fixture
def errands(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What jobs do here."""
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module("errands")


@pytest.fixture(scope="session")
def two_machines() -> Iterator[str]:
    """Address of a real Ray cluster: two raylets of this machine, a core each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [HERE, before]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own notes
        import ray
        from ray.cluster_utils import Cluster

        stops = signal.getsignal(signal.SIGTERM)
        own = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
        cluster = Cluster(initialize_head=True, head_node_args={**own, "include_dashboard": False})
        cluster.add_node(**own)
        signal.signal(signal.SIGTERM, stops)  # the raylets' starter puts its own there
        yield cluster.address
        ray.shutdown()
        cluster.shutdown()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before
