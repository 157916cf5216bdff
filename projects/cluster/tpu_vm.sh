#!/bin/bash
# Trains on a TPU VM of Google Cloud: creates it, runs, fetches the results, deletes it.
#   PROJECT=my-project bash projects/cluster/tpu_vm.sh --epochs 10
# Further options go to train.py. Not yet run on hardware.

set -euo pipefail

name=${NAME:-tfcamp-news}
where=(--project="$PROJECT" --zone="${ZONE:-us-central1-a}")

# Eight chips on one machine. A larger slice has several machines, each of which runs the command.
gcloud compute tpus tpu-vm create "$name" "${where[@]}" \
  --accelerator-type=v5litepod-8 --version=v2-alpha-tpuv5-lite
# From here on it costs money, also when a command below fails.
trap 'gcloud compute tpus tpu-vm delete "$name" "${where[@]}" --quiet' EXIT

on_vm() { gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" --command="$1"; }

git archive --format=tar.gz --output=/tmp/tfcamp.tar.gz HEAD
gcloud compute tpus tpu-vm scp /tmp/tfcamp.tar.gz "$name:tfcamp.tar.gz" "${where[@]}"
# tensorflow-tpu has the import name of tensorflow, so it takes its place; it stops at 2.20.
on_vm 'mkdir -p tfcamp && tar -xzf tfcamp.tar.gz -C tfcamp && cd tfcamp &&
  python3.11 -m venv ~/venv && ~/venv/bin/pip install -e . &&
  ~/venv/bin/pip uninstall -y tensorflow && ~/venv/bin/pip install "tensorflow-tpu==2.20.*"'

# "local" is the TPU of the machine on which the command runs.
options=${*:+$(printf '%q ' "$@")}
on_vm "cd tfcamp && TPU_NAME=local ~/venv/bin/python projects/news/train.py \
  --strategy tpu --precision bfloat16 --run-dir runs/tpu $options"
mkdir -p runs
gcloud compute tpus tpu-vm scp --recurse "$name:tfcamp/runs/tpu" runs/ "${where[@]}"
