"""Noise pairs and the teacher's answers to them: what every student of a recipe learns from.

For each sample id the set holds the teacher's trajectory from a noise z, from its K perturbed noises z', and from K
further independent noises. So students trained on pairs and on independent noises see equally many trajectories, and
no teacher is called while a student trains. Noises and directions come back from the seed and are not stored, but for
singular directions, which hang on the teacher.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from gad.config import NoisePairsConfig
from gad.config.noise_pairs import NO_MATTER
from gad.diffusion.conditioning import Conditioning
from gad.diffusion.denoiser import Denoiser, NetworkDenoiser
from gad.diffusion.guidance import on_device
from gad.diffusion.noise import draw_direction, draw_noise, perturb
from gad.diffusion.sampling import node_times, sample
from gad.diffusion.singular_vectors import top_directions
from gad.models.model import Model, text_encoder_on
from gad.prompts import prompt_of
from gad.runtime.devices import own_device
from gad.runtime.distributed import claim_together, place, wait_until
from gad.runtime.files import read_json, write_json, write_tensors
from gad.runtime.fingerprint import code_hash, drop_damaged, file_hash, fingerprint


@dataclass(frozen=True)
class NoisePair:
    """Two noises a step apart, ``[B, C, H, W]`` each."""

    noise: Tensor
    direction: Tensor
    h: float
    perturbed: Tensor


def make_pair(
    ids, shape: tuple[int, int, int], config: NoisePairsConfig, *, index: int = 0, basis: Tensor | None = None
) -> NoisePair:
    """Noise pair number ``index`` of each sample id; singular directions are drawn in the ``basis`` of each."""
    noise = draw_noise(ids, shape, seed=config.seed)
    space = {"kind": config.direction, "size": config.low_frequency_size, "basis": basis}
    direction = draw_direction(ids, shape, seed=config.seed, index=index, **space)
    h = config.steps[index]
    perturbed = perturb(noise, direction, h=h, step=config.step, **space)
    return NoisePair(noise, direction, h, perturbed)


def singular_basis(
    denoise: Denoiser, noise: Tensor, conditioning: Conditioning | None, config: NoisePairsConfig, ids
) -> tuple[Tensor, Tensor]:
    """Singular directions ``[K, B, C, H, W]`` and strengths ``[B, K]`` of the teacher's chain of ``singular_steps``."""
    return top_directions(
        lambda z: sample(denoise, z, conditioning, num_steps=config.singular_steps)[-1],
        *(noise, config.num_singular),
        **{"rounds": config.singular_rounds, "ids": ids, "seed": config.seed},
    )


def further_noise(ids, shape: tuple[int, int, int], config: NoisePairsConfig, *, index: int) -> Tensor:
    """Independent noise number ``index`` of each sample id, from ids that no pair uses."""
    return draw_noise([config.num_pairs * (1 + index) + int(i) for i in ids], shape, seed=config.seed)


@torch.no_grad()
def answer(denoise: Denoiser, noise: Tensor, conditioning: Conditioning | None, config: NoisePairsConfig) -> Tensor:
    """The trajectory from each noise at the student's node times, ``[B, S + 1, C, H, W]``."""
    states = sample(denoise, noise, conditioning, num_steps=config.teacher_steps)
    stride = config.teacher_steps // config.num_nodes
    return states[::stride].transpose(0, 1)


