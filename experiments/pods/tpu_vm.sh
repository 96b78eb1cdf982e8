#!/usr/bin/env bash
# Trains on a Cloud TPU slice of $chips chips: the same command on each of its
# $processes hosts, which find each other. Run it again to go on after a stop.
set -euo pipefail

gcloud compute tpus tpu-vm ssh '$name' --zone='$zone' --worker=all \
  --command=$command
