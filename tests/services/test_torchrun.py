"""One model trained by two torchrun commands, as on two machines."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support import BARE, only_folder, results, run_process, status_of

pytestmark = pytest.mark.timeout(900)


def test_two_nodes_train_one_model_with_the_losses_of_one_process() -> None:
    single = run_process("train", *BARE, "hydra.run.dir=single")
    assert single.status == 0, single.err
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    logs = [Path(f"node{rank}.log") for rank in range(2)]
    nodes = []
    for rank, path in enumerate(logs):
        rendezvous = [f"--node-rank={rank}", "--master-addr=127.0.0.1", f"--master-port={port}"]
        launcher = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", *rendezvous]
        words = [sys.executable, *launcher, "-m", "vae_experiments", "train", *BARE]
        with path.open("w") as log:
            nodes.append(subprocess.Popen(words, stdout=log, stderr=log, env=dict(os.environ)))
    try:
        statuses = [node.wait(240) for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert statuses == [0, 0], "\n".join(path.read_text() for path in logs)
    folder = only_folder()
    assert status_of(folder) == "FINISHED"
    expected, found = results(Path("single")), results(folder)
    assert len(found) == len(expected) == 2
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine:
            assert mine[name] == pytest.approx(theirs[name], rel=1e-4), name
