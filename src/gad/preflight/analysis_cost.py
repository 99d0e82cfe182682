"""What comes after training in a dry run: a student's folder, a response to the noise, a turn of layout control."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gad.config import Recipe
from gad.config.layout import LayoutConfig
from gad.data.boxes import GroundTruth
from gad.data.prompts import prompt_of
from gad.diffusion.denoiser import NetworkDenoiser
from gad.diffusion.guidance import guided_denoiser_on_device
from gad.diffusion.jvp import difference_jvps
from gad.diffusion.maps import noise_to_image_map
from gad.diffusion.noise import draw_noise
from gad.evaluation.control.layout.attention import cross_attention
from gad.evaluation.control.layout.energy_descent import descend_energy, turning_descent_step
from gad.evaluation.control.layout.layout_prompt import LayoutPrompt
from gad.evaluation.control.layout.steering import Plan, steering_energy
from gad.evaluation.sensitivity.analysis_noise import analysis_direction_kind, analysis_noise
from gad.models.model import Model
from gad.models.sampler import Sampler
from gad.preflight.cost import Cost
from gad.runtime.devices import own_device, peak_memory_bytes

if TYPE_CHECKING:  # imported where they are used at run time, since that takes seconds
    from diffusers import ModelMixin

HALVES = (GroundTruth("left", (0, 0, 1, 2)), GroundTruth("right", (1, 0, 2, 2)))  # of an image of 2 x 2 pixels
WORDS, LEFT, RIGHT = 8, 2, 6  # tokens of a synthetic prompt that are words, and the two objects among them


def analysis_folder_cost(teacher: Model, folder: Path) -> Cost:
    """Saving a student's network as a diffusers folder and loading it again, float32."""
    assert isinstance(teacher.denoiser, NetworkDenoiser)
    network: ModelMixin = teacher.denoiser.network
    start = time.perf_counter()
    network.save_pretrained(folder)
    type(network).from_pretrained(folder)
    seconds = time.perf_counter() - start
    size = sum(path.stat().st_size for path in folder.iterdir())
    return Cost("student", f"folder of {size / 1e9:.2f} GB", seconds, 0.0, 0, peak_memory_bytes())


@torch.no_grad()
def sensitivity_cost(teacher: Model, settings: Recipe, tokens: int) -> Cost:
    """Value and differences of the student's map for one batch of the analysis; other control tasks make such calls."""
    config, steps = settings.sensitivity, settings.noise_pairs.student_steps
    size, count = config.batch_size, config.num_directions
    denoise = guided_denoiser_on_device(teacher.denoiser, own_device(config.device))
    ids, noise, directions = analysis_noise(teacher, config, analysis_direction_kind(config), ids=range(size))
    phi = noise_to_image_map(denoise, teacher.condition(prompt_of(ids)), num_steps=steps)
    start = time.perf_counter()
    difference_jvps(phi, noise, directions, h=config.perturbation_scale)  # on the CPU: nothing is left to wait for
    seconds, read = time.perf_counter() - start, (1 + count) * steps * size * tokens
    return Cost("sensitivity", f"response of {size} x {count}", seconds, 0.0, read, peak_memory_bytes())


def _synthetic_plan(size: int, tokens: int) -> Plan:
    """Two objects in the two halves of an image, each a word of the first few ``tokens``."""
    words, objects = torch.zeros(size, tokens, dtype=torch.bool), torch.zeros(size, 2, tokens, dtype=torch.bool)
    words[:, :WORDS] = objects[:, 0, LEFT] = objects[:, 1, RIGHT] = True
    return Plan(words, objects, [LayoutPrompt(prompt, HALVES) for prompt in prompt_of(range(size))], image_size=2)


def control_cost(teacher: Model, settings: Recipe, tokens: int) -> Cost:
    """A turn of layout control: the gradient of the energy in the noise through the student's cross-attention.

    The first turn warms up, the second one is timed.
    """
    config = settings.control.layout or LayoutConfig(num_prompts=1)
    size, steps = config.batch_size, settings.noise_pairs.student_steps
    denoise = guided_denoiser_on_device(teacher.denoiser, own_device(settings.control.device))
    empty = teacher.condition([""])
    assert isinstance(denoise, NetworkDenoiser) and empty is not None, "a dry run is of pipelines"
    plan = _synthetic_plan(size, empty.prompt_embeds.shape[1])
    noise, move = draw_noise(range(size), teacher.latent_shape, seed=config.seed), turning_descent_step(config.angle)
    with cross_attention(denoise.network, config.attention_layers) as recorded:
        energy = steering_energy(Sampler("dry run", 0, teacher, steps), plan, config, recorded)
        noise = descend_energy(energy, noise, move, iterations=1, stop_below=0.0)
        start = time.perf_counter()
        descend_energy(energy, noise, move, iterations=1, stop_below=0.0)
        seconds = time.perf_counter() - start
    calls = min(config.attention_steps, config.attention_trajectory_steps or steps, steps)
    return Cost("control", f"turn of {size}", seconds, 0.0, calls * size * tokens, peak_memory_bytes())
