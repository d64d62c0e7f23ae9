"""The module `errands`, where other processes find it too."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def errands(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What jobs do here."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("errands")
