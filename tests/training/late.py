"""Computes with others as a process does that is late.

  python -m tests.training.late SECONDS COORDINATOR COUNT INDEX

The last process is late by SECONDS with the first program of a mesh. Each
prints what it has computed.
"""

import sys
import time

import jax
import numpy as np
from jax.sharding import PartitionSpec as Spec

from dreamer_nnx.main import keep_collectives_in_order
from dreamer_nnx.training import processes
from dreamer_nnx.training.sharding import ROWS, MeshOptions, make_sharding


def main(seconds: str, address: str, count: str, index: str):
  keep_collectives_in_order()
  processes.join(address, int(count), int(index))
  mesh = make_sharding(MeshOptions(data=2, fsdp=-1)).mesh
  rows = jax.NamedSharding(mesh, Spec(ROWS))
  ones = lambda index: np.ones(mesh.size, np.float32)[index]
  x = jax.make_array_from_callback((mesh.size,), rows, ones)
  sums = lambda x: [jax.lax.psum(x, axes) for axes in ('data', ROWS)]
  program = jax.shard_map(
    sums, mesh=mesh, in_specs=rows.spec, out_specs=rows.spec
  )
  if int(index) == int(count) - 1:
    time.sleep(float(seconds))
  found = [float(y.addressable_shards[0].data[0]) for y in jax.jit(program)(x)]
  print(found, processes.gather(int(index)), flush=True)


if __name__ == '__main__':
  main(*sys.argv[1:])
