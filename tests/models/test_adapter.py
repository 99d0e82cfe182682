"""An adapter shares its base's weights, begins without effect, and has the derivatives of any network."""

import hub_folders
import pytest
import torch
from moved_adapter import LORA, moved
from tiny import PROMPTS
from torch import nn

from gad.config.lora import ATTENTION, LoraConfig
from gad.diffusion.jvp import difference_jvp, exact_jvp
from gad.models.adapter import (
    adapter_base_parameters,
    adapter_config,
    adapter_on_shared_base,
    adapter_weights,
    copied_but_for_base,
    count_adapter_parameters,
    fresh_adapter_like,
    has_adapter,
)
from gad.models.model import load_model


@pytest.fixture(scope="module", params=hub_folders.BUILDERS)
def teacher(request, tmp_path_factory):
    """Each family in turn, from a folder as the hub has it."""
    folder = tmp_path_factory.mktemp(request.param) / "hub"
    hub_folders.save_teacher(request.param, folder)
    return load_model(folder, side=hub_folders.SIDE)


def called(teacher, denoiser):
    noise = torch.randn(2, *teacher.latent_shape, generator=torch.Generator().manual_seed(1))
    return denoiser(noise, torch.ones(2), teacher.condition(PROMPTS))


def test_the_base_is_one_in_memory_and_only_the_adapter_is_its_own(teacher):
    base = {parameter.data_ptr() for parameter in teacher.denoiser.network.parameters()}
    student = adapter_on_shared_base(teacher.denoiser, adapter_config(LORA))
    fake, copy = fresh_adapter_like(student, teacher.denoiser, seed=1), copied_but_for_base(student)
    own = []
    for denoiser in (student, fake, copy):
        assert {parameter.data_ptr() for parameter in adapter_base_parameters(denoiser.network)} == base
        own.append({parameter.data_ptr() for parameter in adapter_weights(denoiser.network).values()})
    assert len(set.union(*own)) == sum(map(len, own)) and not base & set.union(*own)
    assert not has_adapter(teacher.denoiser.network) and not adapter_weights(teacher.denoiser.network)
    assert list(adapter_base_parameters(teacher.denoiser.network)) == []


def test_an_adapter_begins_as_the_teacher_to_the_bit_and_leaves_it_alone(teacher):
    before = called(teacher, teacher.denoiser)
    student = adapter_on_shared_base(teacher.denoiser, adapter_config(LORA), seed=3)
    assert torch.equal(called(teacher, student), before)
    assert not torch.allclose(called(teacher, moved(student)), before, atol=1e-3)
    assert torch.equal(called(teacher, teacher.denoiser), before)


def test_an_adapter_is_its_matrices_on_the_layers_that_it_names(teacher):
    student = moved(adapter_on_shared_base(teacher.denoiser, adapter_config(LORA)))
    whole, weights = teacher.denoiser.copied(), adapter_weights(student.network)
    layers = {name.partition(".lora_")[0] for name in weights}
    assert layers == {
        name for name, _ in whole.network.named_modules() if f".{name}".endswith(tuple(f".{end}" for end in ATTENTION))
    }
    for layer in layers:
        down, up = (weights[f"{layer}.lora_{part}.default.weight"] for part in "AB")
        whole.network.get_submodule(layer).weight.data += 8 / 4 * up @ down
    expected = called(teacher, whole)
    assert torch.allclose(called(teacher, student), expected, atol=1e-4 * expected.abs().max().item())


def test_weights_depend_on_the_seed_alone(teacher):
    states = [torch.random.get_rng_state()]
    made = [
        adapter_weights(adapter_on_shared_base(teacher.denoiser, adapter_config(LORA), seed=seed).network)
        for seed in (0, 0, 1)
    ]
    states.append(torch.random.get_rng_state())
    first = next(name for name in made[0] if ".lora_A." in name)
    assert torch.equal(made[0][first], made[1][first]) and not torch.equal(made[0][first], made[2][first])
    assert torch.equal(*states)


def test_derivatives_pass_through_exactly_and_by_difference(teacher):
    student = moved(adapter_on_shared_base(teacher.denoiser, adapter_config(LORA))).double()
    words, generator = teacher.condition(PROMPTS[:1]), torch.Generator().manual_seed(2)
    words.prompt_embeds.data = words.prompt_embeds.double()  # SANA's attention is float32 inside whatever it is given
    x, v = torch.randn(2, 1, *teacher.latent_shape, generator=generator, dtype=torch.float64)

    def phi(x_t):
        return student(x_t, torch.full((1,), 0.5, dtype=torch.float64), words)

    exact, difference = exact_jvp(phi, x, v), difference_jvp(phi, x, v, h=1e-3)
    assert torch.allclose(exact.jvp, difference.jvp, atol=1e-2 * exact.jvp.abs().max().item())
    teacher.denoiser.float()  # whose weights they are


@pytest.mark.parametrize("targets", [ATTENTION, ["proj_in", "to_k"], ["conv_in", "conv1", "proj"]])
def test_parameters_are_counted_as_peft_makes_them(teacher, targets):
    ends = tuple(f".{end}" for end in targets)
    there = [
        end for end in targets if any(f".{n}".endswith(f".{end}") for n, _ in teacher.denoiser.network.named_modules())
    ]
    if not there:
        pytest.skip("a family without these layers")
    kinds = {type(m) for n, m in teacher.denoiser.network.named_modules() if f".{n}".endswith(ends)}
    if not kinds <= {nn.Linear, nn.Conv2d}:
        pytest.skip("peft refuses other layers")
    lora = LoraConfig(rank=3, targets=there)
    network = adapter_on_shared_base(teacher.denoiser, adapter_config(lora)).network
    counted = count_adapter_parameters(teacher.denoiser.network, lora)
    assert counted == sum(weight.numel() for weight in adapter_weights(network).values()) > 0


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["to_q", "to_z"], "student.lora.targets: no layer of .* is called to_z"),
        (["attn1"], "student.lora does not fit"),
    ],
)
def test_a_target_that_cannot_be_adapted_is_refused_in_one_line(teacher, targets, message):
    if targets == ["attn1"] and not any(n.endswith("attn1") for n, _ in teacher.denoiser.network.named_modules()):
        pytest.skip("a family without such a block")
    with pytest.raises(ValueError, match=message) as caught:
        adapter_on_shared_base(teacher.denoiser, adapter_config(LoraConfig(rank=2, targets=targets)))
    assert "\n" not in str(caught.value)
