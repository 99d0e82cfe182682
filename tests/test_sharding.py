"""Two processes that part real networks between them (FSDP) train the student that one process does."""

import json

import pytest
import torch
from launching import launch

from gad.config import StudentConfig
from gad.noise_pairs import NoisePairs, generate
from gad.sharding import shard
from gad.students import train_seeds
from gad.teachers.load import load_model

SCRIPT = """
import json
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from gad.config import StudentConfig
from gad.noise_pairs import NoisePairs
from gad.students import train_seeds
from gad.teachers.load import load_model
for folder in sorted(Path(sys.argv[1]).glob("*/")):
    config = StudentConfig(**json.loads((folder / "config.json").read_text()) | {"shard": True})
    teacher, pairs = load_model(folder / "teacher"), NoisePairs(folder / "pairs")
    list(train_seeds(teacher, pairs, config, variant="gad", folder=folder / "two", live=folder / "live"))
"""

PARADIGMS = {"unet": "ladd", "dit": "tdm", "flow": "sid"}


@pytest.fixture(scope="module")
def by_two(pipelines, smoke, tmp_path_factory):
    """A folder of each family: teacher, pairs, and the student that two processes trained."""
    root = tmp_path_factory.mktemp("parted")
    changes = {"seeds": [0], "batch_size": 4, "num_steps": 2, "lr": 1e-4, "log_every": 1, "max_grad_norm": 0.1}
    small = {"num_pairs": 4, "shard_size": 4, "batch_size": 4, "teacher_steps": 2, "guidance_scale": 2.0}
    for backbone, paradigm in PARADIGMS.items():
        folder = root / backbone
        pipelines[backbone].save_pretrained(folder / "teacher")
        config = smoke.noise_pairs.model_copy(update=small)
        list(generate(folder / "pairs", load_model(folder / "teacher"), "hash", config))
        settings = smoke.student.model_copy(update=changes | {"paradigm": paradigm})
        (folder / "config.json").write_text(json.dumps(settings.model_dump()))
    done = launch(SCRIPT, root)
    assert done.returncode == 0, done.stderr[-3000:]
    return root


def totals(folder) -> list[float]:
    rows = (folder / "training.csv").read_text().splitlines()
    column = rows[0].split(",").index("total")
    return [float(row.split(",")[column]) for row in rows[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("name", PARADIGMS)
def test_two_processes_that_part_the_networks_end_with_the_student_of_one(by_two, name, tmp_path):
    folder = by_two / name
    config = StudentConfig(**json.loads((folder / "config.json").read_text()))
    teacher, pairs = load_model(folder / "teacher"), NoisePairs(folder / "pairs")
    list(train_seeds(teacher, pairs, config, variant="gad", folder=tmp_path / "one", live=tmp_path / "live"))
    assert totals(folder / "two") == pytest.approx(totals(tmp_path / "one"), abs=1e-5, rel=1e-4)
    ours, theirs = (
        load_model(path / "seed_0").denoiser.network.state_dict() for path in (folder / "two", tmp_path / "one")
    )
    for key, tensor in theirs.items():
        assert torch.allclose(ours[key], tensor, atol=1e-5), key


def test_a_single_process_cannot_part_a_network():
    with pytest.raises(ValueError, match="shard needs several processes: accelerate launch"):
        shard([torch.nn.Linear(2, 2)], torch.device("cpu"))


@pytest.mark.parametrize("changes", [{"dtype": "float16"}, {"compile": True}, {"gad_interval": [0.2, 0.6]}])
def test_what_does_not_go_with_parted_networks_is_refused(smoke, changes):
    with pytest.raises(ValueError, match="shard"):
        StudentConfig(**smoke.student.model_dump() | {"shard": True} | changes)