def answers_to(
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
        found = singular_basis(denoise, noise.to(device), conditioning, config, ids)
        basis, stored["strengths"] = (part.cpu() for part in found)
    moved = [make_pair(ids, shape, config, index=k, basis=basis) for k in copies]
    if basis is not None:
        stored["directions"] = torch.stack([pair.direction for pair in moved], dim=1)
    noises = [noise, *(pair.perturbed for pair in moved)]
    noises += [further_noise(ids, shape, config, index=k) for k in copies]
    answers = [answer(denoise, noise.to(device), conditioning, config).cpu() for noise in noises]
    return {"trajectories": torch.stack(answers, dim=1)} | stored


def generate(folder: Path, teacher: Model, teacher_hash: str, config: NoisePairsConfig) -> Iterator[int]:
    """Write the shards that are missing and yield the number of sample ids done so far.

    A killed run goes on where it stopped; shards of another teacher, configuration or code, or of other prompts, are
    thrown away, and so are those that are not what the manifest of an earlier run says. Of n processes each writes
    every n-th shard, and the first one the manifest when all are there.
    """
    prompts = prompt_of(range(config.num_pairs), config.prompts)
    owner = fingerprint(config.model_dump(exclude=NO_MATTER), teacher_hash, prompts, code_hash("noise_pairs"))
    rank, processes = place()
    claim_together(folder, owner)
    drop_damaged(folder)
    device = own_device(config.device)
    denoise = on_device(_in_dtype(teacher, config.dtype).guided(config.guidance_scale), device)
    starts = range(0, config.num_pairs, config.shard_size)
    paths = [folder / f"shard_{start:06d}.safetensors" for start in starts]
    for start in starts[rank::processes]:
        stop = min(start + config.shard_size, config.num_pairs)
        path = folder / f"shard_{start:06d}.safetensors"
        if not path.exists():
            step, parts = config.batch_size, []
            batches = [range(first, min(first + step, stop)) for first in range(start, stop, step)]
            with text_encoder_on(teacher, device):  # once a shard: it may be the largest network of all
                prompts = [teacher.condition(prompt_of(ids, config.prompts)) for ids in batches]
            for ids, conditioning in zip(batches, prompts, strict=True):
                parts.append(answers_to(ids, denoise, teacher.latent_shape, conditioning, config, device))
                yield ids.stop
            shard = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
            if not all(tensor.isfinite().all() for tensor in shard.values()):
                advice = "set noise_pairs.dtype: float32" if config.dtype != "float32" else "is its folder whole?"
                raise ValueError(f"the teacher's answers to samples {start} to {stop - 1} are not finite; {advice}")
            write_tensors(path, shard)
    if rank > 0:
        return
    wait_until(lambda: all(path.exists() for path in paths))
    hashes = {path.name: file_hash(path) for path in sorted(folder.glob("shard_*.safetensors"))}
    manifest = {"config": config.model_dump(), "teacher": teacher_hash}
    manifest |= {"shards": hashes, "shape": list(teacher.latent_shape)}
    write_json(folder / "manifest.json", manifest, digits=17)


def _in_dtype(teacher: Model, dtype: str) -> Model:
    """The teacher itself, or one whose network has weights of that dtype."""
    if dtype == "float32" or not isinstance(teacher.denoiser, NetworkDenoiser):
        return teacher
    denoiser = copy.deepcopy(teacher.denoiser)
    denoiser.network.to(getattr(torch, dtype))
    return replace(teacher, denoiser=denoiser)


def _refuse_other(folder: Path, found: NoisePairsConfig, wanted: NoisePairsConfig) -> None:
    """Raises ValueError when the pairs of the folder were made with other settings."""
    had, want = (config.model_dump(exclude=NO_MATTER | {"shard_size"}) for config in (found, wanted))
    other = [f"{name} {had[name]} where the recipe says {want[name]}" for name in had if had[name] != want[name]]
    if other:
        raise ValueError(f"the noise pairs in {folder} were made with {', '.join(other)}: run noise_pairs again")


class NoisePairs:
    """The stored trajectories, memory-mapped. Per sample id: z, then K perturbed noises, then K further ones.

    Raises ValueError when there are none, when they were made with other settings than those ``wanted`` or with another
    ``teacher`` than the one of that fingerprint, or when a shard's hash is not the one in the manifest.
    """

    def __init__(self, folder: Path, wanted: NoisePairsConfig | None = None, *, teacher: str | None = None):
        if not (folder / "manifest.json").exists():
            raise ValueError(f"there are no finished noise pairs in {folder}")
        manifest = read_json(folder / "manifest.json")
        self.config = NoisePairsConfig(**manifest["config"])
        if wanted is not None:
            _refuse_other(folder, self.config, wanted)
        if teacher not in (None, manifest.get("teacher", teacher)):  # pairs of older code do not tell
            raise ValueError(f"the noise pairs in {folder} are another teacher's: run noise_pairs again")
        self.fingerprint = fingerprint(manifest["shards"])
        self.times = node_times(self.config.num_nodes)
        self._shape = tuple(manifest["shape"])
        self._shards, self._directions = [], []
        for name, expected in manifest["shards"].items():
            if not (folder / name).exists() or file_hash(folder / name) != expected:
                raise ValueError(f"shard {folder / name} is corrupt: run noise_pairs again, which makes it anew")
            with safe_open(folder / name, framework="pt") as file:
                self._shards.append(file.get_tensor("trajectories"))  # a memory-mapped view: pages load when read
                if self.config.direction == "singular":
                    self._directions.append(file.get_tensor("directions"))

    def __len__(self) -> int:
        return self.config.num_pairs

    def trajectories(self, ids: Tensor, member: Tensor | int) -> Tensor:
        """Trajectories ``[B, S + 1, C, H, W]``; member 0 is z, 1..K perturbed, K+1..2K independent of any pair."""
        members = torch.as_tensor(member).expand(len(ids))
        result = self._shards[0].new_empty(len(ids), *self._shards[0].shape[2:])
        shard = ids // self.config.shard_size
        for number in shard.unique().tolist():
            here = shard == number
            result[here] = self._shards[number][ids[here] % self.config.shard_size, members[here]]
        return result

    def directions(self, ids: Tensor, index: int) -> Tensor:
        """Direction number ``index`` of each sample id, ``[B, C, H, W]``: stored, or drawn again from the seed."""
        if not self._directions:
            return make_pair(ids.tolist(), self._shape, self.config, index=index).direction
        size = self.config.shard_size
        return torch.stack([self._directions[i // size][i % size, index] for i in ids.tolist()])

    def jvp_power(self, num_ids: int = 256) -> float:
        """Mean square of the teacher's response per element and unit of h, E[mean((Phi(z') - Phi(z))²) / h²]; mean
        over the steps h that there are."""
        ids, steps = torch.arange(min(num_ids, len(self))), self.config.steps
        value, powers = self.trajectories(ids, 0)[:, -1], []
        for h in dict.fromkeys(steps):
            change = self.trajectories(ids, 1 + steps.index(h))[:, -1] - value
            powers.append((change.square().mean() / h**2).item())
        return sum(powers) / len(powers)
