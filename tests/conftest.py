"""What holds for every test: shapes are checked, one thread, real data only where it is given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Checks every jaxtyping signature of the models at run time; must stand before they are imported.
_HOOK = install_import_hook(["recart.models", "recart.losses"], "beartype.beartype")

_UNSET = "RECART_REAL_DATA is not set: no folder of real data"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests on real data where there is none."""
    if item.get_closest_marker("real_data") and not os.environ.get("RECART_REAL_DATA"):
        pytest.skip(_UNSET)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data."""
    folder = os.environ.get("RECART_REAL_DATA")
    if not folder:
        pytest.skip(_UNSET)
    return Path(folder)
