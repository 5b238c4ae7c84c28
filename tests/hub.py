"""As much of the Hugging Face hub as a download and an upload of one model need, on 127.0.0.1."""

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

COMMIT = "c0ffee" + "0" * 34


@dataclass
class FakeHub:
    """The model `name`, whose files lie in `folder`; those of another branch in `folder/.BRANCH`.

    Attributes:
        exists: whether the hub has the model; one that does not exist is made by an upload.
        private: whether it was made a private one.
        broken: files whose transfer breaks off half-way, and how often it does so.
        down: whether every transfer of a file is answered with an error.
        transfers: (file, `Range` header) of every transfer that was asked for.
        refused: status that answers every request to write; 0 if they are welcome.
        large: endings of the files that go to the large-file storage.
        objects: what lies there, by SHA-256.
        commits: the files of each commit.
    """

    name: str
    folder: Path
    exists: bool = True
    private: bool = False
    endpoint: str = ""
    broken: dict[str, int] = field(default_factory=dict)
    down: bool = False
    transfers: list[tuple[str, str | None]] = field(default_factory=list)
    refused: int = 0
    large: tuple[str, ...] = (".safetensors",)
    objects: dict[str, bytes] = field(default_factory=dict)
    commits: list[list[str]] = field(default_factory=list)

    def branch(self, name: str) -> Path:
        """The folder of a branch, which need not exist."""
        return self.folder if name == "main" else self.folder / f".{name}"

    def tree(self) -> list[dict[str, object]]:
        """The listing of the files; large ones are in the large-file storage, as on the hub."""
        return [self.entry(path) for path in sorted(self.folder.iterdir()) if path.is_file()]

    def entry(self, path: Path) -> dict[str, object]:
        data = path.read_bytes()
        entry: dict[str, object] = {"type": "file", "path": path.name, "size": len(data), "oid": sha1(data).hexdigest()}
        if path.name.endswith(self.large):
            entry["lfs"] = {"oid": sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        return entry

    def upload_mode(self, name: str, branch: str) -> dict[str, object]:
        """How a file is to be sent, and the hash of the one that is there already."""
        is_large, path = name.endswith(self.large), self.branch(branch) / name
        oid = None
        if path.is_file():
            data = path.read_bytes()
            git = sha1(b"blob %d\0" % len(data) + data).hexdigest()
            oid = sha256(data).hexdigest() if is_large else git
        return {"path": name, "uploadMode": "lfs" if is_large else "regular", "shouldIgnore": False, "oid": oid}

    def transfer(self, wanted: dict[str, Any]) -> dict[str, object]:
        """Where an object of the large-file storage is to be put; nowhere if it is there."""
        reply: dict[str, object] = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in self.objects:
            reply["actions"] = {"upload": {"href": f"{self.endpoint}/objects/{wanted['oid']}"}}
        return reply

    def commit(self, branch: str, lines: list[dict[str, Any]]) -> None:
        files = [line["value"] for line in lines if line["key"] in ("file", "lfsFile")]
        for file in files:
            data = b64decode(file["content"]) if "content" in file else self.objects[file["oid"]]
            (self.branch(branch) / file["path"]).write_bytes(data)
        self.commits.append([file["path"] for file in files])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, name = self.path.split("?")[0], re.escape(self.hub.name)
        known = re.fullmatch(f"/api/models/{name}/revision/(.+)", path)
        if known and (known[1] == COMMIT or self.hub.branch(known[1]).is_dir()):
            self.answer({"id": self.hub.name, "sha": COMMIT, "siblings": []})
        elif re.fullmatch(f"/api/models/{name}/tree/{COMMIT}", path):
            self.answer(self.hub.tree())
        elif match := re.fullmatch(f"/{name}/resolve/(?:main|{COMMIT})/(.+)", path):
            self.send_file(self.hub.folder / match[1])
        elif path.startswith(f"/api/models/{self.hub.name}/"):
            self.reply(b"{}", 404, {"X-Error-Code": "RevisionNotFound"})
        else:
            self.reply(b"{}", 404, {"X-Error-Code": "RepoNotFound"})

    def do_PUT(self) -> None:
        """An object for the large-file storage."""
        data = self.body()
        if self.path != f"/objects/{sha256(data).hexdigest()}":
            return self.answer({"error": "not what was announced"}, 400)
        self.hub.objects[sha256(data).hexdigest()] = data
        return self.reply(b"")

    def do_POST(self) -> None:
        """Any other request to write, in the order in which the client makes them."""
        path, body = self.path.removeprefix(f"/api/models/{self.hub.name}"), self.body()
        if self.hub.refused:
            self.answer({"error": "You don't have the rights"}, self.hub.refused)
        elif path == "/api/repos/create":
            self.create(json.loads(body))
        elif match := re.fullmatch("/branch/(.+)", path):
            status = 409 if self.hub.branch(match[1]).is_dir() else 200
            self.hub.branch(match[1]).mkdir(exist_ok=True)
            self.answer({}, status)
        elif path == "/api/validate-yaml":
            fields = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
            self.answer(
                {"errors": [] if fields else [{"message": "no fields"}], "warnings": []}, 200 if fields else 400
            )
        elif match := re.fullmatch("/preupload/(.+)", path):
            self.answer({"files": [self.hub.upload_mode(file["path"], match[1]) for file in json.loads(body)["files"]]})
        elif path == f"/{self.hub.name}.git/info/lfs/objects/batch":
            self.answer({"objects": [self.hub.transfer(wanted) for wanted in json.loads(body)["objects"]]})
        elif match := re.fullmatch("/commit/(.+)", path):
            self.hub.commit(match[1], [json.loads(line) for line in body.splitlines()])
            self.answer({"commitUrl": f"{self.hub.endpoint}/{self.hub.name}/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self.answer({}, 404)

    def create(self, wanted: dict[str, Any]) -> None:
        assert f"{wanted['organization']}/{wanted['name']}" == self.hub.name
        status = 409 if self.hub.exists else 200
        if not self.hub.exists:
            self.hub.exists, self.hub.private = True, wanted.get("visibility") == "private"
        self.answer({"url": f"{self.hub.endpoint}/{self.hub.name}"}, status)

    def body(self) -> bytes:
        """What the client sent, in one piece or in chunks."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers["Content-Length"]))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def answer(self, value: object, status: int = 200) -> None:
        self.reply(json.dumps(value).encode(), status, {"Content-Type": "application/json"})

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
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if half else body)
        if half:
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the test's output is pytest's."""


@contextmanager
def serve(name: str, folder: Path, exists: bool = True) -> Iterator[FakeHub]:
    """A hub with one model, for as long as the block runs."""
    hub = FakeHub(name, folder, exists)
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
