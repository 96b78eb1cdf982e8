#!/usr/bin/env bash
# Checks a run on a GPU, then times it beside the reference: everything that
# the README of this folder says of a card. Needs JAX for the card.
#   card.sh run                       a run that is resumed by another process
#   card.sh compare PATH PROBLEM...   beside a checkout, as in '12m image'
set -uo pipefail
export JAX_PLATFORMS=${JAX_PLATFORMS:-cuda} PYTHONUNBUFFERED=1

product() {
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
  python3 - <<'END'
import time
import flax, jax, jax.numpy as jnp, optax, orbax.checkpoint
print({m.__name__: m.__version__ for m in (jax, flax, optax, orbax.checkpoint)})
a, b = (jax.random.normal(jax.random.key(i), (8192, 8192), jnp.bfloat16)
        for i in range(2))
f = jax.jit(lambda a, b: a @ b)
f(a, b).block_until_ready()
start = time.perf_counter()
for _ in range(20):
  c = f(a, b)
c.block_until_ready()
seconds = (time.perf_counter() - start) / 20
print(f'bfloat16 product: {2 * 8192**3 / seconds / 1e12:.0f} TFLOP/s')
END
}

run() {
  # Games in JAX are computed on the CPU, beside the card.
  export JAX_PLATFORMS=$JAX_PLATFORMS,cpu
  local workdir
  workdir=$(mktemp -d)/run
  demo="timeout 150 python3 -m dreamer_nnx.main --config=configs/demo.py
    --workdir=$workdir"
  time $demo --mode=train --config.train.steps=4000 \
    --config.train.save_every=2000 | tail -n 3
  ls "$workdir/checkpoints"
  time $demo --config.train.save_every=2000 | grep -a -v '^ ' | tail -n 8
  ls "$workdir/checkpoints"
  $demo --mode=evaluate | tail -n 2
  tail -n 1 "$workdir/metrics.jsonl" | tr ',' '\n' | grep -E 'rate|steps'
}

case $1 in
  run) product; (run) ;;
  compare)
    path=$2
    shift 2
    for problem; do
      timeout 300 python3 -m experiments.benchmarks.compare "$path" $problem
    done ;;
esac
