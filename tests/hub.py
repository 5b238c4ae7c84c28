"""As much of the Hugging Face hub as a download of one model needs, on 127.0.0.1."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMMIT = "c0ffee" + "0" * 34


@dataclass
class FakeHub:
    """The model `name`, whose files lie in `folder`.

    Attributes:
        broken: files whose transfer breaks off half-way, and how often it does so.
        down: whether every transfer of a file is answered with an error.
        transfers: (file, `Range` header) of every transfer that was asked for.
    """

    name: str
    folder: Path
    endpoint: str = ""
    broken: dict[str, int] = field(default_factory=dict)
    down: bool = False
    transfers: list[tuple[str, str | None]] = field(default_factory=list)

    def tree(self) -> list[dict[str, object]]:
        """The listing of the files; large ones are in the large-file storage, as on the hub."""
        return [self.entry(path) for path in sorted(self.folder.iterdir())]

    def entry(self, path: Path) -> dict[str, object]:
        data = path.read_bytes()
        entry: dict[str, object] = {"type": "file", "path": path.name, "size": len(data), "oid": sha1(data).hexdigest()}
        if path.suffix == ".safetensors":
            entry["lfs"] = {"oid": sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        return entry


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, name = self.path.split("?")[0], re.escape(self.hub.name)
        if re.fullmatch(f"/api/models/{name}/revision/(main|{COMMIT})", path):
            self.reply(json.dumps({"id": self.hub.name, "sha": COMMIT, "siblings": []}).encode())
        elif re.fullmatch(f"/api/models/{name}/tree/{COMMIT}", path):
            self.reply(json.dumps(self.hub.tree()).encode())
        elif match := re.fullmatch(f"/{name}/resolve/(?:main|{COMMIT})/(.+)", path):
            self.send_file(self.hub.folder / match[1])
        elif path.startswith(f"/api/models/{self.hub.name}/"):
            self.reply(b"{}", 404, {"X-Error-Code": "RevisionNotFound"})
        else:
            self.reply(b"{}", 404, {"X-Error-Code": "RepoNotFound"})

    def send_file(self, path: Path) -> None:
        entry = self.hub.entry(path)
        stored = entry.get("lfs", entry)
        assert isinstance(stored, dict)
        headers = {"ETag": f'"{stored["oid"]}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        data, status = path.read_bytes(), 200
        if self.command == "GET":
            wanted = self.headers.get("Range")
            self.hub.transfers.append((path.name, wanted))
            if self.hub.down:
                return self.reply(b"", 403)
            if wanted:
                first = int(wanted.removeprefix("bytes=").split("-")[0])
                headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
                data, status = data[first:], 206
        return self.reply(data, status, headers, self.breaks(path.name))

    def breaks(self, name: str) -> bool:
        left = self.hub.broken.get(name, 0) if self.command == "GET" else 0
        if left:
            self.hub.broken[name] = left - 1
        return left > 0

    def reply(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None, half: bool = False) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if half else body)
        if half:
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the test's output is pytest's."""


@contextmanager
def serve(name: str, folder: Path) -> Iterator[FakeHub]:
    """A hub with one model, for as long as the block runs."""
    hub = FakeHub(name, folder)
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
