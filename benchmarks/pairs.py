"""Noise pairs against a plain loop: the teacher's answers in batches, and the stock pipeline called once per prompt.

    python benchmarks/pairs.py emoji_flow [--noises 32] [--rounds 3] [--steps 20]

Both encode the prompts and stop at latents; the largest difference between them is printed beside the times. The
stock pipeline is told the same times as ours. The recipe's teacher must be there. Rounds take turns.
"""

import argparse
import statistics
import time

import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from gad.artifacts import stage_dir
from gad.config import load_recipe
from gad.models.denoiser import on_device
from gad.models.families import family_of, plain_scheduler
from gad.noise import draw_noise
from gad.noise_pairs import answer
from gad.processes import own_device
from gad.prompts import prompt_of
from gad.sampling import node_times
from gad.teachers.load import Model, load_model, text_encoder_on


def stock_options(model: Model, num_steps: int) -> dict:
    """How the stock pipeline is made to visit our times; changes its scheduler where it has to."""
    pipeline, options = model.pipeline, dict(family_of(model.pipeline).sample_options)
    if "use_resolution_binning" in options:
        options["max_sequence_length"] = min(pipeline.tokenizer.model_max_length, 300)
    pipeline.scheduler = plain_scheduler(pipeline)
    if isinstance(pipeline.scheduler, FlowMatchEulerDiscreteScheduler):
        options["sigmas"] = node_times(num_steps)[:-1].tolist()
    size = model.latent_shape[-1] * pipeline.vae_scale_factor
    return options | {"height": size, "width": size, "num_inference_steps": num_steps, "output_type": "latent"}


@torch.no_grad()
def by_loop(model: Model, prompts: list[str], noise: torch.Tensor, guidance_scale: float, options: dict):
    """The stock pipeline, a call for each prompt."""
    parts = [
        model.pipeline(prompt, latents=noise[i : i + 1].clone(), guidance_scale=guidance_scale, **options).images
        for i, prompt in enumerate(prompts)
    ]
    return torch.cat(parts)


def by_batches(model: Model, prompts: list[str], noise: torch.Tensor, config, device: torch.device):
    """What :func:`gad.noise_pairs.generate` does for the same noises."""
    denoise = on_device(model.guided(config.guidance_scale), device)
    batches = [slice(start, start + config.batch_size) for start in range(0, len(prompts), config.batch_size)]
    with text_encoder_on(model, device):
        encoded = [model.condition(prompts[part]) for part in batches]
    asked = zip(batches, encoded, strict=True)
    return torch.cat([answer(denoise, noise[i].to(device), prompt.to(device), config)[:, -1] for i, prompt in asked])


def clock(work) -> tuple[float, torch.Tensor]:
    start = time.perf_counter()
    result = work()
    if result.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, result.cpu()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--noises", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="the teacher's; the recipe's by default")
    arguments = parser.parse_args()
    settings = load_recipe(arguments.recipe)
    config = settings.noise_pairs
    steps = arguments.steps or config.teacher_steps
    config = config.model_copy(update={"teacher_steps": steps, "num_nodes": 1})
    model, device = load_model(stage_dir(arguments.recipe, "teacher")), own_device(config.device)
    ids = range(arguments.noises)
    prompts, noise = prompt_of(ids, config.prompts), draw_noise(ids, model.latent_shape, seed=config.seed)
    options, times = stock_options(model, steps), {"loop": [], "batches": []}
    model.pipeline.to(device)
    for _ in range(arguments.rounds):
        seconds, loop = clock(lambda: by_loop(model, prompts, noise.to(device), config.guidance_scale, options))
        times["loop"].append(seconds)
        seconds, batched = clock(lambda: by_batches(model, prompts, noise, config, device))
        times["batches"].append(seconds)
        model.pipeline.to(device)  # the text encoder went back to the CPU
    a, b = statistics.median(times["loop"]), statistics.median(times["batches"])
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    difference = (loop - batched).abs().max() / loop.abs().max()
    print(f"{arguments.recipe} on {name}, {arguments.noises} noises, {steps} steps, batches of {config.batch_size}:")
    print(f"loop {a:.2f} s, batches {b:.2f} s, ratio {b / a:.2f}; largest relative difference {difference:.1e}")


if __name__ == "__main__":
    main()
