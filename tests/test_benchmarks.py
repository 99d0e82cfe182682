"""The benchmarks of published networks: what they compare and what they tell, rather than times."""

import runpy
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace

import pytest
import torch
from scripts import ROOT, load_script

from gad.config import load_recipe
from gad.data.noise_pairs import NoisePairs
from gad.data.pair_generation import generate_noise_pairs
from gad.diffusion.noise import draw_noise
from gad.diffusion.schedule import CosineSchedule
from gad.distillation.batch_source import draw_batch
from gad.models.mlp import build_point_network, point_denoiser
from gad.preflight.architectures import ARCHITECTURES, architecture_of

SMALLER = {  # a block of FLUX's width, or SD 3.5's table of positions, takes a CPU minutes
    "flux_dev": {"num_attention_heads": 2, "attention_head_dim": 8, "axes_dims_rope": (2, 2, 4),
                 "joint_attention_dim": 32, "pooled_projection_dim": 16},
    "sd35_medium": {"pos_embed_max_size": 8, "num_attention_heads": 2, "caption_projection_dim": 128},
}  # fmt: skip


def architecture_for_cpu(pretrained: str):
    found = architecture_of(pretrained)
    smaller = {id(ARCHITECTURES[name]): change for name, change in SMALLER.items()}.get(id(found), {})
    config = found.config | smaller
    sizes = {"width": "joint_attention_dim", "pooled": "pooled_projection_dim"}
    return replace(found, config=config, **{name: config[key] for name, key in sizes.items() if key in smaller})


@pytest.mark.parametrize("recipe", ["sd21_ladd", "pixart_tdm", "sana_sid", "sdxl_tdm", "sd35_sid", "flux_ladd"])
def test_the_stock_pipeline_around_a_published_network_makes_our_latents(recipe):
    pairs, settings = load_script("benchmarks/pairs.py"), load_recipe(recipe)
    model = pairs.published(architecture_for_cpu(settings.teacher.pretrained), depth=1, size=8)
    config = settings.noise_pairs.model_copy(update={"teacher_steps": 2, "student_steps": 1, "batch_size": 2})
    noise, prompts = draw_noise(range(2), model.latent_shape, seed=0), ["a dog", "two red cars"]
    loop = pairs.by_loop(model, prompts, noise, config.guidance_scale, pairs.stock_options(model, 2))
    batched = pairs.by_batches(model, prompts, noise, config, torch.device("cpu"))
    assert torch.allclose(loop, batched, rtol=1e-3, atol=1e-4 * loop.abs().max().item())


def test_a_part_that_fails_is_told_and_the_others_go_on(monkeypatch, capsys):
    full_scale = load_script("benchmarks/full_scale.py")

    def run(command, **_):
        failed = command[-1] == "gad"
        row = '{"seconds": 0.5, "peak": 2e9}'
        return subprocess.CompletedProcess(command, int(failed), "" if failed else row, "a trace\nCUDA out of memory")

    monkeypatch.setattr(full_scale.subprocess, "run", run)
    options = dict.fromkeys(("depth", "size", "batch", "directions")) | {"steps": 2, "parts": ["gad", "baseline"]}
    rows = list(full_scale.rows_of("pixart_tdm", Namespace(**options)))
    told = capsys.readouterr().err.splitlines()
    assert [row["seconds"] for row in rows] == [0.5]
    assert told[1] == "pixart_tdm, gad: CUDA out of memory" and told[3] == "  0.500 s, peak 2.00 GB"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["full_scale.py", "nope"], "error: unknown recipe 'nope'; there are compact_"),
        (
            ["full_scale.py", "swiss_roll"],
            "error: the teacher of this recipe is made here: it has no published architecture",
        ),
        (["scaling.py", "pixart_tdm", "--batches", "0"], "argument --batches: a whole number of at least 1, not 0"),
        (["initialisation.py", "emoji_unt"], "error: unknown recipe 'emoji_unt'; there are compact_"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(command, message, monkeypatch, capsys):
    script = str(ROOT / "benchmarks" / command[0])
    monkeypatch.setattr(sys, "argv", [script, *command[1:]])
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(script, run_name="__main__")
    code = ended.value.code  # a line is printed by Python itself, which then ends with 1
    told = code if isinstance(code, str) else capsys.readouterr().err.splitlines()[-1]
    assert message in told and "\n" not in told and code != 0


def test_a_damaged_students_targets_are_blends_of_two_noises_endpoints(smoke, point_teacher, tmp_path):
    damaged = load_script("benchmarks/damaged_student.py")
    config = smoke.noise_pairs.model_copy(update={"directions_per_noise": 1, "student_steps": 1})
    list(generate_noise_pairs(tmp_path, point_teacher, "hash", config))
    point_pairs = NoisePairs(tmp_path)
    batch = draw_batch(point_pairs, None, CosineSchedule(), variant="baseline", batch_size=64, key=(0, 0))
    student = point_denoiser(build_point_network(16, 2, seed=0))
    x0 = student(batch.noise, batch.t, None)
    ends = [point_pairs.trajectories(batch.ids, torch.full_like(batch.ids, member))[:, -1] for member in (0, 2)]
    own = [(batch.endpoint == end).flatten(1).all(1) for end in ends]
    for share in (0.0, 0.7):
        terms = damaged.Blended(point_pairs, share).terms(student, batch, torch.Generator())
        for mine, here, there in ((own[0], *ends), (own[1], *ends[::-1])):
            target = (1 - share) * here + share * there
            expected = (x0 - target).square().flatten(1).mean(1)
            assert torch.allclose(terms["matching"][mine], expected[mine], rtol=1e-5)
        assert torch.equal(terms["total"], terms["matching"].mean())
    assert own[0].any() and own[1].any()
