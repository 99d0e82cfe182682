"""What can be wrong with a folder of diffusers' format: each gives a function that does it to a folder."""

import json


def written(name: str, content):
    """The damage that a file of the teacher's folder holds something else: bytes, or a value as JSON."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda folder: (folder / name).write_bytes(data)


def changed(**entries):
    """The damage that the pipeline's index says something else."""

    def damage(folder):
        index = json.loads((folder / "model_index.json").read_text())
        (folder / "model_index.json").write_text(json.dumps(index | entries))

    return damage


def renamed(name: str, other: str):
    return lambda folder: (folder / name).rename(folder / other)


def removed(name: str):
    return lambda folder: (folder / name).unlink()


def emptied(name: str):
    return lambda folder: [path.unlink() for path in (folder / name).iterdir()]


def dangling(name: str):
    """The damage of a hub cache that was copied without its ``blobs/``."""

    def damage(folder):
        (folder / name).unlink()
        (folder / name).symlink_to("../../blobs/0123")

    return damage


def cut(name: str):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100])


def sharded(*shards: str, index: bytes | None = None):
    """The damage that a text encoder is named as shards that are not there, or not named at all."""
    content = index or json.dumps({"weight_map": dict(enumerate(shards))}).encode()

    def damage(folder):
        removed("text_encoder/model.safetensors")(folder)
        written("text_encoder/model.safetensors.index.json", content)(folder)

    return damage


def header(value) -> bytes:
    data = json.dumps(value).encode()
    return len(data).to_bytes(8, "little") + data
