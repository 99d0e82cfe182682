"""Noise pairs against a plain loop: the teacher's samples in batches, and the stock pipeline called once per prompt.

    python benchmarks/pairs.py emoji_flow [--noises 32] [--rounds 3] [--steps 20] [--dtype bfloat16]
    python benchmarks/pairs.py pixart_tdm --published --noises 16 --steps 4     (a GPU: nothing is downloaded)

Both encode the prompts and stop at latents; the largest difference between them is printed beside the times. The
stock pipeline gets the same times as ours. The recipe's teacher must be there; or --published takes the published
network with random weights, and random embeddings instead of the text encoder's. Rounds take turns.
"""

import argparse
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import diffusers
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # of this tree, whichever is installed

from gad.config import load_recipe
from gad.data.pair_generation import generate_pair_trajectory
from gad.data.prompts import prompt_of
from gad.diffusion.guidance import guided_denoiser_on_device
from gad.diffusion.noise import draw_noise
from gad.diffusion.sampling import sampling_timesteps
from gad.models.families import FAMILIES
from gad.models.flux import pack_flux_latents, unpack_flux_latents
from gad.models.model import Model, load_model
from gad.models.pipeline_schedule import pipeline_stock_scheduler
from gad.models.pipelines import pipeline_family, pipeline_network, pipeline_sample_options
from gad.preflight.architectures import BETAS, Architecture, architecture_of
from gad.preflight.dry_run import random_teacher
from gad.runtime.cli import exit_with_status, positive_argument
from gad.runtime.devices import own_device
from gad.runtime.paths import stage_dir


def published(architecture: Architecture, *, depth: int | None, size: int | None) -> Model:
    """The published network with random weights in its stock pipeline, which has no text encoder and no autoencoder."""
    teacher, kind = random_teacher(architecture, depth=depth, size=size), getattr(diffusers, architecture.pipeline)
    if architecture.betas is None:
        scheduler = FlowMatchEulerDiscreteScheduler()
    else:
        low, high = BETAS[architecture.betas]
        scheduler = DDIMScheduler(beta_schedule=architecture.betas, beta_start=low, beta_end=high)
    names = set(kind._get_signature_types()) - {"requires_safety_checker", "scheduler"}
    parts = dict.fromkeys(names) | {FAMILIES[architecture.pipeline].network: teacher.denoiser.network}
    quiet = {"requires_safety_checker": False} if "safety_checker" in names else {}
    pipeline = kind(**parts, scheduler=scheduler, **quiet)
    pipeline.set_progress_bar_config(disable=True)
    return replace(teacher, pipeline=pipeline)


def asked_of(model: Model, prompt: str, network: nn.Module) -> dict:
    """The stock pipeline's arguments for a prompt, or for its embeddings where it has no text encoder."""
    if model.encode is None:
        return {"prompt": prompt}
    told, empty = (model.condition([text]).to(network.device) for text in (prompt, ""))
    embeds = {"prompt_embeds": told.prompt_embeds, "negative_prompt_embeds": empty.prompt_embeds}
    embeds = {name: values.to(network.dtype) for name, values in embeds.items()}
    if told.pooled_prompt_embeds is not None:
        embeds["pooled_prompt_embeds"] = told.pooled_prompt_embeds.to(network.dtype)
        embeds["negative_pooled_prompt_embeds"] = empty.pooled_prompt_embeds.to(network.dtype)
    if told.prompt_attention_mask is not None:
        embeds["prompt_attention_mask"] = told.prompt_attention_mask
        embeds["negative_prompt_attention_mask"] = empty.prompt_attention_mask
    return {"prompt": None, "negative_prompt": None} | embeds


def stock_options(model: Model, num_steps: int) -> dict:
    """How the stock pipeline is made to visit our times; changes its scheduler where it has to."""
    pipeline = model.pipeline
    size = model.latent_shape[-1] * pipeline.vae_scale_factor
    options = pipeline_sample_options(pipeline, size)
    if "use_resolution_binning" in options and model.encode is None:
        options["max_sequence_length"] = min(pipeline.tokenizer.model_max_length, 300)
    pipeline.scheduler = pipeline_stock_scheduler(pipeline, model.denoiser.schedule)
    if isinstance(pipeline.scheduler, FlowMatchEulerDiscreteScheduler):
        options["sigmas"] = sampling_timesteps(num_steps)[:-1].tolist()
    return options | {"height": size, "width": size, "num_inference_steps": num_steps, "output_type": "latent"}


