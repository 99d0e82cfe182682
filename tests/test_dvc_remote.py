"""A DVC remote on S3-compatible storage, a server on this machine: what is pushed comes back where all else is gone."""

import os
import shutil
import subprocess
import sys

import pytest
from ruamel.yaml import YAML
from scripts import ROOT

pytestmark = pytest.mark.slow
BUCKET = "gad"
MADE = ["noise_pairs@smoke", "student@smoke-baseline"]


@pytest.fixture
def storage(monkeypatch):
    """The address of an S3 server with an empty bucket."""
    for package in ("moto", "flask_cors", "dvc_s3"):
        pytest.importorskip(package, reason="the extra s3-test is not installed: pip install -e '.[s3-test]'")
    import boto3
    from moto.server import ThreadedMotoServer

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "nobody")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket=BUCKET)
    yield address
    server.stop()


@pytest.fixture
def project(tmp_path):
    """A copy of the project whose only recipe is the smallest."""
    for name in ("src", "pipelines", "notebooks", "data/sprites", ".dvc/config"):
        copy = shutil.copy if (ROOT / name).is_file() else shutil.copytree
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, tmp_path)
    recipes = YAML().load(ROOT / "params.yaml") | {"recipes": ["smoke"], "main": ["smoke"]}
    YAML().dump(recipes, tmp_path / "params.yaml")
    run(tmp_path, "-m", "gad.config.stage_graph")
    (tmp_path / ".dvc" / "config").write_text((tmp_path / ".dvc" / "config").read_text() + "    no_scm = true\n")
    return tmp_path


def run(project, *command: str) -> str:
    """What a command of this interpreter prints, in the project."""
    path = os.pathsep.join([str(project / "src"), *sys.path])
    environment = os.environ | {"PYTHONPATH": path, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    done = subprocess.run([sys.executable, *command], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-2000:]
    return done.stdout


def contents(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_pairs_and_students_come_back_from_a_bucket_and_dvc_status_is_clean(storage, project):
    run(project, "-m", "dvc", "repro", *MADE)
    outputs = [project / "data/smoke/noise_pairs", project / "data/smoke/student/baseline"]
    before = [contents(folder) for folder in outputs]
    assert all(before)
    run(project, "-m", "dvc", "remote", "add", "-d", "storage", f"s3://{BUCKET}/dvc")
    run(project, "-m", "dvc", "remote", "modify", "storage", "endpointurl", storage)
    assert "file" in run(project, "-m", "dvc", "push", *MADE)
    shutil.rmtree(project / ".dvc" / "cache")
    for folder in outputs:
        shutil.rmtree(folder)
    assert "deleted" in run(project, "-m", "dvc", "status", *MADE)
    run(project, "-m", "dvc", "pull", *MADE)
    assert [contents(folder) for folder in outputs] == before
    assert run(project, "-m", "dvc", "status", *MADE).strip() == "Data and pipelines are up to date."
    assert "in sync" in run(project, "-m", "dvc", "status", "--cloud", *MADE)
