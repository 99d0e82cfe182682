"""Files that a crash of the machine or of a disk has damaged are made again, and are never taken for whole."""

import errno
import os
import shutil
import subprocess
import time

import pandas as pd
import pytest
import torch

from gad.runtime import atomic
from gad.runtime.atomic import WriteError, atomic_write_path, remove_folder
from gad.runtime.cache import ResultCache
from gad.runtime.checkpoint import _write_checkpoint, read_checkpoint
from gad.runtime.files import read_json, write_tensors
from gad.runtime.fingerprint import fingerprint
from gad.runtime.folder_lock import lock_folder
from gad.runtime.shards import drop_damaged_shards, write_manifest, write_shard
from gad.runtime.stage_lock import StageLockedError, stage_locks

HARMS = {
    "no byte": lambda whole: b"",
    "a byte": lambda whole: whole[:1],
    "half": lambda whole: whole[: len(whole) // 2],
    "all but a byte": lambda whole: whole[:-1],
    "a flipped bit": lambda whole: whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:],
    "a byte more": lambda whole: whole + b"x",
}


@pytest.fixture(params=HARMS)
def harm(request):
    """Do a damage to a file."""
    return lambda path: path.write_bytes(HARMS[request.param](path.read_bytes()))


@pytest.mark.parametrize("finished", [False, True])
def test_a_damaged_shard_goes_and_the_others_stay(tmp_path, harm, finished):
    paths = [tmp_path / f"shard_{number}.safetensors" for number in range(3)]
    for number, path in enumerate(paths):
        write_shard(path, {"x": torch.arange(10) + number})
    if finished:
        write_manifest(tmp_path, {})
    harm(paths[1])
    drop_damaged_shards(tmp_path)
    assert [path.exists() for path in paths] == [True, False, True]
    drop_damaged_shards(tmp_path)
    assert paths[0].exists() and not (tmp_path / "manifest.json").exists()
    write_shard(paths[1], {"x": torch.arange(10) + 1})
    write_manifest(tmp_path, {"a": 1})
    assert len(read_json(tmp_path / "manifest.json")["shards"]) == 3
    assert sorted(os.listdir(tmp_path)) == sorted(["manifest.json", *(path.name for path in paths)])


def test_a_damaged_manifest_is_no_proof_of_any_shard(tmp_path, harm):
    write_shard(tmp_path / "shard_0.safetensors", {"x": torch.arange(10)})
    write_manifest(tmp_path, {})
    (tmp_path / "manifest.json").write_text((tmp_path / "manifest.json").read_text()[:-9])
    drop_damaged_shards(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["tensors.safetensors", "rows.parquet", "hashes.json"])
def test_a_damaged_cached_result_is_made_again(tmp_path, harm, name):
    made = []

    def make():
        made.append(1)
        return {"rows": pd.DataFrame({"a": [1, 2]}), "x": torch.arange(5)}

    cached = ResultCache(tmp_path)
    cached("result", make), cached("result", make)
    assert len(made) == 1
    harm(tmp_path / "result" / name)
    found = cached("result", make)
    assert torch.equal(found["x"], torch.arange(5)) and list(found["rows"]["a"]) == [1, 2]
    assert len(made) == 2 or name == "hashes.json"  # whose last bytes may be spaces


def test_a_damaged_checkpoint_is_told_and_not_used(tmp_path, harm):
    _write_checkpoint(tmp_path / "c.pt", {"step": 1, "network": {"w": torch.arange(9.0)}})
    assert read_checkpoint(tmp_path / "c.pt")["step"] == 1
    harm(tmp_path / "c.pt")
    with pytest.warns(UserWarning, match="c.pt is damaged .*: its training begins again"):
        assert read_checkpoint(tmp_path / "c.pt") is None


def test_a_checkpoint_survives_kills_between_a_new_ones_hash_and_the_new_one_itself(tmp_path, monkeypatch):
    _write_checkpoint(tmp_path / "c.pt", {"step": 1})
    with monkeypatch.context() as broken:
        true = os.replace
        broken.setattr(os, "replace", lambda a, b: true(a, b) if str(b).endswith(".sha256") else 1 / 0)
        for step in (2, 3):
            with pytest.raises(ZeroDivisionError):
                _write_checkpoint(tmp_path / "c.pt", {"step": step})
    assert read_checkpoint(tmp_path / "c.pt")["step"] == 1


