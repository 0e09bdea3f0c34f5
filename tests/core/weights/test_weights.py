"""The weights cache: finding, fetching, verifying, loading, and what the command line shows."""

import dataclasses
import functools
import hashlib
import http.server
import json
import pickle
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from losskit import WeightsSpec
from losskit.cli import main
from losskit.errors import WeightsError
from losskit.weights import (
    cache_dir,
    find_file,
    load_weights,
    pull_weights,
    random_seed,
    record_path,
    verify_weights,
    weights_path,
)
from losskit.weights import files as facility


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("LOSSKIT_CACHE", str(folder))
    return folder


def _file_name(spec: WeightsSpec) -> str:
    """The published name with the checksum's beginning, as torch.hub names files."""
    return f"net-v1-{spec.sha256[:8]}.pth"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    file = tmp_path / "remote" / "net-v1.pth"
    file.parent.mkdir()
    torch.save({"layer.weight": torch.arange(4.0)}, file)
    return file


class _Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; ``/to/URL`` redirects there."""

    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where this machine serves the temporary folder."""
    handler = functools.partial(_Server, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def spec(published: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> WeightsSpec:
    made = WeightsSpec(
        "net",
        f"{address}/remote/net-v1.pth",
        hashlib.sha256(published.read_bytes()).hexdigest(),
        "MIT",
        published.stat().st_size,
        "four numbers",
        "demo",
    )
    monkeypatch.setattr(facility, "known_weights", lambda: [made])
    monkeypatch.setattr("losskit.cli.weights.known_weights", lambda: [made])
    return made


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/hostname",
        "ftp://example.org/net.pth",
        "http://example.org/net.pth",
        "data:,net",
        "/etc/hostname",
    ],
)
@pytest.mark.parametrize("redirected", [False, True])
def test_only_https_is_fetched_after_redirects_too(
    url: str, redirected: bool, spec: WeightsSpec, address: str, cache: Path
) -> None:
    if redirected and url.startswith("/"):
        pytest.skip("of the server itself")
    wrong = dataclasses.replace(spec, url=f"{address}/to/{url}" if redirected else url)
    with pytest.raises(WeightsError, match=r"cannot fetch 'net'.*(only https is|not allowed)"):
        pull_weights(wrong)
    assert not list(cache.glob("*"))


def test_a_redirect_on_this_machine_is_followed(
    spec: WeightsSpec, address: str, cache: Path
) -> None:
    moved = dataclasses.replace(spec, url=f"{address}/to/{spec.url}")
    assert pull_weights(moved).is_file()


