"""Residual blocks of convolutions that keep the size."""

import jax
from flax import nnx

from dreamer_nnx.nn.conv import Conv
from dreamer_nnx.nn.initializers import Winit
from dreamer_nnx.nn.mlp import NormAct
from dreamer_nnx.nn.norm import Norm
from dreamer_nnx.nn.precision import Precision


class ResidualBlock(nnx.Module):
  """Adds what two layers of norm -> act -> conv make of images.

    x + conv(act(norm(conv(act(norm(x))))))

  Args:
    channels: Of the input and of the output.
    kernel: Side of the kernels.

  Source: He et al. 2016 (arXiv 1603.05027).
  """

  def __init__(
    self,
    channels: int,
    kernel: int,
    *,
    act: str,
    norm: Norm,
    winit: Winit,
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    layers = range(2)
    self.norm_acts = nnx.List(
      [NormAct(channels, norm=norm, act=act) for _ in layers]
    )
    kw = dict(winit=winit, precision=precision, rngs=rngs)
    self.convs = nnx.List(
      [Conv(channels, channels, kernel, **kw) for _ in layers]
    )

  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps (N, H, W, C) to the same shape."""
    y = x
    for norm_act, conv in zip(self.norm_acts, self.convs, strict=True):
      y = conv(norm_act(y))
    return x + y

  def patch_numbers(self, height: int, width: int) -> int:
    """Counts the numbers that the patches of an image of this size hold."""
    return self.convs[0].patch_numbers(height, width)
