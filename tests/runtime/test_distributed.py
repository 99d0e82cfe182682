"""Two processes train the student that one does, and share out the noise pairs."""

import json

import pytest
import torch
from launching import PROCESSES, fork, launch

from gad.data.noise_pairs import NoisePairs
from gad.data.pair_generation import generate_noise_pairs
from gad.distillation.train_students import train_student_seeds
from gad.runtime.checkpoint import LAST, read_checkpoint
from gad.runtime.devices import own_device
from gad.runtime.files import read_tensors

SCRIPT = """
import json
import os
import signal
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from gad.config import load_recipe
from gad.models.exact import ExactDenoiser
from gad.data.noise_pairs import NoisePairs
from gad.data.pair_generation import generate_noise_pairs
from gad.runtime.distributed import rank_and_world_size, distributed_wait_until
from gad.diffusion.schedule import CosineSchedule
from gad.distillation.train_students import train_student_seeds
from gad.models.model import Model
from gad.data.swiss_roll import make_swiss_roll
settings = load_recipe("smoke")
root = Path(sys.argv[1])
teacher = Model(ExactDenoiser(make_swiss_roll(200, 0).view(-1, 2, 1, 1), CosineSchedule()), (2, 1, 1))
list(generate_noise_pairs(root / "pairs", teacher, "hash", settings.noise_pairs))
distributed_wait_until((root / "pairs" / "manifest.json").exists)
pairs = NoisePairs(root / "pairs")
for name, (variant, changes) in json.loads(sys.argv[2]).items():
    config = settings.student.model_copy(update={"log_every": 1, "seeds": [0]} | changes)
    run = train_student_seeds(teacher, pairs, config, variant=variant, folder=root / name, live=root / "live" / name)
    totals = []
    for _, state in run:
        totals.append(state.terms["total"])
        print(name, state.step, flush=True)
        if len(sys.argv) > 3 and rank_and_world_size()[0] == 1 and state.step == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
    if rank_and_world_size()[0] == 0:
        (root / f"{name}.json").write_text(json.dumps(totals))
"""

RUNS = {
    "matching": ("gad", {"paradigm": "matching"}),
    "tdm": ("gad_anchor", {"paradigm": "tdm"}),
    "parted": ("gad_anchor", {"paradigm": "tdm", "shard": True, "accumulate": 2}),
    # with four pairs a process, one of the two has no open pair at about every eighth step
    "gated": ("gad", {"paradigm": "tdm", "gad_interval": [0.9, 1.0]}),
}

pytestmark = pytest.mark.xdist_group(PROCESSES)


@pytest.fixture(scope="session")  # pytest-xdist may run tests of other modules between these
def by_two(tmp_path_factory):
    """The folder that two processes filled."""
    root = tmp_path_factory.mktemp("two")
    done = launch(SCRIPT, root, json.dumps(RUNS))
    assert done.returncode == 0, done.stderr[-3000:]
    return root


def test_the_pairs_of_two_processes_are_those_of_one(by_two, point_teacher, smoke, tmp_path):
    list(generate_noise_pairs(tmp_path / "pairs", point_teacher, "hash", smoke.noise_pairs))
    ours = {path.name: path.read_bytes() for path in (tmp_path / "pairs").iterdir()}
    assert {path.name: path.read_bytes() for path in (by_two / "pairs").iterdir()} == ours


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_end_with_the_student_of_one(by_two, point_teacher, smoke, tmp_path, name):
    pairs, (variant, changes) = NoisePairs(by_two / "pairs"), RUNS[name]
    config = smoke.student.model_copy(update={"log_every": 1, "seeds": [0]} | changes | {"shard": False})
    folder = tmp_path / name
    run = train_student_seeds(point_teacher, pairs, config, variant=variant, folder=folder, live=tmp_path / "live")
    alone = [state.terms["total"] for _, state in run]
    together = json.loads((by_two / f"{name}.json").read_text())  # every digit; the table keeps six
    assert together == pytest.approx(alone, rel=0, abs=1e-6)
    theirs = read_tensors(by_two / name / "seed_0" / "network.safetensors")
    for key, tensor in read_tensors(folder / "seed_0" / "network.safetensors").items():
        assert torch.allclose(tensor, theirs[key], rtol=0, atol=1e-6), key


@pytest.mark.parametrize("name", ["tdm", pytest.param("parted", marks=pytest.mark.slow)])
def test_after_one_of_two_processes_is_killed_both_go_on_to_the_same_bits(by_two, tmp_path, name):
    variant, changes = RUNS[name]
    runs = {name: (variant, changes | {"checkpoint_every": 2})}
    assert fork(SCRIPT, tmp_path, json.dumps(runs), 5).returncode != 0
    assert not (tmp_path / name / "seed_0" / "network.safetensors").exists()
    left = read_checkpoint(next((tmp_path / name).rglob(LAST)))
    assert left["step"] == 4
    done = fork(SCRIPT, tmp_path, json.dumps(runs))
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{name} 5\n" in done.stdout and f"{name} 4\n" not in done.stdout  # from the checkpoint, not from the start
    ours, theirs = (read_tensors(root / name / "seed_0" / "network.safetensors") for root in (tmp_path, by_two))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_processes_share_the_gpus_of_their_machine(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    found = []
    for rank in range(4):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        found.append(own_device("auto").index)
    assert found == [0, 1, 0, 1]
