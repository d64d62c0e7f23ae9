"""What a tracking server that fails costs a training: seconds and bytes beside an untracked run.

Weights & Biases is sent to servers of this script that refuse the connection, never answer, or
answer 500, in turn, each time by a tiny training beside an untracked one. What is timed is the
training (`train_run` until its members are there), and apart from it the end of the run, where the
server is given `logger.wandb.patience` seconds. Members must be the untracked run's to the byte.
All run in one process, so that imports, which `tracking.py` counts, are in none of the times.

    python benchmarks/bad_trackers.py --times 20
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

PATIENCE = 5
KINDS = ("refuses", "hangs", "answers 500")
SMALL = [
    *("data.reader.patients=12", "data/receptors=none", "data.folds.k=2", "data.folds.repeats=1"),
    *("data.reader.genes=300", "data.reader.cells_per_sample=150", "data.limits.min_per_class=3"),
    *("features.n_genes=150", "model.hidden=16", "model.latent=4", "training.epochs=8"),
    *("head.prototypes=4", "head.fine_prototypes=0", "head.inner_folds=2"),
    *("executor=in_process", "trainer.accelerator=cpu", "~callbacks.progress"),
]


@contextmanager
def server(kind: str) -> Iterator[tuple[str, list[str]]]:
    """The address of a server that behaves so, and what it was asked for."""
    asked: list[str] = []
    if kind == "refuses":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{free.getsockname()[1]}"
        yield address, asked
        return
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if kind == "hangs":
                over.wait()
            else:
                self.send_error(500)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None: ...

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_port}", asked
    finally:
        over.set()
        running.shutdown()
        running.server_close()


def train(folder: Path, *settings: str) -> dict[str, Any]:
    """Train; seconds until the members were there, and until all had ended."""
    from recart.config.compose import compose
    from recart.training.launch import train_run

    places = [f"paths.run={folder}", f"paths.prepared={folder.parent / 'data'}"]
    config = compose([*SMALL, *places, *settings])
    said = io.StringIO()
    started, beside = time.time(), time.process_time()
    with redirect_stderr(said):
        train_run(config)
    files = sorted((folder / "checkpoints").iterdir())
    return {
        "members": hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest(),
        "trained": max(path.stat().st_mtime for path in files) - started,
        "ended": time.time() - started,
        "cpu": time.process_time() - beside,
        "said": said.getvalue().count("did not take in"),
    }


def main() -> None:
    """Print how often members were the same, and the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--times", type=int, default=20, help="trainings with a bad server")
    times = parser.parse_args().times
    online = ["logger=wandb", "logger.wandb.mode=online", f"logger.wandb.patience={PATIENCE}"]
    plain, bad = [], []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        # prepares the cohort, and imports
        for first, settings in (("first", ["logger=csv"]), ("second", ["logger=wandb"])):
            train(folder / first, *settings)
        for number in range(times):
            kind = KINDS[number % len(KINDS)]
            # side by side in time, so that the machine's other load is the same for both
            plain.append(train(folder / f"plain{number}", "logger=csv"))
            with server(kind) as (address, asked):
                os.environ |= {"WANDB_BASE_URL": address, "WANDB_API_KEY": 40 * "0"}
                found = train(folder / f"bad{number}", *online)
            bad.append({**found, "kind": kind, "asked": len(asked)})
            sys.stderr.write(f"{number + 1}: {kind}, {found}\n")
    table: dict[str, Any] = {
        "trainings": times,
        "members the same": sum(own["members"] == plain[0]["members"] for own in bad),
        "said once": sum(own["said"] == 1 for own in bad),
        "untracked the same": sum(own["members"] == plain[0]["members"] for own in plain),
    }
    for name in ("trained", "ended", "cpu"):
        table[f"untracked, {name}, s"] = _spread([own[name] for own in plain])
        for kind in KINDS:
            chosen = [own[name] for own in bad if own["kind"] == kind]
            table[f"{kind}, {name}, s"] = _spread(chosen)
        table[f"ratio of {name}"] = _spread(
            [own[name] / other[name] for own, other in zip(bad, plain, strict=True)]
        )
    sys.stdout.write(json.dumps(table, indent=1) + "\n")


def _spread(values: list[float]) -> str:
    if not values:
        return "none"
    low, middle, high = np.quantile(values, [0, 0.5, 1])
    return f"median {middle:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
