"""Two processes, which share a batch or part real networks between them (FSDP), train the student that one does."""

import json

import pandas as pd
import pytest
import torch
from launching import PROCESSES, fork

from gad.config import StudentConfig
from gad.data.noise_pairs import NoisePairs
from gad.data.pair_generation import generate_noise_pairs
from gad.distillation.train_students import train_student_seeds
from gad.models.model import load_model
from gad.runtime.fsdp import shard

SCRIPT = """
import json
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from gad.config import StudentConfig
from gad.data.noise_pairs import NoisePairs
from gad.distillation.train_students import train_student_seeds
from gad.models.model import load_model
for folder in sorted(Path(sys.argv[1]).glob("*/")):
    for name, parted in {"whole": False, "parted": True}.items():
        config = StudentConfig(**json.loads((folder / "config.json").read_text()) | {"shard": parted})
        teacher, pairs = load_model(folder / "teacher"), NoisePairs(folder / "pairs")
        live = folder / "live" / name
        list(train_student_seeds(teacher, pairs, config, variant="gad", folder=folder / name, live=live))
"""

PARADIGMS = {"unet": "ladd", "dit": "tdm", "flow": "sid"}
FAMILIES = [pytest.param("unet", marks=pytest.mark.slow), pytest.param("dit", marks=pytest.mark.slow), "flow"]


@pytest.fixture(scope="module", params=FAMILIES)
def by_two(pipelines, smoke, tmp_path_factory, request):
    """The folder of a family in turn: teacher, pairs, and the student that two processes trained."""
    root = tmp_path_factory.mktemp("parted")
    changes = {"seeds": [0], "batch_size": 8, "accumulate": 2, "num_steps": 2, "warmup_steps": 0, "lr": 1e-4}
    changes |= {"log_every": 1, "ema_decay": 0.0, "max_grad_norm": 1e6}
    small = {"num_pairs": 8, "shard_size": 8, "batch_size": 8, "teacher_steps": 2, "guidance_scale": 2.0}
    folder = root / request.param
    pipelines[request.param].save_pretrained(folder / "teacher")
    config = smoke.noise_pairs.model_copy(update=small)
    list(generate_noise_pairs(folder / "pairs", load_model(folder / "teacher"), "hash", config))
    settings = smoke.student.model_copy(update=changes | {"paradigm": PARADIGMS[request.param]})
    (folder / "config.json").write_text(json.dumps(settings.model_dump()))
    done = fork(SCRIPT, root)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def logged(folder) -> pd.DataFrame:
    """What does not depend on how many processes there are: losses, and the size of gradients."""
    return pd.read_csv(folder / "training.csv").filter(regex="^(step|total|auxiliary|gradient_norm|probe_.*)$")


@pytest.fixture(scope="module")
def by_one(by_two):
    """The folder of a family in turn, with the student that one process trained beside that of two."""
    folder = by_two
    config = StudentConfig(**json.loads((folder / "config.json").read_text()))
    teacher, pairs = load_model(folder / "teacher"), NoisePairs(folder / "pairs")
    list(
        train_student_seeds(teacher, pairs, config, variant="gad", folder=folder / "one", live=folder / "live" / "one")
    )
    return folder


@pytest.mark.xdist_group(PROCESSES)
@pytest.mark.parametrize(("name", "close"), [("whole", 1e-6), ("parted", 1e-3)])
def test_two_processes_end_with_the_student_of_one(by_one, name, close):
    pd.testing.assert_frame_equal(logged(by_one / name), logged(by_one / "one"), rtol=close, atol=1e-6)
    start = load_model(by_one / "teacher").denoiser.network.state_dict()
    ours, theirs = (load_model(by_one / who / "seed_0").denoiser.network.state_dict() for who in (name, "one"))
    moved = sum((theirs[key] - start[key]).square().sum() for key in theirs).sqrt()
    apart = sum((theirs[key] - ours[key]).square().sum() for key in theirs).sqrt()
    assert moved > 0 and apart < 0.02 * moved


def test_a_single_process_cannot_part_a_network():
    with pytest.raises(ValueError, match="shard needs several processes: accelerate launch"):
        shard([torch.nn.Linear(2, 2)], torch.device("cpu"))


@pytest.mark.parametrize(
    "changes", [{"dtype": "float16"}, {"compile": True}, {"channels_last": True}, {"gad_interval": [0.2, 0.6]}]
)
def test_what_does_not_go_with_parted_networks_is_refused(smoke, changes):
    with pytest.raises(ValueError, match="shard"):
        StudentConfig(**smoke.student.model_dump() | {"shard": True} | changes)
