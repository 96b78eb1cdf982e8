"""Components that each break one promise, by slot, and the words it is told by.

Each is the template of its slot with a mistake.
"""

import dataclasses

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dreamer_nnx.errors import UserError
from tests.testing import parts

sg = jax.lax.stop_gradient
Encoder = parts.component('encoder')
Dynamics = parts.component('dynamics')
Stochastic = parts.component('stochastic')
Decoder = parts.component('decoder')
Behavior = parts.component('behavior')
Policy = parts.component('policy')
Product = parts.module('policy').Product
Objective = parts.component('objective')
Weighting = parts.component('weighting')
Augmentation = parts.component('augmentation')
Head = parts.component('head')
Normalizer = parts.component('normalizer')
optimizer = parts.component('optimizer')
Line = parts.module('env').Line
Replay = parts.component('replay')
Selector = parts.component('selector')
Logger = parts.component('logger')
Callback = parts.component('callback')

# Slot to pairs of a component, and words of its failure.
BROKEN: dict[str, list[tuple[type, str]]] = {}


def breaks(slot, words):
  """Lists a component as broken."""

  def add(builder):
    BROKEN.setdefault(slot, []).append((builder, words))
    return builder

  return add


@breaks('encoder', 'tokens of (2,) observations: promised')
class ShortTokens(Encoder):
  def __call__(self, obs):
    return super().__call__(obs)[..., 1:]


@breaks('encoder', 'each parameter has a gradient')
class FrozenEncoder(Encoder):
  def __call__(self, obs):
    return sg(super().__call__(obs))


@breaks('encoder', 'each axis of a parameter has a name')
class UnnamedAxes(Encoder):
  def __init__(self, obs_space, *, precision, rngs):
    super().__init__(obs_space, precision=precision, rngs=rngs)
    self.shift = nnx.Param(jnp.zeros(self.token_size))

  def __call__(self, obs):
    return super().__call__(obs) + self.shift[...]


@breaks('encoder', 'each row is computed by itself')
class BatchNorm(Encoder):
  def __call__(self, obs):
    tokens = super().__call__(obs)
    return tokens - tokens.mean(0)


@breaks('dynamics', 'promised the tuple (losses, metrics)')
class NoMetrics(Dynamics):
  def losses(self, observed):
    return super().losses(observed)[0]


@breaks('dynamics', 'nothing before `is_first` matters')
class NoReset(Dynamics):
  def step(self, carry, tokens, action, is_first, key):
    never = jnp.zeros_like(is_first)
    return super().step(carry, tokens, action, never, key)


@breaks('dynamics', '`observe` equals `step` after `step`')
class ZeroStart(Dynamics):
  def observe(self, carry, *inputs):
    return super().observe(jax.tree.map(jnp.zeros_like, carry), *inputs)


@breaks('dynamics', '`observe` equals `step` after `step`')
class Peeking(Dynamics):
  def observe(self, carry, tokens, *rest):
    return super().observe(carry, tokens + jnp.roll(tokens, -1, 1), *rest)


@breaks('dynamics', '`predict` from `starts` equals')
class TimeMajorStarts(Dynamics):
  def starts(self, carry, observed, count):
    swap = lambda x: x.swapaxes(0, 1).reshape(-1, x.shape[-1])
    return {'state': swap(observed.feat['state'][:, -count:])}


@breaks('dynamics', '`starts` has the last `count` steps')
class FirstStarts(Dynamics):
  def starts(self, carry, observed, count):
    state = observed.feat['state'][:, :count]
    return {'state': state.reshape(-1, state.shape[-1])}


@breaks('dynamics', '`resume` goes on from stored steps')
class Forgetful(Dynamics):
  def resume(self, context):
    return jax.tree.map(jnp.zeros_like, super().resume(context))


@breaks('dynamics', 'each parameter has a gradient')
class NoLosses(Dynamics):
  def losses(self, observed):
    return {}, {}

  def predict(self, carry, action, key):
    return sg(super().predict(carry, action, key))


@breaks('dynamics', '`starts` makes no copy of a long carry')
class Copying(Dynamics):
  """Keeps a window of 64 states, for each start."""

  def initial(self, batch_size):
    carry = super().initial(batch_size)
    window = jnp.zeros((batch_size, 64, *carry['state'].shape[1:]))
    return carry | {'window': window.astype(carry['state'].dtype)}

  def resume(self, context):
    rows = len(context.is_first)
    return self.initial(rows) | super().resume(context)

  def step(self, carry, tokens, action, is_first, key):
    new, observed = super().step(carry, tokens, action, is_first, key)
    return new | {'window': carry['window']}, observed

  def predict(self, carry, action, key):
    new, feat = super().predict(carry, action, key)
    return new | {'window': carry['window']}, feat

  def starts(self, carry, observed, count):
    new = super().starts(carry, observed, count)
    return new | {'window': jnp.repeat(carry['window'], count, 0)}


