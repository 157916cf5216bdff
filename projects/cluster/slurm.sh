#!/bin/bash
# Trains on two machines of a Slurm cluster:   sbatch projects/cluster/slurm.sh --epochs 10
# Further options go to train.py. Run it from the root of the checkout, which all machines share.

#SBATCH --job-name=news
#SBATCH --output=%x-%j.log
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1         # one process a machine takes all of its GPUs
#SBATCH --gpus-per-node=4           # leave it out on machines without GPUs
#SBATCH --cpus-per-task=16          # threads that read data and compute
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120           # two minutes before the end: save, and stop
#SBATCH --requeue                   # after a failed machine or a preemption: once more, from there

set -euo pipefail

# A folder that every machine sees. A requeued job keeps its number, finds its folder and goes on.
run_dir=${RUN_DIR:-$PWD/runs/news-$SLURM_JOB_ID}

# srun starts the command once on each machine and tells each process which one it is.
# --label puts that number before each line; --kill-on-bad-exit ends all when one fails.
srun --label --kill-on-bad-exit=1 \
  python projects/news/train.py --strategy multi_worker --run-dir "$run_dir" "$@"
