"""Noise pairs made by the teacher: its sampling trajectories from z, from z' = z + h v and from independent noises."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from gad.config import NoisePairsConfig
from gad.config.noise_pairs import NO_MATTER
from gad.data.noise_pairs import NoisePairs, noise_pair_of
from gad.data.prompts import prompt_of
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import Denoiser, NetworkDenoiser
from gad.diffusion.guidance import guided_denoiser_on_device
from gad.diffusion.noise import Ids, draw_noise
from gad.diffusion.sampling import sample
from gad.diffusion.singular_vectors import top_singular_vectors
from gad.models.model import Model
from gad.models.stage import Stage
from gad.runtime.devices import own_device
from gad.runtime.distributed import distributed_folder_lock, distributed_wait_until, rank_and_world_size
from gad.runtime.fingerprint import fingerprint, stage_fingerprint
from gad.runtime.paths import stage_dir
from gad.runtime.shards import drop_damaged_shards, write_manifest, write_shard


def _singular_basis(
    denoise: Denoiser, noise: Tensor, conditioning: Conditioning | None, config: NoisePairsConfig, ids: Ids
) -> tuple[Tensor, Tensor]:
    """Singular directions ``[K, B, C, H, W]`` and values ``[B, K]`` of the teacher's ``singular_steps``-step map."""
    return top_singular_vectors(
        lambda z: sample(denoise, z, conditioning, num_steps=config.singular_steps)[-1],
        noise,
        config.num_singular,
        rounds=config.singular_rounds,
        ids=ids,
        seed=config.seed,
    )


def generate_independent_noise(
    ids: Ids, shape: tuple[int, int, int], config: NoisePairsConfig, *, index: int
) -> Tensor:
    """Independent noise number ``index`` of each sample id, from ids that no pair uses."""
    return draw_noise([config.num_pairs * (1 + index) + int(i) for i in ids], shape, seed=config.seed)


@torch.no_grad()
def generate_pair_trajectory(
    denoise: Denoiser, noise: Tensor, conditioning: Conditioning | None, config: NoisePairsConfig
) -> Tensor:
    """The trajectory from each noise at the student timesteps, ``[B, S + 1, C, H, W]``."""
    states = sample(denoise, noise, conditioning, num_steps=config.teacher_steps)
    stride = config.teacher_steps // config.student_steps
    return states[::stride].transpose(0, 1)


def _trajectories_of(
    ids: range,
    denoise: Denoiser,
    shape: tuple[int, int, int],
    conditioning: Conditioning | None,
    config: NoisePairsConfig,
    device: torch.device,
) -> dict[str, Tensor]:
    """What a shard holds of these sample ids: their trajectories, and singular directions with their strengths."""
    copies = range(config.directions_per_noise)
    conditioning = None if conditioning is None else conditioning.to(device)
    noise, basis, stored = draw_noise(ids, shape, seed=config.seed), None, {}
    if config.direction == "singular":
        found = _singular_basis(denoise, noise.to(device), conditioning, config, ids)
        basis, stored["strengths"] = (part.cpu() for part in found)
    moved = [noise_pair_of(ids, shape, config, index=k, basis=basis) for k in copies]
    if basis is not None:
        stored["directions"] = torch.stack([pair.direction for pair in moved], dim=1)
    noises = [noise, *(pair.perturbed for pair in moved)]
    noises += [generate_independent_noise(ids, shape, config, index=k) for k in copies]
    trajectories = [generate_pair_trajectory(denoise, noise.to(device), conditioning, config).cpu() for noise in noises]
    return {"trajectories": torch.stack(trajectories, dim=1)} | stored


def pair_generation_cache_key(config: NoisePairsConfig, teacher_hash: str) -> str:
    """The cache key of noise pairs; ``teacher_hash`` is the fingerprint of the teacher's folder."""
    prompts = prompt_of(range(config.num_pairs), config.prompt_source)
    return stage_fingerprint("noise_pairs", config.model_dump(exclude=NO_MATTER), teacher_hash, prompts)


def generate_noise_pairs(folder: Path, teacher: Model, teacher_hash: str, config: NoisePairsConfig) -> Iterator[int]:
    """Write the shards that are missing and yield the number of sample ids done so far.

    A killed run goes on where it stopped; shards of another teacher, configuration or code, or of other prompts, are
    thrown away, and so are damaged ones. Of n processes each writes
    every n-th shard, and the first one the manifest when all are there.
    """
    rank, processes = rank_and_world_size()
    distributed_folder_lock(folder, pair_generation_cache_key(config, teacher_hash))
    drop_damaged_shards(folder)
    device = own_device(config.device)
    denoise = guided_denoiser_on_device(_in_dtype(teacher, config.dtype).guided(config.guidance_scale), device)
    starts = range(0, config.num_pairs, config.shard_size)
    paths = [folder / f"shard_{start:06d}.safetensors" for start in starts]
    for start in starts[rank::processes]:
        stop = min(start + config.shard_size, config.num_pairs)
        path = folder / f"shard_{start:06d}.safetensors"
        if not path.exists():
            step, parts = config.batch_size, []
            batches = [range(first, min(first + step, stop)) for first in range(start, stop, step)]
            with teacher.text_encoder_on(device):  # once a shard: it may be the largest network of all
                encoded = [teacher.condition(prompt_of(ids, config.prompt_source)) for ids in batches]
            for ids, conditioning in zip(batches, encoded, strict=True):
                parts.append(_trajectories_of(ids, denoise, teacher.latent_shape, conditioning, config, device))
                yield ids.stop
            shard = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
            if not all(tensor.isfinite().all() for tensor in shard.values()):
                advice = "set noise_pairs.dtype: float32" if config.dtype != "float32" else "is its folder whole?"
                raise ValueError(f"the teacher's outputs of samples {start} to {stop - 1} are not finite; {advice}")
            write_shard(path, shard)
    if rank > 0:
        return
    distributed_wait_until(lambda: all(path.exists() for path in paths))
    facts: dict[str, object] = {"config": config.recorded(), "teacher": teacher_hash}
    write_manifest(folder, facts | {"shape": list(teacher.latent_shape)}, digits=17)


def _in_dtype(teacher: Model, dtype: str) -> Model:
    """The teacher itself, or one whose network has weights of that dtype."""
    if dtype == "float32" or not isinstance(teacher.denoiser, NetworkDenoiser):
        return teacher
    denoiser = copy.deepcopy(teacher.denoiser)
    denoiser.network.to(getattr(torch, dtype))
    return replace(teacher, denoiser=denoiser)


def generate_stage_noise_pairs(stage: Stage[NoisePairsConfig]) -> NoisePairs:
    """The recipe's noise pairs, made where they are not finished yet."""
    config, teacher_hash = stage.section, fingerprint(stage_dir(stage.recipe, "teacher"))
    with tqdm(total=config.num_pairs, desc="noise pairs", mininterval=2) as bar:
        for done in generate_noise_pairs(stage.folder, stage.teacher, teacher_hash, config):
            bar.update(done - bar.n)
    return NoisePairs(stage.folder)
