"""The stored noise pairs, memory-mapped."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from gad.config import NoisePairsConfig
from gad.config.noise_pairs import NO_MATTER
from gad.config.recipe import translate_old_recipe_keys
from gad.diffusion.noise import Ids, draw_direction, draw_noise, perturb
from gad.diffusion.sampling import sampling_timesteps
from gad.models.stage import Stage
from gad.runtime.files import read_json
from gad.runtime.fingerprint import file_hash, fingerprint
from gad.runtime.paths import stage_dir


@dataclass(frozen=True)
class NoisePair:
    """Two noises a step apart, ``[B, C, H, W]`` each."""

    noise: Tensor
    direction: Tensor
    h: float
    perturbed: Tensor


def noise_pair_of(
    ids: Ids,
    shape: tuple[int, int, int],
    config: NoisePairsConfig,
    *,
    index: int = 0,
    basis: Tensor | None = None,
) -> NoisePair:
    """Noise pair number ``index`` of each sample id; singular directions are drawn in the ``basis`` of each."""
    noise = draw_noise(ids, shape, seed=config.seed)
    kind, size = config.direction, config.low_frequency_size
    direction = draw_direction(ids, shape, seed=config.seed, index=index, kind=kind, size=size, basis=basis)
    h = config.steps[index]
    perturbed = perturb(noise, direction, h=h, step=config.step, kind=kind, size=size, basis=basis)
    return NoisePair(noise, direction, h, perturbed)


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
        self.config = NoisePairsConfig(**translate_old_recipe_keys("noise_pairs", manifest["config"]))
        if wanted is not None:
            _refuse_other(folder, self.config, wanted)
        if teacher not in (None, manifest.get("teacher", teacher)):  # pairs of older code do not tell
            raise ValueError(f"the noise pairs in {folder} are another teacher's: run noise_pairs again")
        self.folder, self.fingerprint = folder, fingerprint(manifest["shards"])
        self.times = sampling_timesteps(self.config.student_steps)
        self._shape = tuple(manifest["shape"])
        self._shards, self._directions = [], []
        for name, expected in manifest["shards"].items():
            if not (folder / name).exists() or file_hash(folder / name) != expected:
                raise ValueError(f"shard {folder / name} is corrupt: run noise_pairs again, which makes it anew")
            with safe_open(folder / name, framework="pt") as file:
                self._shards.append(file.get_tensor("trajectories"))  # a memory-mapped view: pages load when read
                if self.config.direction == "singular":
                    self._directions.append(file.get_tensor("directions"))

    def __reduce__(self):
        """Another process reads the same files, and shares their pages."""
        return NoisePairs, (self.folder,)

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
            return noise_pair_of(ids.tolist(), self._shape, self.config, index=index).direction
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


def finished_noise_pairs(stage: Stage) -> NoisePairs:
    """The recipe's finished noise pairs. Raises ValueError where they are another recipe's or another teacher's."""
    folder, teacher_hash = stage_dir(stage.recipe, "noise_pairs"), fingerprint(stage_dir(stage.recipe, "teacher"))
    return NoisePairs(folder, stage.settings.noise_pairs, teacher=teacher_hash)
