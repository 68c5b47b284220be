import os
import socket
import threading
from pathlib import Path

import pytest

from vae_experiments.data import download
from vae_experiments.data.download import UnavailableError, fetch, fetch_wheel


def test_a_file_arrives_as_it_is(mirror, tmp_path: Path) -> None:
    content = os.urandom(300_000)
    (mirror.folder / "file.gz").write_bytes(content)
    fetch(mirror.url + "file.gz", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == content


def test_a_file_that_is_not_there_says_so(mirror, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="HTTP status 404"):
        fetch(mirror.url + "nothing", tmp_path / "got")


def answering(answer: bytes) -> str:
    """The address of a server that says that once, and keeps the line open if it has nothing to say."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        connection.recv(1000)
        if answer:
            connection.sendall(answer)
            connection.close()
        else:
            connection.recv(1000)  # until the other side has had enough
        listener.close()

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/"


def test_a_connection_that_breaks_off_is_no_download(tmp_path: Path) -> None:
    url = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this much")
    with pytest.raises(UnavailableError, match="no connection, or a broken one"):
        fetch(url, tmp_path / "got")


def test_a_refused_connection_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UnavailableError, match="no connection"):
        fetch(f"http://127.0.0.1:{port}/", tmp_path / "got")


def test_a_silent_server_is_given_up_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "ANSWER_SECONDS", 0.3)
    with pytest.raises(UnavailableError, match=r"no answer within 0\.3 s"):
        fetch(answering(b""), tmp_path / "got")


def test_without_an_index_pips_reason_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(UnavailableError, match="no-such-package"):
        fetch_wheel("no-such-package==1.0", tmp_path)


def test_a_source_package_is_never_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import tarfile

    index = tmp_path / "index"
    index.mkdir()
    with tarfile.open(index / "evil-1.0.tar.gz", "w:gz") as archive:
        program = f"open({str(tmp_path / 'ran')!r}, 'w')".encode()
        for name, data in {
            "evil-1.0/setup.py": program,
            "evil-1.0/PKG-INFO": b"Name: evil\nVersion: 1.0\n",
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    with pytest.raises(UnavailableError, match="evil"):
        fetch_wheel("evil==1.0", tmp_path / "wheels")
    assert not (tmp_path / "ran").exists()
