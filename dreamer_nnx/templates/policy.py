"""Chooses actions by one dense layer and a head for each."""

import dataclasses

from flax import nnx

from dreamer_nnx import spaces, streams
from dreamer_nnx.nn.mlp import Dense
from dreamer_nnx.nn.vectors import concat
from dreamer_nnx.registry import Choice
from dreamer_nnx.schema import Count
from dreamer_nnx.slots import HEAD, POLICY

# The version of the contracts that this is made for.
DREAMER_NNX_CONTRACTS = 2


@dataclasses.dataclass(frozen=True)
class Product:
  """Independent actions, by key.

  Args:
    outputs: A distribution for each action key.
  """

  outputs: dict

  def sample(self, key):
    draw = lambda name, output: output.sample(streams.at(key, name))
    return {name: draw(name, output) for name, output in self.outputs.items()}

  def pred(self):
    return {name: output.pred() for name, output in self.outputs.items()}

  def logp(self, action):
    return sum(out.logp(action[name]) for name, out in self.outputs.items())

  def entropy(self):
    return {name: output.entropy() for name, output in self.outputs.items()}


@POLICY.register('mine')
class Mine(nnx.Module):
  """Features to a distribution of the actions; reads no labels and masks.

  Args:
    units: Numbers of the layer before the heads.
    discrete: Head of each discrete action.
    continuous: Head of each continuous action.
  """

  def __init__(
    self,
    feat_space,
    action_space,
    *,
    units: Count = 64,
    discrete: Choice = Choice(HEAD, 'categorical', unimix=0.01),
    continuous: Choice = Choice(HEAD, 'bounded_normal'),
    precision,
    rngs,
  ):
    given = dict(precision=precision, rngs=rngs)
    self.order = tuple(feat_space)
    self.dense = Dense(sum(feat_space.values()), units, **given)
    self.heads = nnx.data({})
    for key, space in sorted(action_space.items()):
      head = discrete if spaces.is_discrete(space) else continuous
      self.heads[key] = head(input_size=units, space=space, **given)

  def __call__(self, feat, *, given, mask):
    del given, mask
    x = self.dense(concat(feat, self.order))
    return Product({key: head(x) for key, head in self.heads.items()})
