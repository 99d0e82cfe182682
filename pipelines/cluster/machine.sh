#!/usr/bin/env bash
# One machine's processes of a launch on several machines; the same command on each of them:
#
#   MACHINES=2 HEAD=machine-1 RUN=42 bash pipelines/cluster/machine.sh student --recipe R --variant V
#
# MACHINES machines meet at HEAD, the name or address of one of them, under RUN, a name that is new for each launch.
# PROCESSES are those of a machine, by default one for each GPU. All machines see one and the same project.
set -euo pipefail
cd "$(dirname "$0")/../.."
exec python -m torch.distributed.run \
  --nnodes "$MACHINES" --nproc_per_node "${PROCESSES:-gpu}" ${ADDRESS:+--local_addr "$ADDRESS"} \
  --rdzv_backend c10d --rdzv_endpoint "$HEAD:${PORT:-29500}" --rdzv_id "$RUN" \
  pipelines/parallel.py "$@"
