#!/usr/bin/env bash
# Makes a run of a sweep for each index. Two minutes before its time is over a
# run saves; it is then queued again.
#SBATCH --job-name=sweep
#SBATCH --array=$array
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=$cpus
#SBATCH --gpus-per-task=$gpus
#SBATCH --time=$time
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=$logs
set -euo pipefail

cd $folder
export PYTHONPATH=$checkout"$${PYTHONPATH:+:$$PYTHONPATH}"
status=0
srun $command --index="$$SLURM_ARRAY_TASK_ID" || status=$$?
if [ "$$status" = $stopped ]; then
  scontrol requeue "$$SLURM_JOB_ID"
fi
exit "$$status"