@torch.no_grad()
def by_loop(model: Model, prompts: list[str], noise: torch.Tensor, guidance_scale: float, options: dict):
    """The stock pipeline, a call for each prompt."""
    network, parts, packed = pipeline_network(model.pipeline), [], pipeline_family(model.pipeline).pack > 1
    noise = (pack_flux_latents(noise) if packed else noise).to(network.dtype)
    for i, prompt in enumerate(prompts):
        asked = asked_of(model, prompt, network) | {"latents": noise[i : i + 1]}
        parts.append(model.pipeline(**asked, guidance_scale=guidance_scale, **options).images)
    made = torch.cat(parts)
    return unpack_flux_latents(made, *model.latent_shape[1:]) if packed else made


def by_batches(model: Model, prompts: list[str], noise: torch.Tensor, config, device: torch.device):
    """What :func:`gad.data.pair_generation.generate_noise_pairs` does for the same noises."""
    denoise = guided_denoiser_on_device(model.guided(config.guidance_scale), device)
    batches = [slice(start, start + config.batch_size) for start in range(0, len(prompts), config.batch_size)]
    with model.text_encoder_on(device):
        encoded = [model.condition(prompts[part]) for part in batches]
    asked = zip(batches, encoded, strict=True)
    return torch.cat(
        [
            generate_pair_trajectory(denoise, noise[i].to(device), prompt.to(device), config)[:, -1]
            for i, prompt in asked
        ]
    )


def clock(work) -> tuple[float, torch.Tensor]:
    start = time.perf_counter()
    result = work()
    if result.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, result.cpu()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--noises", type=positive_argument, default=32)
    parser.add_argument("--rounds", type=positive_argument, default=3)
    parser.add_argument("--steps", type=positive_argument, help="the teacher's; the recipe's by default")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32", help="the network's")
    parser.add_argument("--published", action="store_true", help="the published network with random weights")
    parser.add_argument("--depth", type=positive_argument, help="layers of the published network")
    parser.add_argument("--size", type=positive_argument, help="side of its latent")
    arguments = parser.parse_args()
    settings = load_recipe(arguments.recipe)
    config = settings.noise_pairs
    steps = arguments.steps or config.teacher_steps
    config = config.model_copy(update={"teacher_steps": steps, "student_steps": 1})
    if arguments.published:
        architecture = architecture_of(settings.teacher.pretrained)
        model = published(architecture, depth=arguments.depth, size=arguments.size)
    else:
        model = load_model(stage_dir(arguments.recipe, "teacher"))
    device = own_device(config.device)
    ids = range(arguments.noises)
    prompts = prompt_of(ids, None if arguments.published else config.prompts)
    noise = draw_noise(ids, model.latent_shape, seed=config.seed)
    options, times = stock_options(model, steps), {"loop": [], "batches": []}
    model.pipeline.to(device, getattr(torch, arguments.dtype))
    for _ in range(arguments.rounds):
        seconds, loop = clock(lambda: by_loop(model, prompts, noise.to(device), config.guidance_scale, options))
        times["loop"].append(seconds)
        seconds, batched = clock(lambda: by_batches(model, prompts, noise, config, device))
        times["batches"].append(seconds)
        model.pipeline.to(device)  # the text encoder went back to the CPU
    a, b = statistics.median(times["loop"]), statistics.median(times["batches"])
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    difference = (loop - batched).abs().max() / loop.abs().max()
    made = f"{arguments.noises} noises, {steps} steps, batches of {config.batch_size}, {arguments.dtype}"
    print(f"{arguments.recipe} on {name}, {made}:")
    print(f"loop {a:.2f} s, batches {b:.2f} s, ratio {b / a:.2f}; largest relative difference {difference:.1e}")


if __name__ == "__main__":
    exit_with_status(main)