_BAD_ANSWERS = {
    "short": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfour",
    "short of what is published": b"HTTP/1.1 200 OK\r\n\r\nfour",
    "short chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nfour",
    "no HTTP": b"what?\r\n\r\n",
    "long header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("answer", _BAD_ANSWERS.values(), ids=_BAD_ANSWERS)
def test_half_a_file_is_never_kept_nor_recorded(
    answer: bytes, spec: WeightsSpec, cache: Path
) -> None:
    """Its checksum would be trusted from then on, where none is published."""

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(answer)

    with socketserver.TCPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/net.pth"
        with pytest.raises(WeightsError, match="cannot fetch 'net'"):
            pull_weights(dataclasses.replace(spec, url=url, sha256=None))
        server.shutdown()
    assert not list(cache.glob("*"))


def test_an_address_that_is_none_is_one_line(spec: WeightsSpec, cache: Path) -> None:
    with pytest.raises(WeightsError, match="cannot fetch 'net'"):
        pull_weights(dataclasses.replace(spec, url="https://user:secret@host/x"))


def test_the_folder_is_ours_or_torchs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOSSKIT_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("LOSSKIT_CACHE")
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
        assert cache_dir() == Path(torch.hub.get_dir()) / "checkpoints"
        monkeypatch.delenv(name)
    assert cache_dir() == Path(torch.hub.get_dir()) / "checkpoints"


def test_a_file_is_fetched_verified_and_loaded(spec: WeightsSpec, cache: Path) -> None:
    assert verify_weights(spec) == "missing"
    seen: list[tuple[int, int]] = []
    assert pull_weights(spec, lambda done, size: seen.append((done, size))) == cache / _file_name(
        spec
    )
    assert seen[-1] == (spec.size, spec.size)
    assert [path.name for path in cache.iterdir()] == [_file_name(spec)]
    assert verify_weights(spec) == "ok"
    assert torch.equal(load_weights("net")["layer.weight"], torch.arange(4.0))


def test_a_right_file_is_not_fetched_again(spec: WeightsSpec, cache: Path, published: Path) -> None:
    pull_weights(spec)
    published.unlink()
    assert pull_weights(spec) == weights_path(spec)


def test_a_wrong_download_is_refused_and_leaves_nothing(
    spec: WeightsSpec, cache: Path, published: Path
) -> None:
    published.write_bytes(b"something else")
    with pytest.raises(WeightsError, match="is not the published 'net': its sha256 is"):
        pull_weights(spec)
    assert list(cache.iterdir()) == []


def test_a_wrong_file_in_the_cache_is_never_loaded(spec: WeightsSpec, cache: Path) -> None:
    pull_weights(spec)
    torch.save({"layer.weight": torch.zeros(4)}, weights_path(spec))
    assert verify_weights(spec) == "wrong"
    with pytest.raises(
        WeightsError, match=r"not loaded. Delete it and run `losskit weights pull net`"
    ):
        load_weights("net")
    pull_weights(spec)  # fetches the right one over it
    assert verify_weights(spec) == "ok"


def test_a_missing_file_says_which_where_and_how(spec: WeightsSpec, cache: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        load_weights("net")
    for part in (_file_name(spec), str(cache), "`losskit weights pull net`", spec.url):
        assert part in str(caught.value)


def test_offline_says_where_to_put_the_file(
    spec: WeightsSpec, cache: Path, published: Path
) -> None:
    published.unlink()
    with pytest.raises(
        WeightsError, match=r"cannot fetch 'net' from .*put it at .*net-v1-[0-9a-f]{8}\.pth"
    ):
        pull_weights(spec)


def test_an_unknown_name_is_told_the_nearest(spec: WeightsSpec, cache: Path) -> None:
    with pytest.raises(WeightsError, match="no weights 'nett'; did you mean 'net'"):
        load_weights("nett")
    with pytest.raises(WeightsError, match="known are none"):
        find_file("nett", specs=[])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_path_is_read(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"own{suffix}"
    state = {"w": torch.ones(2)}
    if suffix == ".pth":
        torch.save({"state_dict": state, "epoch": 3}, file)
    else:
        save_file = pytest.importorskip("safetensors.torch").save_file
        save_file(state, file)
    for given in (file, str(file)):
        assert torch.equal(load_weights(given)["w"], torch.ones(2))


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


def test_code_in_a_file_does_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, save in enumerate((torch.save, lambda o, p: p.write_bytes(pickle.dumps(o)))):
        file = tmp_path / f"harmful{number}.pth"
        save({"w": _Harmful()}, file)
        with pytest.raises(WeightsError, match="cannot be read as plain tensors"):
            load_weights(file)
    assert capsys.readouterr().out == ""


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds list, not a state dict"):
        load_weights(tmp_path / "list.pth")
    torch.save({"epoch": 3, "weight": torch.ones(1)}, tmp_path / "run.pth")
    with pytest.raises(WeightsError, match=r"run\.pth holds int under 'epoch', where"):
        load_weights(tmp_path / "run.pth")
    with pytest.raises(WeightsError, match=r"there is no weights file '.*gone\.pth'"):
        load_weights(tmp_path / "gone.pth")


def test_random_is_asked_for_by_name() -> None:
    assert [
        random_seed(w) for w in ("random", "random:7", "default", "randomly", Path("random"))
    ] == [
        0,
        7,
        None,
        None,
        None,
    ]


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    code = main(["weights", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_command_line_from_nothing_to_a_verified_file(
    spec: WeightsSpec, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown = _json(capsys, "list")
    assert (code, shown["schema"]) == (0, 1)
    assert shown["weights"][0]["status"] == "missing"
    assert main(["weights", "list"]) == 0
    assert "four numbers" in capsys.readouterr().out
    assert main(["weights", "verify", "net"]) == 1
    assert capsys.readouterr().out.startswith("missing")
    assert main(["weights", "pull", "net"]) == 0
    assert capsys.readouterr().out.strip() == str(cache / _file_name(spec))
    code, shown = _json(capsys, "verify")
    assert (code, shown["weights"][0]["status"]) == (0, "ok")
    (cache / _file_name(spec)).write_bytes(b"x")
    code, shown = _json(capsys, "verify")
    assert (code, shown["weights"][0]["status"]) == (1, "wrong")
    assert _json(capsys, "pull", "--all")[1]["weights"][0]["status"] == "ok"
    assert _json(capsys, "path", "net")[1] == {
        "schema": 1,
        "path": str(cache / _file_name(spec)),
        "exists": True,
    }
    assert main(["weights", "path"]) == 0
    assert capsys.readouterr().out.strip() == str(cache)


def test_wrong_usage_is_2_and_an_unknown_name_1(
    spec: WeightsSpec, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "pull"]) == 2
    assert main(["weights", "pull", "net", "--all"]) == 2
    assert main(["weights", "pull", "other"]) == 1
    assert "there are no weights 'other'" in capsys.readouterr().err
    assert main(["weights"]) == 2


def test_nothing_known_and_nothing_here(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("losskit.cli.weights.known_weights", list)
    monkeypatch.setattr("losskit.cli.weights.default_networks", list)
    assert main(["weights", "list"]) == 0
    assert main(["weights", "verify"]) == 0
    assert "no installed plugin names weights files" in capsys.readouterr().out


def test_files_of_one_name_do_not_meet(cache: Path, tmp_path: Path, address: str) -> None:
    specs = []
    for index, folder in enumerate(("one", "two")):
        file = tmp_path / folder / "model.pth"
        file.parent.mkdir()
        torch.save({"layer.weight": torch.full((4,), float(index))}, file)
        checksum = hashlib.sha256(file.read_bytes()).hexdigest()
        specs.append(
            WeightsSpec(
                folder,
                f"{address}/{file.relative_to(tmp_path)}",
                checksum,
                "MIT",
                file.stat().st_size,
            )
        )
    for spec in specs:
        pull_weights(spec)
    assert [verify_weights(spec) for spec in specs] == ["ok", "ok"]


@pytest.fixture
def unpublished(spec: WeightsSpec, monkeypatch: pytest.MonkeyPatch) -> WeightsSpec:
    """The same file, with no checksum and no size known."""
    made = dataclasses.replace(spec, sha256=None, size=None)
    monkeypatch.setattr(facility, "known_weights", lambda: [made])
    monkeypatch.setattr("losskit.cli.weights.known_weights", lambda: [made])
    return made


def test_without_a_published_checksum_the_first_file_is_recorded(
    unpublished: WeightsSpec, cache: Path, published: Path
) -> None:
    checksum = hashlib.sha256(published.read_bytes()).hexdigest()
    with pytest.warns(UserWarning, match=rf"no checksum is published .*{checksum}, is recorded"):
        path = pull_weights(unpublished)
    assert path == cache / "net-v1-net.pth"
    assert record_path(unpublished).read_text() == f"{checksum}  net-v1-net.pth\n"
    assert verify_weights(unpublished) == "recorded"
    assert torch.equal(load_weights("net")["layer.weight"], torch.arange(4.0))  # no second warning
    assert pull_weights(unpublished) == path


def test_another_file_than_the_recorded_is_refused(
    unpublished: WeightsSpec, cache: Path, published: Path
) -> None:
    with pytest.warns(UserWarning, match="no checksum is published"):
        path = pull_weights(unpublished)
    torch.save({"layer.weight": torch.zeros(4)}, path)
    assert verify_weights(unpublished) == "wrong"
    with pytest.raises(WeightsError, match="is not the 'net' that came first: its sha256 is"):
        load_weights("net")
    published.write_bytes(path.read_bytes())  # what the publisher offers has changed
    with pytest.raises(WeightsError, match=r"If you trust it, delete .*\.pth\.sha256"):
        pull_weights(unpublished)
    record_path(unpublished).unlink()
    with pytest.warns(UserWarning, match="no checksum is published"):
        assert not load_weights("net")["layer.weight"].any()
    assert verify_weights(unpublished) == "recorded"


def test_a_file_put_there_by_hand_is_recorded_when_it_is_first_loaded(
    unpublished: WeightsSpec, cache: Path, published: Path
) -> None:
    cache.mkdir()
    weights_path(unpublished).write_bytes(published.read_bytes())
    assert verify_weights(unpublished) == "unrecorded"
    with pytest.warns(UserWarning, match="no checksum is published"):
        load_weights("net")
    assert verify_weights(unpublished) == "recorded"


def test_the_command_line_says_that_no_checksum_is_known(
    unpublished: WeightsSpec, cache: Path, published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "list"]) == 0
    assert "unknown" in capsys.readouterr().out
    cache.mkdir()
    weights_path(unpublished).write_bytes(published.read_bytes())
    assert main(["weights", "verify"]) == 1
    assert "no checksum known, and none recorded yet" in capsys.readouterr().out
    with pytest.warns(UserWarning, match="no checksum is published"):
        assert main(["weights", "pull", "net"]) == 0
    capsys.readouterr()
    assert main(["weights", "verify"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("recorded")
    assert "no checksum known" in shown
    shown = _json(capsys, "verify")[1]["weights"][0]
    assert (shown["sha256"], shown["status"]) == (None, "recorded")


def test_the_url_of_known_weights_is_their_name(
    spec: WeightsSpec, cache: Path, tmp_path: Path
) -> None:
    pull_weights(spec)
    assert find_file(spec.url) == weights_path(spec)
    with pytest.raises(WeightsError, match=r"'https://example.org/x\.pth' are not fetched while"):
        load_weights("https://example.org/x.pth")
