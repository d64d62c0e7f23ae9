"""`wandb sync` of an offline run: all of it arrives, from the run's folder alone, and no secret.

W&B's server is stood in for by one that takes everything in; `wandb sync` is W&B's own.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from recart.config.compose import compose
from recart.training.trackers import tracked
from recart.training.wandb_tracker import WandbTracker

pytestmark = pytest.mark.slow  # starts W&B twice

FOLDER, PATIENT = "zzsecretfolder", "SMITH-JOHN-1957"
TABLES: Any = {
    "metrics": [{"model": "recart", "auroc": 0.75}],
    "curve_roc": [{"share": 0.0, "found": 0.25}, {"share": 0.5, "found": 1.0}],
}


@dataclass
class Server:
    """What it was sent: each request's line and headers with its body."""

    address: str = ""
    requests: list[tuple[str, bytes]] = field(default_factory=list)

    def bodies(self, path: str) -> list[bytes]:
        return [body for head, body in self.requests if path in head.splitlines()[0]]


def body_of(request: BaseHTTPRequestHandler) -> bytes:
    body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
    if request.headers.get("Transfer-Encoding") == "chunked":
        while size := int(request.rfile.readline(), 16):
            body += request.rfile.read(size + 2)[:-2]
        request.rfile.readline()
    return gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body


def answer_to(query: str, given: dict[str, Any], address: str) -> dict[str, Any]:
    """As W&B's server answers where it takes a run and its files in."""
    if "upsertBucket" in query:
        project = {"id": "p", "name": given["project"], "entity": {"id": "e", "name": "me"}}
        bucket = {"id": "b", "name": given["name"], "displayName": given.get("displayName")}
        more = {"config": "{}", "historyLineCount": 0, "project": project}
        return {"upsertBucket": {"bucket": {**bucket, **more}, "inserted": True}}
    if "createRunFiles" in query:
        files = [{"name": own, "uploadUrl": f"{address}/upload/{own}"} for own in given["files"]]
        return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
    return {}


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that takes everything in."""
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = body_of(self)
            found.requests.append((f"{self.requestline}\n{self.headers}", body))
            reply = {}
            if self.path == "/graphql":
                asked = json.loads(body)
                own = answer_to(asked["query"], asked.get("variables") or {}, found.address)
                reply = {"data": own}
            content = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_PUT(self) -> None:
            self.do_POST()

        def log_message(self, *_: Any) -> None: ...

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.address = f"http://127.0.0.1:{listening.server_port}"
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield found
    listening.shutdown()
    listening.server_close()


def test_the_offline_folder_is_all_that_sync_needs(server: Server, tmp_path: Path) -> None:
    logs = tmp_path / FOLDER / "logs"
    config = compose([f"data.path=/{FOLDER}/x.h5mu", f"data.positive=[{PATIENT}]"])
    config.model.latent = 7654321
    WandbTracker("recart", None, "offline", 5).record(tracked(logs, config, {}, print), TABLES)
    (run,) = (logs / "wandb").glob("offline-run-*")
    copy = tmp_path / "elsewhere" / run.name
    shutil.copytree(run, copy)
    shutil.rmtree(tmp_path / FOLDER)
    own = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    account = {"WANDB_BASE_URL": server.address, "WANDB_API_KEY": 40 * "0"}
    places = dict.fromkeys(("WANDB_CACHE_DIR", "WANDB_DATA_DIR"), str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", str(copy)],
        env={**own, **account, **places, "WANDB_ERROR_REPORTING": "false"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    assert list(copy.glob("*.wandb.synced"))
    assert server.bodies("/upload/metrics.csv") == [b"model,auroc\r\nrecart,0.75\r\n"]
    assert server.bodies("/upload/curve_roc.csv") == [b"share,found\r\n0.0,0.25\r\n0.5,1.0\r\n"]
    assert b"7654321" in server.bodies("/upload/config.yaml")[0]
    rows = [
        json.loads(row)
        for body in server.bodies("/file_stream")
        for row in json.loads(body)
        .get("files", {})
        .get("wandb-history.jsonl", {})
        .get("content", [])
    ]
    assert [(own["curve_roc/share"], own["curve_roc/found"]) for own in rows] == [
        (0, 0.25),
        (0.5, 1),
    ]
    sent = b"".join(head.encode() + body for head, body in server.requests)
    assert not [own for own in (FOLDER, PATIENT, str(tmp_path)) if own.encode() in sent]
