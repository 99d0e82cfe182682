"""Hashes of what decides a result: values, files and code."""

import ast
import hashlib
import json
import os
from functools import cache
from pathlib import Path

from ruamel.yaml import YAML

from gad.runtime.paths import ROOT


def file_hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(folder: Path) -> list[Path]:
    """The files of a folder at any depth, sorted, behind links as well: parts of a model often lie on another disk, or
    in a hub's cache.

    Left out is what appears by itself: compiled code, and partial files that a kill has left. Raises ValueError, in one
    line, for a link that leads back to a folder around it, and for one to nothing.
    """
    found: list[Path] = []
    for place, folders, names in os.walk(folder, followlinks=True):
        around = {os.path.realpath(parent) for parent in [Path(place), *Path(place).parents]}
        for link in (Path(place, name) for name in folders):
            if link.is_symlink() and os.path.realpath(link) in around:
                raise ValueError(f"the link {link} leads back to a folder around it; remove it")
        folders[:] = [name for name in folders if not name.endswith(".partial")]
        for path in (Path(place, name) for name in names if not name.endswith((".pyc", ".partial"))):
            if path.is_symlink() and not path.exists():
                raise ValueError(f"{path} is a link to {os.readlink(path)}, which is not there")
            if path.is_file():
                found.append(path)
    return sorted(found)


def fingerprint(*values: object) -> str:
    """A short hash of plain values and of the files and folders named by the paths among them."""
    digest = hashlib.sha256()
    for value in values:
        if isinstance(value, Path):
            for file in files_below(value) if value.is_dir() else [value]:
                digest.update(f"{file.relative_to(value.parent)}:{file_hash(file)}".encode())
        else:
            digest.update(json.dumps(value, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


def _without_docstrings(source: str) -> str:
    """The syntax of a Python file as text, without docstrings, comments and formatting."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_text(line)]
    return ast.dump(tree)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def code_hash(stage: str) -> str:
    """A short hash of the code that decides a stage's numbers: the rooms of this package that it depends on in
    ``dvc.yaml``. Comments and docstrings do not count."""
    entry = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"][stage]
    rooms = [ROOT / name for name in entry.get("do", entry)["deps"] if name.startswith("src/")]
    files = sorted(file for room in rooms for file in (room.rglob("*.py") if room.is_dir() else [room]))
    digest = hashlib.sha256()
    for file in files:
        source = file.read_text(encoding="utf-8")
        digest.update(f"{file.relative_to(ROOT)}:{_without_docstrings(source)}".encode())
    return digest.hexdigest()[:16]


def stage_fingerprint(stage: str, *values: object) -> str:
    """The cache key of a stage's work: a fingerprint of what it is made from, and the hash of its code."""
    return f"{fingerprint(*values)}-{code_hash(stage)}"
