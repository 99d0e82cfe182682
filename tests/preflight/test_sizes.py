"""What a recipe will need of disk, RAM and GPU, and what the doctor says of it."""

import pytest

from gad.config import load_recipe
from gad.config.lora import LoraConfig
from gad.preflight import sizes
from gad.preflight.architectures import (
    ARCHITECTURES,
    architecture_network_parameters,
    architecture_of,
    build_architecture,
    count_architecture_adapter,
)
from gad.preflight.estimate import (
    estimate_disk_bytes,
    estimate_host_bytes,
    estimate_memory_bytes,
    training_memory_bytes,
)
from gad.preflight.sizes import check_sizes


def test_estimates_count_what_is_stored():
    settings, architecture = load_recipe("sana_sid"), ARCHITECTURES["sana_600m"]
    assert estimate_disk_bytes(settings, architecture)["noise pairs"] == 10_000 * 3 * 5 * 32 * 16 * 16 * 4
    needs = estimate_memory_bytes(settings, architecture)
    assert needs["student"] == 20 * 591_747_872 and needs["teacher"] == 2 * 591_747_872


def test_estimates_are_of_the_size_of_latents_that_the_recipe_asks_for():
    settings, architecture = load_recipe("flux_ladd"), ARCHITECTURES["flux_dev"]
    assert estimate_disk_bytes(settings, architecture)["noise pairs"] == 10_000 * 3 * 5 * 16 * 64 * 64 * 4
    embeds = estimate_disk_bytes(settings, architecture)["prompt embeddings"]
    assert embeds == 10_000 * 2 * (512 * 4096 + 768)


def test_a_disk_that_is_too_small_is_told_with_what_fills_it(monkeypatch):
    monkeypatch.setattr(sizes.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10**9}))
    recipe = load_recipe("pixart_tdm")
    told = [line for line in map(str, check_sizes(recipe)) if line.startswith("missing: disk")]
    assert len(told) == 1 and "noise pairs 19.7" in told[0] and "1 GB free; each variant" in told[0]


def test_a_device_that_the_networks_fill_is_told_to_leave_room_for_activations(monkeypatch):
    recipe = load_recipe("pixart_tdm")
    needs = sum(estimate_memory_bytes(recipe, ARCHITECTURES["pixart"]).values())
    told = []
    for share in (0.5, 0.9, 1.1):
        total = int(needs / share)
        monkeypatch.setattr(sizes.psutil, "virtual_memory", lambda total=total: type("Memory", (), {"total": total}))
        told.append(next(str(finding) for finding in check_sizes(recipe) if "of networks" in finding.what))
    assert [line.partition(":")[0] for line in told] == ["ok", "warn", "missing"]
    assert "little is left for activations -> set student.accumulate higher" in told[1]


@pytest.mark.parametrize(
    "launch, count",
    [
        ({}, 1),
        ({"WORLD_SIZE": "2"}, 2),
        ({"WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8"}, 8),
        ({"WORLD_SIZE": "many"}, 1),
    ],
)
def test_every_process_of_a_machine_holds_the_pipeline(monkeypatch, launch, count):
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in launch.items():
        monkeypatch.setenv(name, value)
    recipe = load_recipe("pixart_tdm")
    architecture = architecture_of(recipe.teacher.pretrained)
    one, all_of_them = (estimate_host_bytes(recipe, architecture, processes) for processes in (1, count))
    assert all_of_them > one or count == 1
    monkeypatch.setattr(sizes.psutil, "virtual_memory", lambda: type("Memory", (), {"total": one - 1}))
    [line] = [str(finding) for finding in check_sizes(recipe) if "pipeline" in finding.what]
    each, fewer = (
        (f", held whole by each of {count} processes", ", or fewer processes on it") if count > 1 else ("", "")
    )
    needed = f"RAM: {all_of_them / 1e9:.0f} GB for pipeline, prompts or checkpoint in float32{each}"
    needed += f", {one / 1e9:.0f} GB there"
    assert line == f"missing: {needed} -> use a machine with more RAM{fewer}"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_lora_has_its_base_once_and_states_for_its_adapters_alone(dtype):
    recipe, architecture = load_recipe("pixart_tdm"), ARCHITECTURES["pixart"]
    lora, network = LoraConfig(rank=16), build_architecture(architecture, device="meta")
    whole, adapter = architecture_network_parameters(network), count_architecture_adapter(architecture, lora)
    assert adapter == 28 * 8 * 16 * (1152 + 1152)  # 28 blocks of two attentions with four projections each
    recipe = recipe.model_copy(update={"student": recipe.student.model_copy(update={"lora": lora, "dtype": dtype})})
    needs, bytes_each = estimate_memory_bytes(recipe, architecture), {"float32": 4, "bfloat16": 2}[dtype]
    assert needs == {
        "shared base": bytes_each * whole,
        "student's adapter": 20 * adapter,
        "fake score's adapter": 16 * adapter,
    }
    disk = estimate_disk_bytes(recipe, architecture)
    assert disk["students"] == 2 * 4 * adapter and disk["checkpoint"] == 32 * adapter
    plain = load_recipe("pixart_tdm")
    smaller = [estimate_host_bytes(settings, architecture) for settings in (recipe, plain)]
    assert smaller[0] < smaller[1]


def test_memory_follows_from_numbers_of_parameters_alone():
    student = load_recipe("pixart_tdm").student.model_copy(update={"dtype": "bfloat16", "optimizer": "adamw_8bit"})
    assert training_memory_bytes(10**9, student, 10**6) == {
        "shared base": 2 * 10**9,
        "student's adapter": 14 * 10**6,
        "fake score's adapter": 10 * 10**6,
    }
    needs = training_memory_bytes(10**9, student)
    assert needs == {"student": 14 * 10**9, "teacher": 2 * 10**9, "fake score": 10 * 10**9}
    matching = student.model_copy(update={"paradigm": "matching"})
    assert training_memory_bytes(10**9, matching, 10**6) == {"shared base": 2 * 10**9, "student's adapter": 14 * 10**6}


def test_a_device_that_the_networks_overfill_is_told_of_adapters(monkeypatch):
    recipe = load_recipe("pixart_tdm")
    monkeypatch.setattr(sizes.psutil, "virtual_memory", lambda: type("Memory", (), {"total": 10**9}))
    told = next(str(finding) for finding in check_sizes(recipe) if "of networks" in finding.what)
    assert told.startswith("missing") and "set student.lora, or student.optimizer" in told
