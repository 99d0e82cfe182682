"""The layout energy as a function of the initial noise, through a model's own attention."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gad.config.layout import LayoutConfig
from gad.diffusion.sampling import ddim_step, sampling_timesteps
from gad.diffusion.shapes import Latent, PerSample
from gad.evaluation.control.layout.attention import WANTED_SIDE, AttentionMaps, cross_attention
from gad.evaluation.control.layout.attention_maps import (
    blur_attention_maps,
    enlarge_attention_maps,
    word_attention_maps,
)
from gad.evaluation.control.layout.energy import layout_box_mask, layout_energy
from gad.evaluation.control.layout.energy_descent import (
    Energy,
    boxdiff_descent_step,
    descend_energy,
    turning_descent_step,
)
from gad.evaluation.control.layout.layout_prompt import LayoutPrompt
from gad.evaluation.control.layout.tokens import word_tokens
from gad.models.external_sampler import ExternalSampler
from gad.models.first_step import TeacherFirstStep
from gad.models.sampler import Sampler


@dataclass(frozen=True)
class Plan:
    """Where attention should be: the prompts' words, each object's tokens, and its box in an image of that size."""

    words: Bool[Tensor, "B T"]
    objects: Bool[Tensor, "B O T"]
    prompts: Sequence[LayoutPrompt]
    image_size: int  # pixels on a side

    def masks(self, side: int) -> Float[Tensor, "B O H W"]:
        """The boxes on a map of ``side`` x ``side`` cells; empty where a sample has no such object."""
        masks = torch.zeros(*self.objects.shape[:2], side, side)
        for sample, prompt in enumerate(self.prompts):
            for row, thing in enumerate(prompt.targets):
                masks[sample, row] = layout_box_mask(thing.box, self.image_size, side)
        return masks

    def maps(self, attention: Float[Tensor, "B H W T"]) -> Float[Tensor, "B O H2 W2"]:
        """Each object's map: the mean over its tokens of the softmax over words, blurred, on cells fine enough."""
        share = (self.objects / self.objects.sum(-1, keepdim=True).clamp(min=1)).to(attention)
        maps = torch.einsum("bhwt,bot->bohw", word_attention_maps(attention, self.words.to(attention.device)), share)
        maps = enlarge_attention_maps(maps, WANTED_SIDE)
        return blur_attention_maps(maps.flatten(0, 1)).view_as(maps)


def steering_plan(sampler: Sampler, prompts: Sequence[LayoutPrompt], image_size: int) -> Plan:
    """The targets of the prompts for this model. Raises ValueError for a noun that its prompt does not hold."""
    nouns = [[thing.noun for thing in prompt.targets] for prompt in prompts]
    return Plan(*word_tokens(sampler.model, [p.caption for p in prompts], nouns), prompts, image_size)


def steering_energy(sampler: Sampler, plan: Plan, config: LayoutConfig, recorded: AttentionMaps) -> Energy:
    """The energy of each noise, from the mean attention of the first ``attention_steps`` calls (t = 1 first) of the
    model's trajectory, or of all its calls where it has fewer.

    The trajectory has ``attention_trajectory_steps`` steps where the model takes more: few long ones soon lead to times
    at which the layout is settled. The model's own sampler leads from one call to the next; the last call is made
    for its attention only, without guidance. Of a map that brings its own sampler the first calls are made as they are;
    where the teacher takes a student's first step, the attention is the student's at that time.
    """
    model, num_steps = sampler.model, min(config.attention_trajectory_steps or sampler.num_steps, sampler.num_steps)
    last = min(config.attention_steps, num_steps) - 1
    conditioning = model.condition([prompt.caption for prompt in plan.prompts])
    guided = model.guided(sampler.guidance_scale) if last else None

    def energy(noise: Tensor):
        recorded.clear()
        x_t, times = noise, sampling_timesteps(num_steps, noise.device).to(noise)
        for step in range(last):
            assert guided is not None
            t, t_next = times[step : step + 2, None].expand(2, len(noise))
            x_t = ddim_step(guided.schedule, x_t, guided(x_t, t, conditioning), t, t_next)
        if isinstance(model.denoiser, ExternalSampler):
            assert conditioning is not None
            model.denoiser.begin(x_t, conditioning, calls=config.attention_steps)
        else:
            attended = model.denoiser.student if isinstance(model.denoiser, TeacherFirstStep) else model.denoiser
            attended(x_t, times[last].expand(len(noise)), conditioning)
        maps = plan.maps(recorded.mean(len(noise)))
        masks, present = plan.masks(maps.shape[-1]).to(maps), plan.objects.any(-1).to(maps.device)
        share, corner_range = config.top_share, config.corner_range
        energy, worst = layout_energy(maps, masks, present, top_share=share, corner_range=corner_range)
        return energy.to(noise.device), worst.to(noise.device)

    return energy


def _energies(
    sampler: Sampler, prompts: Sequence[LayoutPrompt], config: LayoutConfig, image_size: int
) -> Generator[tuple[Tensor, Energy], None, None]:
    """The sample numbers of each batch with their energy. Attention is recorded until the last one is done."""
    network = getattr(sampler.model.denoiser, "network", sampler.model.denoiser)
    with cross_attention(network, config.attention_layers) as recorded:
        for part in torch.arange(len(prompts)).split(config.batch_size):
            plan = steering_plan(sampler, [prompts[i] for i in part.tolist()], image_size)
            yield part, steering_energy(sampler, plan, config, recorded)


def steer(
    sampler: Sampler, prompts: Sequence[LayoutPrompt], noise: Latent, config: LayoutConfig, image_size: int
) -> Latent:
    """The noise, optimised for the prompts' boxes with the sampler's own attention.

    Raises ValueError for a model without cross-attention.
    """
    if config.step == "turn":
        move = turning_descent_step(config.angle, config.low_frequency_size)
    else:
        move = boxdiff_descent_step(config.step_size, keep_on_shell=config.keep_on_shell)
    turns, floor = config.iterations, 1 - config.threshold
    with closing(_energies(sampler, prompts, config, image_size)) as energies:
        moved = [descend_energy(e, noise[part], move, iterations=turns, stop_below=floor) for part, e in energies]
        return torch.cat(moved)


@torch.no_grad()
def measure_steering_energy(
    sampler: Sampler, prompts: Sequence[LayoutPrompt], noise: Latent, config: LayoutConfig, image_size: int
) -> PerSample:
    """The energy of each noise by the sampler's own attention; lower is better. Raises as :func:`steer`."""
    with closing(_energies(sampler, prompts, config, image_size)) as energies:
        return torch.cat([energy(noise[part])[0] for part, energy in energies])