def test_a_kill_while_a_folder_is_removed_leaves_no_half_of_it(tmp_path, monkeypatch):
    write_tensors(tmp_path / "seed_0" / "a", {"x": torch.ones(1)})
    monkeypatch.setattr(atomic, "_remove", lambda path, **_: None if not path.exists() else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        remove_folder(tmp_path / "seed_0")
    assert not (tmp_path / "seed_0").exists()


def test_work_of_others_is_no_longer_marked_as_theirs_once_its_removal_has_begun(tmp_path, monkeypatch):
    lock_folder(tmp_path / "work", "theirs")
    (tmp_path / "work" / "seed_0").mkdir()
    monkeypatch.setattr("gad.runtime.folder_lock.remove_folder", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        lock_folder(tmp_path / "work", "ours")
    monkeypatch.undo()
    lock_folder(tmp_path / "work", "theirs")
    assert os.listdir(tmp_path / "work") == ["fingerprint.txt"]


def test_a_link_to_another_disk_stays_a_link_when_work_is_thrown_away(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "pairs").symlink_to("scratch")
    lock_folder(tmp_path / "pairs", "theirs")
    (tmp_path / "pairs" / "shard").write_text("x")
    lock_folder(tmp_path / "pairs", "ours")
    assert (tmp_path / "pairs").is_symlink() and os.listdir(tmp_path / "scratch") == ["fingerprint.txt"]


def test_a_fingerprint_covers_what_lies_behind_links_and_refuses_a_link_to_nothing(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "weights").write_text("1")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "unet").symlink_to(tmp_path / "disk")
    (tmp_path / "plain").mkdir()
    shutil.copytree(tmp_path / "disk", tmp_path / "plain" / "unet")
    (tmp_path / "linked").rename(tmp_path / "model")
    before = fingerprint(tmp_path / "model")
    (tmp_path / "model" / ".x.partial").write_text("of a kill")
    assert fingerprint(tmp_path / "model") == before
    (tmp_path / "disk" / "weights").write_text("2")
    assert fingerprint(tmp_path / "model") != before
    (tmp_path / "disk" / "weights").write_text("1")
    (tmp_path / "model").rename(tmp_path / "other")
    (tmp_path / "plain").rename(tmp_path / "model")
    assert fingerprint(tmp_path / "model") == before  # however it lies on the disk
    (tmp_path / "model" / "gone").symlink_to("nowhere")
    with pytest.raises(ValueError, match="gone is a link to nowhere, which is not there"):
        fingerprint(tmp_path / "model")
    (tmp_path / "model" / "gone").unlink()
    (tmp_path / "model" / "loop").symlink_to(tmp_path / "model")
    with pytest.raises(ValueError, match="loop leads back to a folder around it"):
        fingerprint(tmp_path / "model")


WRITERS = {
    "tensors": lambda path: write_tensors(path, {"x": torch.zeros(10**6)}),
    "checkpoint": lambda path: _write_checkpoint(path, {"x": torch.zeros(10**6)}),
    "table": lambda path: pd.DataFrame({"x": torch.rand(10**5).numpy()}).to_parquet(path),
    "text": lambda path: path.write_text("x" * 10**6),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_one_line_whichever_library_meets_it(tmp_path, writer):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        (disk / "file").write_text("old")
        with pytest.raises(WriteError) as error, atomic_write_path(disk / "file") as partial:
            WRITERS[writer](partial)
        assert str(error.value).endswith(": the disk is full; free some space and start again")
        assert error.value.errno == errno.ENOSPC
        assert (disk / "file").read_text() == "old" and os.listdir(disk) == ["file"]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(os, "fsync", lambda number: order.append("sync"))
    true = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("name"), true(a, b)))
    with atomic_write_path(tmp_path / "folder") as partial:
        partial.mkdir()
        (partial / "a").write_text("a")
        (partial / "b").write_text("b")
    assert order == ["sync", "sync", "name", "sync"]


def test_a_stage_is_written_by_one_run_and_not_while_another_reads_it(tmp_path):
    with stage_locks(tmp_path, "student-gad", ["noise_pairs"]):
        with stage_locks(tmp_path, "student-baseline", ["noise_pairs"]):  # two that read the same
            pass
        with pytest.raises(StageLockedError, match=f"^student-gad is being run by process {os.getpid()} on"):
            with stage_locks(tmp_path, "student-gad", []):
                pass
        with pytest.raises(StageLockedError, match="^noise_pairs is in use by another stage that reads it; wait"):
            with stage_locks(tmp_path, "noise_pairs", []):
                pass
        with pytest.raises(StageLockedError, match="^student-gad is being run by"):
            with stage_locks(tmp_path, "sensitivity", ["student-gad"]):
                pass
    with stage_locks(tmp_path, "noise_pairs", []), stage_locks(tmp_path, "student-gad", []):
        pass


def test_a_lock_of_another_machine_is_taken_over_once_its_entry_stands_still(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("gad.runtime.stage_lock.BEAT", 0.05)
    monkeypatch.setattr("gad.runtime.stage_lock.WATCHED", 0.3)
    (tmp_path / "student.lock").write_text('{"pid": 7, "host": "elsewhere", "beat": 3}')
    with stage_locks(tmp_path, "student", []):
        assert "took over the lock of student: process 7 on elsewhere is gone" in capsys.readouterr().out
    monkeypatch.setattr("gad.runtime.stage_lock.WATCHED", 30)  # the first beat ends it, however busy the machine is
    with stage_locks(tmp_path, "other", []):
        time.sleep(0.2)  # a few beats: an entry keeps the host of its owner
        monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
        monkeypatch.setattr("fcntl.flock", lambda *_: None)  # as on a disk whose locks are not shared
        with pytest.raises(StageLockedError, match="other is being run by process"):
            with stage_locks(tmp_path, "other", []):
                pass
