"""Memory counted from shapes: by hand where that can be done, else against the same step on tensors with memory."""

from argparse import Namespace
from dataclasses import replace

import pytest
import torch
from diffusers.models.attention_processor import Attention
from scripts import load_script
from torch import nn
from torch.nn import functional as F

from gad.config import load_recipe
from gad.config.lora import LoraConfig
from gad.preflight import dry_run, step_memory
from gad.preflight.architectures import ARCHITECTURES
from gad.preflight.dry_run_counts import dry_run_peaks
from gad.preflight.estimate import RESERVE, estimate_memory_bytes, smallest_gpu
from gad.preflight.gpu_autocast import gpu_autocast
from gad.preflight.live_bytes import LiveBytes
from gad.preflight.weightless import without_weights

BATCH, WIDE, NARROW = 32, 16, 4
TINY = {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 8, "cross_attention_dim": 16}


def two_layers(middle: nn.Module, *, weights: bool = False) -> nn.Sequential:
    network = nn.Sequential(nn.Linear(8, WIDE, bias=False), middle, nn.Linear(WIDE, NARROW, bias=False))
    if not weights:
        without_weights([network])
    for parameter in network.parameters():
        parameter.grad = torch.empty_like(parameter, requires_grad=False)
    return network


@pytest.mark.parametrize("weights", [True, False], ids=["weights", "shapes"])
def test_a_two_layer_network_holds_what_its_backward_pass_needs(weights):
    network = two_layers(nn.Tanh(), weights=weights)
    with LiveBytes() as counter:
        loss = network(torch.zeros(BATCH, 8)).sum()
        tanh, seed = 4 * BATCH * WIDE, 4  # the loss is one number
        noise = 4 * BATCH * 8
        assert counter.now == tanh + seed + noise  # autograd keeps tanh's result, and the first layer's input
        assert counter.peak == noise + max(2 * tanh, tanh + 4 * BATCH * NARROW + seed)
        loss.backward()
    # at tanh, its result, the gradient on it and the one it makes; loss and seed of the gradient
    assert counter.peak == noise + 3 * tanh + 2 * seed
    assert counter.now == seed and all(parameter.grad is not None for parameter in network.parameters())


def test_views_of_what_was_there_before_are_not_counted():
    weight = torch.zeros(8, 8)
    with LiveBytes() as counter:
        views = [weight.t(), weight[:4], weight.view(-1), weight.detach()]
    assert counter.peak == 0 and len(views) == 4


def test_autocast_halves_what_layers_save_and_holds_a_copy_of_the_weights_that_gradients_need():
    found = {}
    for half in (False, True):
        network, x = two_layers(nn.Identity()), torch.zeros(BATCH, 8)
        with LiveBytes() as counter:
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                output = network(x)
            found[half] = counter.now
        assert output.dtype == (torch.bfloat16 if half else torch.float32)
    outputs, copied_input = BATCH * (WIDE + NARROW), BATCH * 8
    assert found[False] == 4 * outputs
    assert found[True] == 2 * (outputs + copied_input + WIDE * NARROW)


def test_norms_and_softmax_are_float32_as_on_a_gpu_for_as_long_as_it_is_asked_for():
    x = torch.zeros(2, 8, 4, 4, dtype=torch.bfloat16)
    calls = {
        "group_norm": lambda: F.group_norm(x, 2),
        "layer_norm": lambda: F.layer_norm(x, (4,)),
        "rms_norm": lambda: F.rms_norm(x, (4,)),
        "softmax": lambda: x.softmax(-1),
        "pow": lambda: x**2,
        "nearest": lambda: F.interpolate(x, scale_factor=2.0, mode="nearest"),
    }
    with gpu_autocast():
        assert {call().dtype for call in calls.values()} == {torch.bfloat16}  # outside of autocast nothing changes
        with torch.autocast("cpu", torch.bfloat16):
            assert {call().dtype for call in calls.values()} == {torch.float32}
            assert F.silu(x).dtype == torch.bfloat16 and F.conv2d(x.float(), x[:, :, :1, :1].float()).dtype == x.dtype
    with torch.autocast("cpu", torch.bfloat16):
        assert calls["group_norm"]().dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", [True, False])
