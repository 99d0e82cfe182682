"""The example files for clusters start what tests/distillation/test_machines.py runs: the scripts themselves."""

import os
import subprocess

import pytest
from ruamel.yaml import YAML
from scripts import ROOT

STAGE = ["student", "--recipe", "R", "--variant", "V"]
COMMANDS = {"srun": 'shift; exec "$@"', "scontrol": "printf 'first\\nsecond\\n'", "python": 'echo "$@"'}


@pytest.fixture
def cluster(tmp_path):
    """Run a command where a scheduler has one line a command, and python prints its arguments."""
    (tmp_path / "bin").mkdir()
    for name, body in COMMANDS.items():
        (tmp_path / "bin" / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "pipelines").symlink_to(ROOT / "pipelines")

    def run(*command: str, **told: str) -> str:
        environment = {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=environment | told, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def launched(machines: str, processes: str, head: str, run: str) -> str:
    options = f"--nnodes {machines} --nproc_per_node {processes} --rdzv_backend c10d --rdzv_endpoint {head}:29500"
    return f"-m torch.distributed.run {options} --rdzv_id {run} pipelines/parallel.py {' '.join(STAGE)}\n"


def test_a_machine_launches_its_processes_where_the_others_meet(cluster):
    found = cluster("bash", "pipelines/cluster/machine.sh", *STAGE, MACHINES="3", HEAD="first", RUN="7")
    assert found == launched("3", "gpu", "first", "7")


@pytest.mark.parametrize("restarts", ["", "2"])
def test_slurm_tells_every_machine_where_to_meet_and_a_job_that_begins_again_under_which_name(cluster, restarts):
    told = {"SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_ID": "9"}
    told |= {"SLURM_RESTART_COUNT": restarts} if restarts else {}
    found = cluster("bash", "pipelines/cluster/slurm.sh", *STAGE, **told)
    assert found == launched("2", "gpu", "first", f"9-{restarts or 0}")


def test_skypilot_starts_the_same_command_on_the_machines_that_it_asks_for(cluster):
    task = YAML(typ="safe").load(ROOT / "pipelines" / "cluster" / "skypilot.yaml")
    run = task["run"].replace("/gad/project/", "")
    told = {"SKYPILOT_NUM_NODES": "2", "SKYPILOT_NUM_GPUS_PER_NODE": "8", "SKYPILOT_TASK_ID": "sky-1"}
    told |= {"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "STAGE": " ".join(STAGE)}
    assert cluster("bash", "-c", run, **told) == launched("2", "8", "10.0.0.1", "sky-1")
    assert task["num_nodes"] == 2 and "/gad" in task["volumes"] and "/gad/project/" in task["setup"]
