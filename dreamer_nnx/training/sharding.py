"""The device mesh: parameters on every device, batches split over them."""

import dataclasses

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


@dataclasses.dataclass(frozen=True)
class Sharding:
  """Where arrays live: `replicated` on all devices, `batch` split by row."""

  mesh: Mesh

  @property
  def replicated(self) -> NamedSharding:
    return NamedSharding(self.mesh, PartitionSpec())

  @property
  def batch(self) -> NamedSharding:
    return NamedSharding(self.mesh, PartitionSpec('data'))

  def check_batch(self, batch_size: int) -> None:
    """ValueError unless the batch splits evenly over the devices."""
    count = self.mesh.shape['data']
    if batch_size % count:
      raise ValueError(
        f'config.train.batch_size = {batch_size}: must be a multiple of the '
        f"{count} devices on axis 'data'."
      )


def data_parallel(devices: list | None = None) -> Sharding:
  """All devices (or those given) on the one axis `data`."""
  devices = devices or jax.devices()
  mesh = jax.make_mesh(
    (len(devices),), ('data',), axis_types=(AxisType.Auto,), devices=devices
  )
  return Sharding(mesh)