@breaks('stochastic', '`unpack` is the exact inverse')
class LossyPack(Stochastic):
  def unpack(self, entry):
    return super().unpack(1 - entry)


@breaks('stochastic', '`pack`: promised')
class WrongEntry(Stochastic):
  def pack(self, value):
    return super().pack(value).astype(jnp.int32)


@breaks('stochastic', 'samples and KL have gradients')
class NoStraightThrough(Stochastic):
  def posterior(self, params):
    return super().posterior(sg(params))


@breaks('decoder', 'or some of them, got the keys')
class WrongKey(Decoder):
  def __call__(self, feat):
    return {f'{key}_': x for key, x in super().__call__(feat).items()}


@breaks('decoder', '`pred` of the output')
class WrongShape(Decoder):
  def __call__(self, feat):
    outputs = super().__call__(feat)
    if 'position' in outputs and 'kind' in outputs:
      outputs['position'] = outputs['kind']
    return outputs


@breaks('decoder', 'each parameter has a gradient')
class Unused(Decoder):
  def __init__(self, obs_space, feat_space, *, precision, rngs):
    super().__init__(obs_space, feat_space, precision=precision, rngs=rngs)
    self.unused = nnx.Param(jnp.zeros(3), axes=('inputs',))


@breaks('policy', '`logp` of the distribution of (2,) features: promised (2,)')
class KeptAxis(Policy):
  def __call__(self, feat, *, given, mask):
    @dataclasses.dataclass(frozen=True)
    class Kept(Product):
      def logp(self, action):
        return super().logp(action)[..., None]

    return Kept(super().__call__(feat, given=given, mask=mask).outputs)


@breaks('policy', 'a Joint with sample, pred, logp, entropy')
class OutputsByKey(Policy):
  def __call__(self, feat, *, given, mask):
    return super().__call__(feat, given=given, mask=mask).outputs


@breaks('policy', 'each row is computed by itself')
class Averaging(Policy):
  def __call__(self, feat, *, given, mask):
    mean = lambda x: x - x.mean(0)
    feat = jax.tree.map(mean, feat)
    return super().__call__(feat, given=given, mask=mask)


@breaks('policy', 'the same key draws the same action')
class Unkeyed(Policy):
  def __call__(self, feat, *, given, mask):
    @dataclasses.dataclass(frozen=True)
    class Drawn(Product):
      def sample(self, key):
        seed = np.random.default_rng().integers(2**31)
        return super().sample(jax.random.key(seed))

    return Drawn(super().__call__(feat, given=given, mask=mask).outputs)


class WithMemory(Behavior):
  """Counts the steps of an episode, and adds them to continuous actions."""

  def initial(self, batch_size):
    return {'time': jnp.zeros(batch_size)}

  def reset(self, memory, obs):
    return memory['time'] * ~obs['is_first']

  def act(self, world, carry, feat, memory, obs, key, mode):
    time = self.reset(memory, obs)
    action, _, extra = super().act(world, carry, feat, {}, obs, key, mode)
    if 'force' in action:
      action['force'] += time[:, None]
    return action, {'time': time + 1}, extra


@breaks('behavior', 'the memory before `is_first` changes nothing')
class NoMemoryReset(WithMemory):
  def reset(self, memory, obs):
    return memory['time']


@breaks('behavior', 'memory of `act`')
class OtherMemory(WithMemory):
  def act(self, *args):
    action, memory, extra = super().act(*args)
    return action, memory['time'], extra


@breaks('behavior', "metric 'weight' of `losses`: promised ()")
class LongMetrics(Behavior):
  def losses(self, replayed, rewards, key, update):
    losses, _, signals = super().losses(replayed, rewards, key, update)
    return losses, {'weight': replayed.steps['reward']}, signals


@breaks('behavior', 'each parameter has a gradient')
class NoPolicyLoss(Behavior):
  def losses(self, *args):
    losses, metrics, signals = super().losses(*args)
    return sg(losses), metrics, signals


@breaks('objective', "loss 'mine' of `losses`: promised (2, 3)")
class RowLoss(Objective):
  def losses(self, *args):
    losses, metrics = super().losses(*args)
    return {'mine': losses['mine'].sum(1)}, metrics


@breaks('objective', 'each parameter has a gradient')
class FrozenObjective(Objective):
  def losses(self, *args):
    return sg(super().losses(*args))


