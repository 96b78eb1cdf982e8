"""The device mesh, and the place of every array on it.

The mesh has the axes `data`, `fsdp` and `tensor`. Rows of a batch are split
over the first two. Parameters carry the names of their axes, and one table of
rules says over which axis of the mesh a named one is split:

  ('inputs:fsdp', 'outputs:tensor')   a kernel (inputs, outputs) in both ways

What `fsdp` splits is stored in parts and gathered to compute with.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from dreamer_nnx.errors import UserError

AXES = ('data', 'fsdp', 'tensor')
# Axes whose devices see different rows.
ROWS = ('data', 'fsdp')
WHERE = 'config.mesh'
# Names of a barrier must be unique.
_CONNECTED = itertools.count()
Axes = Sequence[str] | None


@dataclasses.dataclass(frozen=True)
class MeshOptions:
  """Options of the mesh of devices, and of what is split over which axis.

  Args:
    data: Devices with the same parameters and other rows of the batch. One of
      `data`, `fsdp` and `tensor` may be -1, for all devices that are left.
    fsdp: Devices with other rows of the batch, each of which stores a part of
      the parameters; -1 for the rest.
    tensor: Devices that each compute a part of every layer; -1 for the rest.
    rules: `name:axis` entries. Kernels have the axes `inputs` and `outputs`,
      block-diagonal ones `blocks` before these and convolutions `height` and
      `width`; biases have `outputs`, norms `features`. The first entry that
      an array's axis can follow is used: its devices divide the size, and no
      other axis of the array took them.
  """

  data: int = -1
  fsdp: int = 1
  tensor: int = 1
  rules: tuple[str, ...] = (
    'inputs:fsdp',
    'blocks:tensor',
    'outputs:tensor',
    'features:tensor',
  )

  def __post_init__(self):
    for name in AXES:
      size = getattr(self, name)
      if size < 1 and size != -1:
        raise UserError('must be at least 1, or -1 for the rest.', name, size)
    if sum(getattr(self, name) == -1 for name in AXES) > 1:
      raise UserError(f'more than one of {", ".join(AXES)} is -1.', WHERE)
    self.table()

  def table(self) -> tuple[tuple[str, str], ...]:
    """The rules as pairs."""
    pairs = []
    for rule in self.rules:
      name, _, axis = rule.partition(':')
      if not name or axis not in AXES:
        raise UserError(
          f'must be name:axis, with one of the axes {", ".join(AXES)}, unlike '
          f'{rule!r}.',
          'rules',
          self.rules,
        )
      pairs.append((name, axis))
    return tuple(pairs)

  def sizes(self, devices: int) -> tuple[int, int, int]:
    """The mesh over so many devices.

    Raises:
      ValueError: They do not make it up.
    """
    given = [getattr(self, name) for name in AXES]
    known = math.prod(size for size in given if size > 0)
    sizes = tuple(devices // known if size < 0 else size for size in given)
    if math.prod(sizes) != devices:
      text = ' x '.join(f'{n} {s}' for n, s in zip(AXES, given, strict=True))
      raise UserError(
        f'{text} does not make up the {devices} devices there are. Set one of '
        'them to -1, for what is left.',
        WHERE,
      )
    return sizes


@dataclasses.dataclass(frozen=True)
class Sharding:
  """Placements of arrays: `replicated`, `batch` (split by row), `stored`."""

  mesh: Mesh | AbstractMesh
  rules: tuple[tuple[str, str], ...] = MeshOptions().table()

  @property
  def replicated(self) -> NamedSharding:
    return NamedSharding(self.mesh, Spec())

  @property
  def batch(self) -> NamedSharding:
    return NamedSharding(self.mesh, Spec(ROWS))

  @property
  def local_device(self) -> jax.Device:
    """The device on which this process acts; `local_copy` is there."""
    return self.mesh.local_devices[0]

  @property
  def rows(self) -> int:
    """Number of parts that the rows of a batch are split into."""
    return math.prod(self.mesh.shape[axis] for axis in ROWS)

  @property
  def _split_axes(self) -> set[str]:
    """Axes of more than one device."""
    return {axis for axis, size in self.mesh.shape.items() if size > 1}

  def stored(self, shape: Sequence[int], axes: Axes) -> NamedSharding:
    """Placement between updates of an array whose axes have these names."""
    return NamedSharding(self.mesh, Spec(*self._split(shape, axes)))

  def gathered(self, shape: Sequence[int], axes: Axes) -> NamedSharding:
    """Placement while it is computed with: split over `tensor` alone."""
    split = self._split(shape, axes)
    kept = (axis if axis == 'tensor' else None for axis in split)
    return NamedSharding(self.mesh, Spec(*kept))

  def unsplit(self, shape: Sequence[int], axes: Axes) -> list[str]:
    """Lists what the rules would split if they could, as texts."""
    if not axes and {axis for _, axis in self.rules} & self._split_axes:
      return ['its axes have no names']
    split = self._split(shape, axes)
    return [
      f'{name} {size} over {axis} {self.mesh.shape[axis]}'
      for name, size, taken in zip(axes or (), shape, split, strict=False)
      for rule, axis in self.rules
      if rule == name and not taken and axis not in split
      if size % self.mesh.shape[axis]
    ]

  def check_batch(self, batch_size: int) -> None:
    """Refuses a batch that does not split evenly over the devices."""
    if batch_size % self.rows:
      raise UserError(
        f"must be a multiple of the {self.rows} devices on the axes 'data' and "
        "'fsdp'.",
        'config.train.batch_size',
        batch_size,
      )

  def _split(self, shape: Sequence[int], axes: Axes) -> list[str | None]:
    """The mesh axis over which each axis of an array is split."""
    split: list[str | None] = [None] * len(shape)
    if not axes:
      return split
    if len(axes) != len(shape):
      raise ValueError(
        f'an array of shape {tuple(shape)} has the axis names {tuple(axes)}: '
        'there must be one for each axis.'
      )
    for name, axis in self.rules:
      if axis not in self._split_axes:
        continue
      for i, size in enumerate(shape):
        free = axes[i] == name and not split[i] and axis not in split
        if free and size % self.mesh.shape[axis] == 0:
          split[i] = axis
    return split


def make_sharding(
  options: MeshOptions = MeshOptions(), devices: list | None = None
) -> Sharding:
  """The mesh of some devices, all if none are given.

  Raises:
    UserError: They do not make it up, or processes would share rows.
  """
  devices = devices or jax.devices()
  sizes = options.sizes(len(devices))
  types = (AxisType.Auto,) * len(AXES)
  mesh = jax.make_mesh(sizes, AXES, axis_types=types, devices=devices)
  if not within_processes(mesh):
    # The order that is best for the network put rows across processes.
    place = lambda device: (device.process_index, device.id)
    ordered = np.array(sorted(devices, key=place)).reshape(sizes)
    mesh = Mesh(ordered, AXES, axis_types=types)
    processes = len({device.process_index for device in devices})
    _check_tensor(sizes, len(devices) // processes)
  connect(mesh)
  return Sharding(mesh, options.table())


def connect(mesh: Mesh) -> None:
  """Connects the devices of several processes, over every set of axes.

  Else they are connected when a program first needs it. Gloo gives that 30
  seconds, and one process may compile, or read a checkpoint, for longer than
  another. So all wait for each other here, and connect at once.
  """
  if jax.process_count() == 1:
    return
  everyone = set(range(jax.process_count()))
  name = f'connect {next(_CONNECTED)}'
  ocp.multihost.sync_global_processes(name, processes=everyone)
  axes = [axis for axis in mesh.axis_names if mesh.shape[axis] > 1]
  groups = [
    group
    for count in range(1, len(axes) + 1)
    for group in itertools.combinations(axes, count)
  ]
  every = Spec(mesh.axis_names)
  zeros = jax.make_array_from_callback(
    (mesh.size,),
    NamedSharding(mesh, every),
    lambda index: np.zeros(mesh.size, np.float32)[index],
  )
  sums = lambda x: [jax.lax.psum(x, group) for group in groups]
  summed = jax.shard_map(sums, mesh=mesh, in_specs=every, out_specs=every)
  jax.block_until_ready(jax.jit(summed)(zeros))


def planned_for(options: MeshOptions, processes: int) -> Sharding:
  """The mesh of so many processes, each with the devices that there are here.

  Raises:
    UserError: They do not make it up, or processes would share rows.
  """
  here = jax.local_device_count()
  sizes = options.sizes(processes * here)
  _check_tensor(sizes, here)
  return Sharding(AbstractMesh(sizes, AXES), options.table())


def _check_tensor(sizes: Sequence[int], here: int) -> None:
  """Refuses a mesh whose `tensor` does not divide a process's devices."""
  if here % sizes[-1]:
    raise UserError(
      f'must divide the devices of a process, {here}.',
      f'{WHERE}.tensor',
      sizes[-1],
    )


