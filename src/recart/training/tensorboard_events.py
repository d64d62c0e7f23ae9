"""Metrics as TensorBoard's event files, written without Lightning, torch or the host's name.

TensorBoard's own writer names the file after the host; TensorBoard reads any file whose name holds
`tfevents`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

__all__ = ["EventFile"]


@final
class EventFile:
    """Writes `version_<n>/events.out.tfevents.<time>` below `folder`."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        there = {path.name for path in folder.glob("version_*")}
        number = next(n for n in range(len(there) + 1) if f"version_{n}" not in there)
        place = folder / f"version_{number}"
        place.mkdir(parents=True)
        self._file = (place / f"events.out.tfevents.{int(time.time())}.recart").open("wb")
        self._records: Any = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write a row: a scalar each."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        self._write(step=step or 0, summary=Summary(value=values))

    def save(self) -> None:
        """Let readers see what was written."""
        self._records.flush()

    def close(self) -> None:
        """Close the file."""
        self._records.close()

    def _write(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        event = Event(wall_time=time.time(), **fields)
        self._records.write(event.SerializeToString())
