#!/usr/bin/env bash
# Trains on $hosts nodes, a process for each of their $chips_per_host GPUs.
# Two minutes before its time is over the job saves; it is then queued again.
#SBATCH --job-name=$name
#SBATCH --nodes=$hosts
#SBATCH --ntasks-per-node=$chips_per_host
#SBATCH --gpus-per-node=$chips_per_host
#SBATCH --cpus-per-task=8
#SBATCH --time=$time
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=${logs}slurm-%j.log
set -euo pipefail

status=0
srun $command || status=$$?
if [ "$$status" = $stopped ]; then
  scontrol requeue "$$SLURM_JOB_ID"
fi
exit "$$status"