def planned(options: MeshOptions) -> Sharding:
  """A mesh without devices, for tables; -1 stands for those there are."""
  given = [getattr(options, name) for name in AXES]
  if -1 in given:
    given = options.sizes(len(jax.devices()))
  return Sharding(AbstractMesh(tuple(given), AXES), options.table())


def within_processes(mesh: Mesh) -> bool:
  """Tells whether devices that compute the same rows are of one process.

  Every process brings rows of its own, from its own replay.
  """
  groups = mesh.devices.reshape(-1, mesh.shape['tensor'])
  count = lambda group: len({device.process_index for device in group})
  return all(count(group) == 1 for group in groups)


def local_copy(x: jax.Array) -> jax.Array:
  """A replicated array on one device of this process, without a copy."""
  return x.addressable_data(0)


def put_global(x: np.ndarray, where: NamedSharding) -> jax.Array:
  """A host array that all processes have, as a global one."""
  x = np.asarray(x)
  return jax.make_array_from_callback(x.shape, where, lambda index: x[index])


def put_rows(sharding: Sharding, tree: dict) -> dict:
  """Host arrays (rows of this process, ...) as global arrays, split by row."""
  if jax.process_count() == 1:
    return jax.device_put(tree, sharding.batch)
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(
      sharding.batch, np.asarray(x)
    ),
    tree,
  )


def local_rows(tree: dict) -> dict:
  """Global arrays split by row as the host arrays of this process's rows."""
  if jax.process_count() == 1:
    return jax.device_get(tree)
  return jax.tree.map(_local_rows, tree)


def _local_rows(x: jax.Array) -> np.ndarray:
  parts = {shard.index[0].start or 0: shard for shard in x.addressable_shards}
  return np.concatenate([np.asarray(parts[i].data) for i in sorted(parts)])
