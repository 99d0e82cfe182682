#!/usr/bin/env bash
# A stage's work on two machines, the project on a file system that both see; not tried on a cluster:
#
#   sbatch pipelines/cluster/slurm.sh student --recipe pixart_tdm --variant gad
#
# A job that lost a machine is put into the queue again and goes on from its last checkpoint.
#SBATCH --job-name=gad
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=gad-%j.log
set -euo pipefail
cd "$SLURM_SUBMIT_DIR"
export PATH=$PWD/.venv/bin:$PATH
MACHINES=$SLURM_NNODES
NAMES=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
HEAD=${NAMES%%$'\n'*}  # the first one
RUN=$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}
export MACHINES HEAD RUN
srun --kill-on-bad-exit=1 bash pipelines/cluster/machine.sh "$@" ||
  { scontrol requeue "$SLURM_JOB_ID" && exit 1; }
