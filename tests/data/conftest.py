"""Small data, a real web server, and processes that start at once."""

import http.server
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest


@dataclass
class Mirror:
    """A web server on this machine that counts what it is asked for."""

    folder: Path
    url: str = ""
    requests: list[str] = field(default_factory=list)


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args: object, mirror: Mirror, **kwargs: object) -> None:
        self.mirror = mirror
        super().__init__(*args, directory=str(mirror.folder), **kwargs)

    def do_GET(self) -> None:
        self.mirror.requests.append(self.path.lstrip("/"))
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    folder = tmp_path / "mirror"
    folder.mkdir()
    served = Mirror(folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, mirror=served)) as server:
        served.url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield served
        server.shutdown()
        thread.join()


@pytest.fixture
def at_once() -> Callable[[str], list[str]]:
    """Runs a program in two processes that reach `go()` together; what each printed."""

    def run(program: str) -> list[str]:
        program = "import sys\ndef go(): print('ready', flush=True); sys.stdin.readline()\n" + program
        processes = [
            subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=60)[0] for process in processes]
        assert [process.returncode for process in processes] == [0, 0]
        return outputs

    return run