def test_attention_does_not_hold_its_scores(dtype, masked):
    peaks = []
    for tokens in (256, 512):
        attention = Attention(query_dim=8, heads=2, dim_head=8).to(dtype)
        without_weights([attention])
        x = torch.zeros(1, tokens, 8, dtype=dtype)
        mask = torch.zeros(1, tokens, dtype=dtype) if masked else None
        with LiveBytes() as counter:
            attention(x, attention_mask=mask).sum().backward()
        peaks.append(counter.peak)
    assert peaks[1] < 2 * peaks[0] and peaks[1] < dtype.itemsize * 2 * 512**2


@pytest.fixture
def settings(monkeypatch):
    """PixArt's recipe in small, with output matching, which calls the student alone."""
    published = ARCHITECTURES["pixart"]
    tiny = replace(published, config=published.config | TINY | {"sample_size": 8, "caption_channels": 32}, width=32)
    monkeypatch.setattr(dry_run, "architecture_of", lambda name: tiny)
    recipe = load_recipe("pixart_tdm")
    changes = {"batch_size": 8, "accumulate": 2, "paradigm": "matching", "target": "next_state", "gad_batch_stride": 1}
    pairs = recipe.noise_pairs.model_copy(update={"student_steps": 1})
    return recipe.model_copy(update={"student": recipe.student.model_copy(update=changes), "noise_pairs": pairs})


def changed(settings, **changes):
    return settings.model_copy(update={"student": settings.student.model_copy(update=changes)})


def with_memory(networks) -> None:
    """Zeros for weights, in place of :func:`without_weights`; what is shared may be parted."""
    for network in networks:
        if next(network.parameters()).is_meta:
            network.to_empty(device="cpu")
            for tensor in (*network.parameters(), *network.buffers()):
                tensor.data.zero_()


@pytest.mark.parametrize(
    "changes",
    [{"dtype": "bfloat16"}, {"lora": LoraConfig(rank=2)}, {"dtype": "bfloat16", "paradigm": "ladd"}],
    ids=["half", "lora", "ladd"],
)
def test_a_step_on_shapes_holds_as_many_bytes_as_one_with_memory(settings, changes, tmp_path, monkeypatch):
    settings, options = changed(settings, **changes), {"depth": None, "size": None}
    shapes = dry_run_peaks(settings, "gad", tmp_path / "shapes", **options)
    monkeypatch.setattr(step_memory, "without_weights", with_memory)
    assert dry_run_peaks(settings, "gad", tmp_path / "memory", **options) == shapes
    assert min(shapes.values()) > 0 or shapes["log"] == 0


def test_checkpointing_lowers_the_peak(settings, tmp_path):
    options, found = {"depth": None, "size": None}, []
    for checkpointed in (True, False):
        own = changed(settings, gradient_checkpointing=checkpointed)
        found.append(dry_run_peaks(own, "gad", tmp_path / str(checkpointed), **options)["step"])
    assert found[0] < 0.75 * found[1]


def test_the_smallest_card_has_room_for_cuda_itself():
    assert smallest_gpu(24e9 - RESERVE) == 24 and smallest_gpu(24e9) == 48
    assert smallest_gpu(80e9 - RESERVE) == 80 and smallest_gpu(80e9) is None


def test_a_line_for_each_variant_tells_what_it_needs_and_which_card_it_fits(settings, monkeypatch, capsys):
    full_scale = load_script("benchmarks/full_scale.py")
    architecture = dry_run.architecture_of("pixart")
    monkeypatch.setattr(full_scale, "architecture_of", lambda name: architecture)
    monkeypatch.setattr(full_scale, "load_recipe", lambda name: settings)
    full_scale.tell_memory("pixart_tdm", Namespace(depth=None, size=None, batch=4))
    weights = sum(estimate_memory_bytes(settings, architecture).values())
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["pixart_tdm, baseline", "pixart_tdm, gad"]
    assert all(f"{weights / 1e9:.1f} GB of weights" in line and line.endswith("fits 24 GB") for line in lines)
