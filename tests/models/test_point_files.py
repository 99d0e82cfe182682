"""The 2-D teacher and students are refused in one line unless their files are whole."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from gad.models.mlp import build_point_network, load_point_network, save_point_network
from gad.models.model import load_model
from gad.runtime.files import read_json, write_json


@pytest.fixture
def folder(tmp_path):
    save_point_network(build_point_network(8, 2, seed=0), tmp_path / "student")
    return tmp_path / "student"


def reweighted(change):
    def damage(folder):
        path = folder / "network.safetensors"
        save_file(change(load_file(path)), path)

    return damage


KEY = "body.0.0.bias"
FAULTS = [
    (reweighted(lambda held: {k: v for k, v in held.items() if k != KEY}), f"its weights lack {KEY}"),
    (reweighted(lambda held: held | {"more": torch.ones(1)}), "hold what PointNetwork has not: more"),
    (reweighted(lambda held: held | {KEY: torch.ones(3)}), f"have another shape in {KEY}"),
    (reweighted(lambda held: {f"_orig_mod.{k}": v for k, v in held.items()}), "begin with _orig_mod."),
    (lambda folder: (folder / "config.json").write_text("{"), "no JSON"),
    (lambda folder: write_json(folder / "config.json", {"width": 8}), "argument"),
    (lambda folder: write_json(folder / "config.json", read_json(folder / "config.json") | {"hidden": 9}), "shape in"),
]


@pytest.mark.parametrize(("damage", "message"), FAULTS)
def test_a_student_that_is_not_whole_is_refused(folder, damage, message):
    damage(folder)
    with pytest.raises(ValueError, match=f"cannot load a 2-D network from .*{message}") as error:
        load_point_network(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "tensors", [{"point": torch.ones(4, 2)}, {"points": torch.ones(4, 3)}, {"points": torch.full((4, 2), torch.nan)}]
)
def test_a_teacher_of_other_points_is_refused(tmp_path, tensors):
    save_file(tensors, tmp_path / "points.safetensors")
    with pytest.raises(ValueError, match=r"holds no finite tensor 'points' of shape \[N, 2\]"):
        load_model(tmp_path)