@breaks('objective', 'with scale 0 nothing else changes')
class OwnScale(Objective):
  def __init__(
    self, action_space, feat_space, *, scale: float = 0.1, precision, rngs
  ):
    kw = dict(precision=precision, rngs=rngs)
    super().__init__(action_space, feat_space, scale=scale, **kw)
    self.scale = 1.0


@breaks('weighting', 'scaled losses: promised the keys')
class Dropping(Weighting):
  def __call__(self, losses, scales):
    scaled = super().__call__(losses, scales)
    return {k: x for k, x in scaled.items() if scales[k]}


@breaks('weighting', 'a loss of scale 0 counts for nothing')
class ScaleBlind(Weighting):
  def __call__(self, losses, scales):
    return super().__call__(losses, dict.fromkeys(losses, 1.0))


@breaks('weighting', 'more of a loss makes the total larger')
class Negative(Weighting):
  def __call__(self, losses, scales):
    return {k: -x for k, x in super().__call__(losses, scales).items()}


@breaks('augmentation', 'uint8, got (2, 3, 16, 16, 3) bfloat16')
class HalfPrecision(Augmentation):
  def __call__(self, inputs, key):
    new = super().__call__(inputs, key)
    return {k: x.astype(jnp.bfloat16) for k, x in new.items()}


@breaks('augmentation', 'the observations that it is given stay')
class InPlace(Augmentation):
  def __call__(self, inputs, key):
    inputs.update(super().__call__(inputs, key))
    return inputs


@breaks('augmentation', 'the same key draws the same')
class UnkeyedNoise(Augmentation):
  def __call__(self, inputs, key):
    seed = np.random.default_rng().integers(2**31)
    return super().__call__(inputs, jax.random.key(seed))


@breaks('head', 'some kind of space is taken')
class Picky(Head):
  def __init__(self, input_size, space, *, precision, rngs):
    raise UserError('needs another space.')


@breaks('head', 'a distribution with `pred`, `loss`')
class ArrayHead(Head):
  def __call__(self, x):
    return self.mean(x)


@breaks('head', '`loss` of the output: promised (2, 3)')
class KeptEvent(Head):
  def __call__(self, x):
    return getattr(super().__call__(x), 'output', super().__call__(x))


@breaks('head', 'each parameter has a gradient')
class FrozenHead(Head):
  def __call__(self, x):
    mean = sg(self.mean(x))
    output = super().__call__(x)
    inner = getattr(output, 'output', output)
    made = dataclasses.replace(inner, mean=mean)
    if inner is output:
      return made
    return dataclasses.replace(output, output=made)


@breaks('normalizer', 'which is no part of the state')
class Plain:
  def __init__(self):
    self.largest = 0.0

  def update(self, x):
    self.largest = jnp.maximum(self.largest, jnp.abs(x).max())

  def stats(self):
    return 0.0, jnp.maximum(1.0, self.largest)


@breaks('normalizer', 'the scale is positive')
class ZeroScale(Normalizer):
  def stats(self):
    return 0.0, 0.0 * self.largest[...]


@breaks('normalizer', '`update` learns')
class Deaf(Normalizer):
  def update(self, x):
    pass


@breaks('normalizer', 'offset of `stats`: promised ()')
class ManyOffsets(Normalizer):
  def stats(self):
    return jnp.zeros(3), 1.0


class Wrapped:
  """An optimiser around the template's.

  Args:
    lr: Learning rate.
  """

  def __init__(self, *, lr: float = 1e-3):
    self.inner = optimizer(lr=lr)

  def init(self, params):
    return self.inner.init(params)

  def update(self, grads, state, params=None):
    return self.inner.update(grads, state, params)


@breaks('optimizer', 'updates go against the gradients')
class Ascending(Wrapped):
  def update(self, grads, state, params=None):
    changes, state = super().update(grads, state, params)
    return jax.tree.map(jnp.negative, changes), state


@breaks('optimizer', 'a learning rate of 0 changes nothing')
class OwnRate(Wrapped):
  def __init__(self, *, lr: float = 1e-3):
    super().__init__(lr=1e-3)


@breaks('optimizer', 'state of `update`: promised the structure of `init`')
class Growing(Wrapped):
  def init(self, params):
    return (super().init(params),)

  def update(self, grads, state, params=None):
    changes, inner = super().update(grads, state[0], params)
    return changes, (inner, inner)


@breaks('optimizer', '20 updates change each parameter')
class NoBias(Wrapped):
  def update(self, grads, state, params=None):
    changes, state = super().update(grads, state, params)
    return {k: x * (x.ndim > 1) for k, x in changes.items()}, state


