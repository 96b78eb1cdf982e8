"""Stacks of Linear -> norm -> activation."""

from typing import Annotated

import jax
from flax import nnx

from dreamer_nnx.nn.activations import Act, activation
from dreamer_nnx.nn.initializers import Winit
from dreamer_nnx.nn.linear import Linear
from dreamer_nnx.nn.norm import Norm, make_norm
from dreamer_nnx.nn.precision import Precision
from dreamer_nnx.schema import Count, Range
from dreamer_nnx.sizes import UNITS, by_size

Layers = Annotated[int, Range(0)]


class NormAct(nnx.Module):
  """Norm and activation, act(norm(x)), computed anew in the backward pass.

  Only x is kept: less memory, and in a loop fewer arrays to store each step.
  """

  def __init__(self, size: int, *, norm: Norm = 'rms', act: Act = 'silu'):
    self.norm = make_norm(norm, size)
    self.act = activation(act)

  def __call__(self, x: jax.Array) -> jax.Array:
    return jax.checkpoint(lambda x: self.act(self.norm(x)))(x)


class Dense(nnx.Module):
  """Dense layer act(norm(x W + b))."""

  def __init__(
    self,
    inputs: int,
    outputs: int,
    *,
    norm: Norm = 'rms',
    act: Act = 'silu',
    winit: Winit = 'trunc_normal_in',
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    self.linear = Linear(
      inputs, outputs, winit=winit, precision=precision, rngs=rngs
    )
    self.norm_act = NormAct(outputs, norm=norm, act=act)

  def __call__(self, x: jax.Array) -> jax.Array:
    return self.norm_act(self.linear(x))


class MLP(nnx.Module):
  """Stack of `layers` times Dense(units), in the compute format.

  `output_size` is the size of the last axis that it returns.

  Args:
    layers: Layers before the output; 0 for none.
    units: Width of each layer.
    norm: Normalisation behind each linear map or convolution, over the last
      axis.
    act: Activation behind each norm.
    winit: Distribution of the initial kernels, and the fan (in, out, or the
      average of both) by whose root they are divided.
  """

  sizes = by_size(units=UNITS)

  def __init__(
    self,
    input_size: int,
    *,
    layers: Layers = 3,
    units: Count = 512,
    norm: Norm = 'rms',
    act: Act = 'silu',
    winit: Winit = 'trunc_normal_in',
    precision: Precision,
    rngs: nnx.Rngs,
  ):
    sizes = [input_size] + [units] * layers
    kw = dict(norm=norm, act=act, winit=winit, precision=precision, rngs=rngs)
    self.layers = nnx.List(
      [Dense(sizes[i], sizes[i + 1], **kw) for i in range(layers)]
    )
    self.precision = precision
    self.output_size = sizes[-1]

  def __call__(self, x: jax.Array) -> jax.Array:
    x = self.precision.cast(x)
    for layer in self.layers:
      x = layer(x)
    return x
