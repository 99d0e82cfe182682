"""The page of command lines, from what each command says of itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GAD = ["gad", "gad run", "gad doctor", "gad sweep", "gad publish"]
SCRIPTS = ["run_stage.py", "parallel.py", "ablate.py", "prove.py", "doctor.py", "publish.py"]
BENCHMARKS = ["full_scale.py", "scaling.py", "cost.py", "pairs.py", "step_profile.py", "initialisation.py", "start.py"]
HEAD = """# Command lines

Commands answer `--help` with their options and examples; this page holds those texts.
`gad` is on the path of the project's environment and hands over to the scripts in `pipelines/`, which DVC calls.

Shell completion, once per shell or in its start-up file:

```bash
eval "$(gad --print-completion bash)"    # or zsh, tcsh
```
"""


# All helps in one process: each script imports torch, which takes seconds
READ = """
import contextlib, io, json, runpy, sys
helps = []
for target, words in json.load(sys.stdin):
    sys.argv, text = [target, *words, "--help"], io.StringIO()
    sys.path.insert(0, target.rpartition("/")[0])
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        if target.endswith("gad"):
            from gad.runtime.commands import gad_command as main
            main()
        else:
            runpy.run_path(target, run_name="__main__")
    helps.append(text.getvalue())
print("\\n" + json.dumps(helps))
"""


def _helps(commands: list[tuple[str, list[str]]]) -> list[str]:
    """What each command, a script or ``gad`` with its words, prints for --help."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": "100", "NO_COLOR": "1"}
    asked, reader = json.dumps(commands), [sys.executable, "-c", READ]
    done = subprocess.run(reader, input=asked, capture_output=True, text=True, cwd=ROOT, env=environment)
    if done.returncode:
        raise ValueError(f"a command has no help: {done.stderr[-500:]}")
    texts = json.loads(done.stdout.splitlines()[-1])
    for (target, words), text in zip(commands, texts, strict=True):
        if "usage:" not in text:
            raise ValueError(f"{target} {' '.join(words)} has no help")
    return texts


def commands_page() -> str:
    """A section for each command with its help."""
    groups = {
        "The command `gad`": [("gad", name.split()[1:], name) for name in GAD],
        "Pipeline scripts": [(f"pipelines/{name}", [], f"pipelines/{name}") for name in SCRIPTS],
        "Benchmarks": [(f"benchmarks/{name}", [], f"benchmarks/{name}") for name in BENCHMARKS],
    }
    texts = iter(_helps([command[:2] for commands in groups.values() for command in commands]))
    lines = [HEAD]
    for group, commands in groups.items():
        lines += [f"## {group}", ""]
        for _, _, name in commands:
            lines += [f"### `{name}`", "", "```text", next(texts).strip(), "```", ""]
    make = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    return "\n".join([*lines, "## make", "", "```text", make.strip(), "```", ""])