class Vector:
  """Two lines stepped together, in their own way."""

  def __init__(self, *, num_envs, seed):
    self.num_envs, self.seed = num_envs, seed
    self.obs_space = {'place': gymnasium.spaces.Box(0, 9, (1,), np.float32)}
    self.action_space = {'action': gymnasium.spaces.Discrete(2)}

  def reset(self):
    self.time = -1
    return self.step(None)

  def step(self, action):
    self.time = (self.time + 1) % 5
    flags = np.zeros(self.num_envs, bool)
    return {
      'place': np.full((self.num_envs, 1), self.time, np.float32),
      'reward': np.full(self.num_envs, float(self.time > 0), np.float32),
      'is_first': flags | (self.time == 0),
      'is_last': flags | (self.time == 4),
      'is_terminal': flags,
    }

  def close(self):
    pass

  def state(self):
    return None

  def restore(self, state):
    pass

  def stats(self):
    return {}


@breaks('env', 'the step after `is_last`, and no other, is `is_first`')
class Endless(Vector):
  def step(self, action):
    found = super().step(action)
    if action is not None:
      found['is_first'][:] = False
    return found


@breaks('env', 'a first step has reward 0')
class Generous(Vector):
  def step(self, action):
    return super().step(action) | {'reward': np.ones(self.num_envs, np.float32)}


@breaks('env', 'the same seed gives the same episodes')
class Unseeded(Vector):
  def step(self, action):
    found = super().step(action)
    return found | {'place': np.random.default_rng().random((2, 1), np.float32)}


@breaks('env', "'place' has the shape (2, 2), not (2, 1)")
class Wide(Vector):
  def step(self, action):
    found = super().step(action)
    return found | {'place': np.zeros((2, 2), np.float32)}


@breaks('env', 'environments go on from a state that was saved')
class Stateless(Vector):
  def state(self):
    return {}


@breaks('replay', 'a window is consecutive steps of one worker')
class Shuffled(Replay):
  def sample(self):
    batch, handle = super().sample()
    turned = {k: x[:, ::-1] if x.ndim > 1 else x for k, x in batch.items()}
    return turned, handle


@breaks('replay', '`update` writes an entry to the step of the batch')
class OffByOne(Replay):
  def update(self, handle, entries, signals):
    times, worker = handle
    super().update((times - 1, worker), entries, signals)


@breaks('replay', '`update` writes entries back')
class ReadOnly(Replay):
  def update(self, handle, entries, signals):
    pass


@breaks('replay', 'a batch has the keys of `spaces`')
class NoActions(Replay):
  def sample(self):
    batch, handle = super().sample()
    del batch['action']
    return batch, handle


@breaks('replay', 'the same seed draws the same batches')
class GlobalDraws(Replay):
  def sample(self):
    self._rng = np.random.default_rng()
    return super().sample()


@breaks('replay', '`load` brings back all steps that were saved')
class Amnesia(Replay):
  def save(self):
    return {'steps': len(self)}


@breaks('selector', 'rows that are starts')
class AnyRow(Selector):
  def select(self, rng, count):
    return np.full(count, self._pool.chunk_size * self._pool.num_chunks - 1)


@breaks('selector', 'its columns and `state` are all')
class HiddenState(Selector):
  def select(self, rng, count):
    self.turn = getattr(self, 'turn', 0) + 1
    own = np.random.default_rng(self.turn)
    return super().select(own, count)


@breaks('selector', "it needs the signal 'nothing'")
class Wanting(Selector):
  wants = ('nothing',)

  def update(self, rows, alive, signals):
    pass


@breaks('logger', '`write` takes numbers and videos')
class NoVideos(Logger):
  def write(self, env_steps, metrics):
    super().write(env_steps, {k: float(x) for k, x in metrics.items()})


@breaks('logger', '`write` takes no metrics at all')
class Demanding(Logger):
  def write(self, env_steps, metrics):
    super().write(env_steps, {'loss': metrics['loss']})


@breaks('logger', 'the metrics that it is given stay')
class Popping(Logger):
  def write(self, env_steps, metrics):
    metrics.pop('video', None)
    super().write(env_steps, metrics)


@breaks('callback', '`restore` brings back what `state` returned')
class NoRestore(Callback):
  def restore(self, state):
    pass


@breaks('callback', 'a state can be written as JSON')
class Arrays(Callback):
  def state(self):
    return {'steps': np.zeros(3)}


@breaks('callback', '`state` and `restore`, or neither')
class HalfState:
  def stepped(self, trainer, step, finished):
    pass

  def state(self):
    return {}


@breaks('callback', 'any of stepped, updated')
class Silent:
  def state(self):
    return {}

  def restore(self, state):
    pass
