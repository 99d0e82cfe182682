"""What is wrong with a folder of diffusers' format that its loader refuses: a fault for each file that is no use."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from gad.models.families import FAMILIES
from gad.models.pipeline_loading import check_teacher_pipeline
from gad.models.text_encoding import tokenizer_name

Fault = tuple[str, str]  # what is wrong, and what to do about it
AGAIN = "fetch the folder again"
OTHER = "mend it, or name another folder"
LFS = b"version https://git-lfs"
FILES = {  # of parts that are no networks: the files of one line have to be there
    "scheduler": [["scheduler_config.json"]],
    "tokenizer": [["tokenizer.json"], ["spiece.model"], ["tokenizer.model"], ["vocab.json", "merges.txt"]],
    "feature_extractor": [["preprocessor_config.json"]],
}
NUMBERED = re.compile(r"_\d$")  # a pipeline's second and third tokenizer


def faults_of_pipeline(folder: Path, *, side: int | None = None) -> Iterator[Fault]:
    """Why the loader refuses a pipeline's folder, without reading its weights: a line for each file that is no use, or
    what the loader itself says, of latents of ``side`` too. Nothing where it loads."""
    try:
        check_teacher_pipeline(folder, side=side)
    except ValueError as error:
        yield from list(_faults_of_files(folder)) or [(_without_folder(str(error), folder), OTHER)]


def _without_folder(reason: str, folder: Path) -> str:
    """A reason that the finding puts behind the folder's name."""
    for start in (f"cannot load a diffusers pipeline from {folder}: ", f"{folder}: "):
        reason = reason.removeprefix(start)
    return reason


def _faults_of_files(folder: Path) -> Iterator[Fault]:
    """Every fault of a pipeline's index, and of the files of the parts that it names."""
    fault = _fault_of_file(folder, "model_index.json")
    if fault:
        yield fault[0], f"{fault[1]}, or name the folder that diffusers' save_pretrained wrote"
        return
    index = _read_object(folder / "model_index.json") or {}
    name = index.get("_class_name")
    if name not in [*FAMILIES]:
        yield f"{name} is not a pipeline that gad can use", f"use {', '.join(FAMILIES)}"
        return
    readers = FAMILIES[name].text_encoders
    for part in (FAMILIES[name].network, "vae", *readers, *map(tokenizer_name, readers), "scheduler"):
        if not _is_part(index.get(part)):
            yield f"model_index.json names no {part}", AGAIN
    for part, (library, kind) in ((part, value) for part, value in index.items() if _is_part(value)):
        try:
            yield from _faults_of_part(folder, part, library, kind)
        except OSError as error:  # of the part's folder; _fault_of_file checks files
            yield f"{part}/ cannot be read: {error.strerror}", f"make {folder / part} readable"


def _is_part(value: object) -> bool:
    """Whether an entry of the index names a library and a class; [null, null] is a part left out."""
    return isinstance(value, list) and len(value) == 2 and all(isinstance(item, str) for item in value)


def _faults_of_part(folder: Path, part: str, library: str, kind: str) -> Iterator[Fault]:
    """Faults of one part: no folder, files that are missing or no use."""
    if not (folder / part).is_dir():
        yield f"there is no folder {part}/ ({kind})", AGAIN
        return
    names = set(os.listdir(folder / part))
    kind_of_part = NUMBERED.sub("", part)
    if kind_of_part not in FILES:
        stem = "diffusion_pytorch_model" if library == "diffusers" else "model"
        yield from _faults_of_network(folder, part, names, stem)
        return
    wanted = next((files for files in FILES[kind_of_part] if names.issuperset(files)), None)
    if wanted is None:
        choices = " or ".join(" and ".join(files) for files in FILES[kind_of_part])
        yield f"{part}/ has no {choices}", AGAIN
        return
    yield from filter(None, (_fault_of_file(folder, f"{part}/{name}") for name in wanted))


def _faults_of_network(folder: Path, part: str, names: set[str], stem: str) -> Iterator[Fault]:
    """Faults of a network's config and of its weights, which are one safetensors file or parts with an index."""
    config = _fault_of_file(folder, f"{part}/config.json")
    if config:
        yield config
    whole, index = f"{stem}.safetensors", f"{stem}.safetensors.index.json"
    files = [whole]
    if index in names and not (whole in names and stem == "model"):  # with both, diffusers reads the index
        fault = _fault_of_file(folder, f"{part}/{index}")
        if fault:
            yield fault
            return
        files = _shards_of(folder / part / index)
        if not files:
            yield f"{part}/{index} names no files in its weight_map", AGAIN
            return
        lost = [name for name in files if name not in names]
        if lost:
            yield f"{part}/ lacks {', '.join(lost)}", AGAIN
    elif whole not in names:
        yield _no_weights(part, names, whole)
    yield from filter(None, (_fault_of_file(folder, f"{part}/{name}") for name in files if name in names))


def _no_weights(part: str, names: set[str], whole: str) -> Fault:
    others = sorted(name for name in names if name.endswith(".safetensors"))
    if others:
        return f"{part}/ has neither {whole} nor its index, only {', '.join(others)}", f"{AGAIN}, with all its files"
    if any(name.endswith(".bin") for name in names):
        do = "convert its .bin files: save_pretrained(safe_serialization=True)"
        return f"{part}/ has no weights in safetensors", do
    return f"{part}/ has no weights in safetensors", AGAIN


def _shards_of(index: Path) -> list[str]:
    """The files that an index of weights names; none where it is no such index."""
    files = (_read_object(index) or {}).get("weight_map")
    if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
        return []
    return sorted(set(files.values()))


def _fault_of_file(folder: Path, name: str) -> Fault | None:
    """Why a file is no use, or None: not there, refused, empty, only a pointer, or not what its ending says."""
    path = folder / name
    try:
        with open(path, "rb") as file:
            start = file.read(len(LFS))
        size = path.stat().st_size
    except OSError as error:
        if isinstance(error, FileNotFoundError) and path.is_symlink():
            return f"{name} is a link to a file that is not here", "copy the files too: a hub cache with its blobs/"
        if isinstance(error, FileNotFoundError):
            return f"{name} is not there", AGAIN
        return f"{name} cannot be read: {error.strerror}", f"make {path} readable"
    if size == 0:
        return f"{name} is empty", AGAIN
    if start == LFS:
        return f"{name} is a pointer of git-lfs, not the file", "git lfs pull"
    if path.suffix == ".json" and _read_object(path) is None:
        return f"{name} is not a JSON object", AGAIN
    if path.suffix == ".safetensors" and _size_by_header(path) != size:
        return f"{name} is cut off or broken", AGAIN
    return None


def _read_object(path: Path) -> dict | None:
    """The object of a JSON file; None where it holds none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _size_by_header(path: Path) -> int | None:
    """The size in a safetensors file's header; None where its header is none."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                return None
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return 8 + length + max(ends, default=0)
    except (OSError, ValueError, AttributeError, LookupError, TypeError, RecursionError):  # JSON of another form
        return None
