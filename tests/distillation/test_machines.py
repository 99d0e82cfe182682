"""Two machines, here two launchers that meet over the network, make the pairs and the student of one machine."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from launching import free_port
from ruamel.yaml import YAML
from scripts import ROOT

from gad.runtime.checkpoint import LAST, read_checkpoint
from gad.runtime.files import read_tensors

STEPS, EVERY = 400, 20
TRAIN = ("student", "--recipe", "local", "--variant", "gad")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with a small recipe and its teacher, and a function that copies it once more."""
    root = tmp_path_factory.mktemp("machines") / "first"
    for name in ("src", "pipelines", "notebooks", "data/sprites"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, root)
    recipe = YAML().load(root / "pipelines" / "recipes" / "smoke.yaml")
    recipe["student"] |= {"num_steps": STEPS, "checkpoint_every": EVERY, "log_every": EVERY, "seeds": [0]}
    YAML().dump(recipe, root / "pipelines" / "recipes" / "local.yaml")
    done = subprocess.run([sys.executable, "pipelines/run_stage.py", "teacher", "--recipe", "local"], cwd=root)
    assert done.returncode == 0
    return root


def copied(project: Path, name: str) -> Path:
    return Path(shutil.copytree(project, project.parent / name))


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {"PATH": path, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}


class Machine:
    """The processes of a machine; its output is in a file beside the project."""

    def __init__(self, project: Path, name: str, meeting: dict[str, str], work: tuple[str, ...]):
        self.log = project / f"{name}.log"
        command = ["bash", "pipelines/cluster/machine.sh", *work]
        self.process = subprocess.Popen(
            command, cwd=project, env=environment() | meeting, stdout=self.log.open("w"), stderr=subprocess.STDOUT
        )

    def kill(self) -> None:
        """What a machine that loses its power does: all of its processes at once."""
        agent = psutil.Process(self.process.pid)  # whose workers have sessions of their own
        for process in [agent, *agent.children(recursive=True)]:
            process.kill()
        self.process.wait()

    def end(self) -> int:
        return self.process.wait(timeout=600)


def start_two_machines(project: Path, *work: str) -> list[Machine]:
    meeting = {"MACHINES": "2", "PROCESSES": "1", "HEAD": "localhost", "ADDRESS": "localhost"}
    meeting |= {"PORT": str(free_port()), "RUN": str(time.time_ns())}
    return [Machine(project, name, meeting, work) for name in ("machine_1", "machine_2")]


def on_two_machines(project: Path, *work: str) -> str:
    """The output of both, once they have done the work."""
    machines = start_two_machines(project, *work)
    codes = [machine.end() for machine in machines]
    output = "".join(machine.log.read_text() for machine in machines)
    assert codes == [0, 0], output[-3000:]
    return output


def by_one_launcher(project: Path, processes: int, *work: str) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else []), "pipelines/parallel.py", *work]
    done = subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def with_pairs(project):
    """The project with the noise pairs of two machines."""
    root = copied(project, "with_pairs")
    on_two_machines(root, "noise_pairs", "--recipe", "local")
    return root


def student_of(project: Path) -> Path:
    return project / "data" / "local" / "student" / "gad"


@pytest.fixture(scope="module")
def by_two_machines(with_pairs):
    """The student of two machines that were left in peace."""
    root = copied(with_pairs, "in_peace")
    on_two_machines(root, *TRAIN)
    return student_of(root)


def test_two_machines_share_out_the_noise_pairs_of_one_process(project, with_pairs):
    alone = copied(project, "alone")
    by_one_launcher(alone, 1, "noise_pairs", "--recipe", "local")
    assert contents(with_pairs / "data/local/noise_pairs") == contents(alone / "data/local/noise_pairs")


def test_two_machines_end_with_the_bits_of_two_processes_on_one_machine(with_pairs, by_two_machines):
    """And of one process but for rounding: its sum over a batch is one sum, theirs has two parts."""
    one_machine, one_process = copied(with_pairs, "one_machine"), copied(with_pairs, "one_process")
    by_one_launcher(one_machine, 2, *TRAIN)
    by_one_launcher(one_process, 1, *TRAIN)
    weights = "seed_0/network.safetensors"
    ours = read_tensors(by_two_machines / weights)
    same, near = (read_tensors(student_of(root) / weights) for root in (one_machine, one_process))
    assert all((ours[key] == same[key]).all() for key in same)
    assert all((ours[key] - near[key]).abs().max() < 1e-4 for key in near)
    assert (by_two_machines / "training.csv").read_bytes() == (student_of(one_machine) / "training.csv").read_bytes()


def test_after_a_machine_is_killed_both_start_again_and_go_on_to_the_same_bits(with_pairs, by_two_machines):
    root = copied(with_pairs, "killed")
    machines = start_two_machines(root, *TRAIN)
    while not list(student_of(root).rglob(LAST)):
        assert [machine.process.poll() for machine in machines] == [None, None], machines[0].log.read_text()[-3000:]
        time.sleep(0.02)
    machines[1].kill()
    assert machines[0].end() != 0  # it is told that the other one has gone, and ends
    assert not (student_of(root) / "seed_0").exists()
    done = read_checkpoint(next(student_of(root).rglob(LAST)))["step"]
    assert EVERY <= done < STEPS
    output = on_two_machines(root, *TRAIN)
    assert f"step {done + EVERY}:" in output and f"step {EVERY}:" not in output  # from the checkpoint
    for name in ("seed_0/network.safetensors", "training.csv"):
        assert (student_of(root) / name).read_bytes() == (by_two_machines / name).read_bytes()
