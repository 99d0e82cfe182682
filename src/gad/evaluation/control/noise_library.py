"""The library of NoiseQuery (Wang et al. 2025): noises described by what the teacher makes of them, built once.

Noises come back from the seed and are not stored. The rest is in shards, so that a killed build resumes where it
stopped; the manifest says which teacher and features the library belongs to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from gad.config.sample_ids import LIBRARY, task_sample_ids
from gad.diffusion.noise import draw_noise
from gad.diffusion.shapes import Latent
from gad.metrics.clip_encoder import Encoder, clip_features_in_batches
from gad.metrics.image_attributes import ATTRIBUTES, low_level_attributes
from gad.models.sampler import Sampler
from gad.models.weights_hash import weights_hash
from gad.runtime.distributed import distributed_folder_lock, distributed_wait_until, rank_and_world_size
from gad.runtime.files import read_json, read_tensors
from gad.runtime.fingerprint import file_hash, fingerprint, stage_fingerprint
from gad.runtime.shards import drop_damaged_shards, write_manifest, write_shard

PREVIEW = 64  # pixels on a side of the previews that are saved to be shown
POINTS = "points"  # the features of the Swiss roll's library


@dataclass(frozen=True)
class Library:
    """Noises by number, with what the teacher makes of each: ``features`` (unit CLIP features, or points), low-level
    ``attributes`` by name, and previews, uint8."""

    seed: int
    shape: tuple[int, ...]
    features: Float[Tensor, "N D"]
    attributes: dict[str, Float[Tensor, " N"]]
    previews: Tensor | None = None

    def __len__(self) -> int:
        return len(self.features)

    def noise(self, entries: Tensor) -> Latent:
        """The noises with these numbers."""
        return draw_noise([LIBRARY + i for i in entries.tolist()], self.shape, seed=self.seed)


def library_feature_names(encoder: Encoder | None, about: str) -> str:
    """What a library's entries are described by, and their captions, in one string."""
    return POINTS if encoder is None else "; ".join([about, encoder.name, *ATTRIBUTES])


def describe_library_entries(outputs: Tensor, encoder: Encoder | None) -> dict[str, Tensor]:
    """Features, attributes and previews of images; of points the points themselves."""
    if encoder is None:
        return {"features": outputs}
    small = F.interpolate(outputs, size=(PREVIEW, PREVIEW), mode="bilinear", antialias=True)
    return {
        "features": clip_features_in_batches(encoder, outputs),
        "attributes": low_level_attributes(outputs),
        "previews": ((small.clamp(-1, 1) + 1) * 127.5).round().byte(),
    }


def build_library(
    folder: Path,
    teacher: Sampler,
    encoder: Encoder | None,
    captions: Sequence[str],
    *,
    seed: int,
    about: str = "unconditional",
    shard_size: int = 128,
) -> Iterator[int]:
    """Write the shards that are missing and yield the number of entries done so far; entry i shows ``captions[i]``.

    With empty captions and guidance 1 the teacher samples without a prompt. Unfinished or finished work of another
    teacher, features, settings or code is thrown away. Of n processes, all of which must call this, each writes every
    n-th shard, the first one the manifest, and all return when it is there.
    """
    identity = {"teacher": weights_hash(teacher.model), "features": library_feature_names(encoder, about), "seed": seed}
    identity |= {"size": len(captions), "shape": list(teacher.model.latent_shape), "steps": teacher.num_steps}
    identity |= {"captions": fingerprint(list(captions)), "guidance_scale": teacher.guidance_scale}
    task_sample_ids(LIBRARY, len(captions))  # no more than there are
    cache_key = stage_fingerprint("control", identity, shard_size)
    rank, processes = rank_and_world_size()
    distributed_folder_lock(folder, cache_key)
    drop_damaged_shards(folder)
    blank = Library(seed, teacher.model.latent_shape, torch.empty(0, 0), {})
    paths = {start: folder / f"shard_{start:06d}.safetensors" for start in range(0, len(captions), shard_size)}
    for start, path in list(paths.items())[rank::processes]:
        stop = min(start + shard_size, len(captions))
        if not path.exists():
            outputs = teacher.generate(blank.noise(torch.arange(start, stop)), list(captions[start:stop]))
            write_shard(path, describe_library_entries(outputs, encoder))
        yield stop
    if rank == 0:
        distributed_wait_until(lambda: all(path.exists() for path in paths.values()))
        write_manifest(folder, identity)
    distributed_wait_until((folder / "manifest.json").exists)


def open_library(folder: Path, *, captions: Sequence[str] | None = None, **made_with: str | int | float) -> Library:
    """The finished library in ``folder``. ``captions`` and ``made_with`` (``teacher``, a hash, ``features``, ``steps``,
    ``guidance_scale``) are what it has to have been made with.

    Raises ValueError, in one line, for a library that is unfinished, damaged, empty, or made with others.
    """
    if not (folder / "manifest.json").exists():
        raise ValueError(f"there is no finished noise library in {folder}")
    manifest = read_json(folder / "manifest.json")
    for key, wanted in made_with.items():
        if manifest.get(key) != wanted:
            found = f"other {key.replace('_', ' ')}: {manifest.get(key)}, not {wanted}"
            raise ValueError(f"the noise library in {folder} was made with {found}; build one for this recipe")
    if captions is not None and manifest.get("captions") != fingerprint(list(captions)):
        raise ValueError(
            f"the noise library in {folder} has {manifest['size']} entries and the recipe asks for {len(captions)}, or"
            " they show other captions; build one for this recipe"
        )
    if not manifest["shards"]:
        raise ValueError(f"the noise library in {folder} is empty")
    parts = []
    for name, expected in sorted(manifest["shards"].items()):
        if not (folder / name).exists() or file_hash(folder / name) != expected:
            raise ValueError(f"shard {folder / name} is corrupt: build the library again, which makes it anew")
        parts.append(read_tensors(folder / name))
    whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    attributes = dict(zip(ATTRIBUTES, whole["attributes"].unbind(1), strict=True)) if "attributes" in whole else {}
    previews = whole.get("previews")
    return Library(manifest["seed"], tuple(manifest["shape"]), whole["features"], attributes, previews)


def retrieve_from_noise_library(
    features: Float[Tensor, "N D"], queries: Float[Tensor, "Q D"], *, metric: str
) -> Int[Tensor, " Q"]:
    """Number of the nearest entry of each query, exactly: smallest ``cosine`` or ``euclidean`` distance.

    Raises ValueError when there are no entries.
    """
    from sklearn.neighbors import NearestNeighbors  # here, since it takes seconds

    if not len(features):
        raise ValueError("the noise library is empty")
    search = NearestNeighbors(n_neighbors=1, algorithm="brute", metric=metric).fit(features.numpy())
    return torch.from_numpy(search.kneighbors(queries.numpy(), return_distance=False)[:, 0]).long()
