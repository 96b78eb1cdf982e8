"""Holds this project's numbers to those of the reference implementation.

  python -m tests.parity FIXTURE.json

A fixture is NAME.json (spaces, agent config, metrics) and NAME.npz (initial
parameters, batches, what the reference made of them). Its samples are
deterministic: argmax for classes, mean + std/2 for normals; so are ours here.
Prints a table and exits with 1 where a quantity is out of bounds.
"""

import contextlib
import dataclasses
import functools
import json
import pathlib
import sys
from collections.abc import Iterator, Mapping
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces as gym_spaces

from dreamer_nnx import slots
from dreamer_nnx.acting.options import AgentOptions
from dreamer_nnx.agent import world_model
from dreamer_nnx.agent.build import build
from dreamer_nnx.agent.context import window
from dreamer_nnx.agent.settings import LossScales
from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.interop.reference import convert
from dreamer_nnx.nn.predictor import Predictor
from dreamer_nnx.nn.slow_copy import SlowCopy
from dreamer_nnx.numerics import sampling
from dreamer_nnx.registry import Choice, Part, fields
from dreamer_nnx.training import sharding
from dreamer_nnx.training.step import Learner

FLAGS = ('reward', 'is_first', 'is_last', 'is_terminal')
TRUNK = ('layers', 'units', 'act', 'norm')
FORWARD, METRIC, ACCUMULATOR = 1e-4, 1e-3, 1e-2


@dataclasses.dataclass(frozen=True)
class Row:
  """One compared quantity; it passes where `error` <= `bound`."""

  name: str
  error: float
  bound: float

  @property
  def passes(self) -> bool:
    return bool(self.error <= self.bound)


class Fixture:
  """The two files of a fixture."""

  def __init__(self, path: str | pathlib.Path):
    path = pathlib.Path(path)
    self.meta = json.loads(path.read_text())
    with np.load(path.with_suffix('.npz')) as arrays:
      self.arrays = dict(arrays)
    observed = self.meta['obs_space'].items()
    self.obs_space = {
      key: make_space(spec) for key, spec in observed if key not in FLAGS
    }
    self.action_space = {
      key: make_space(spec) for key, spec in self.meta['act_space'].items()
    }

  def under(self, prefix: str) -> dict[str, np.ndarray]:
    """Arrays below `prefix/`, without it."""
    start = len(prefix) + 1
    return {
      k[start:]: v for k, v in self.arrays.items() if k.startswith(prefix + '/')
    }

  def batch(self, index: int) -> dict[str, np.ndarray]:
    names = {'consec': CONSEC}
    return packed(
      {
        names.get(k, k.replace('dyn/', 'latent/')): (
          v[:, 0] if k == 'consec' else v
        )
        for k, v in self.under(f'batch{index}').items()
        if k != 'stepid'
      }
    )

  @property
  def image_keys(self) -> list[tuple[str, int]]:
    return [
      (key, space.shape[-1])
      for key, space in self.obs_space.items()
      if space.dtype == np.uint8 and len(space.shape) == 3
    ]


def packed(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Stores stoch as class indices, in the place of the reference's one-hot."""
  stoch = {
    k: np.argmax(v, -1).astype(np.uint8)
    for k, v in batch.items()
    if k == 'latent/stoch'
  }
  return dict(batch) | stoch


def make_space(spec: Mapping) -> gym_spaces.Space:
  """A gymnasium space of {dtype, shape, classes}."""
  dtype, shape = np.dtype(spec['dtype']), tuple(spec['shape'])
  if np.issubdtype(dtype, np.floating):
    return gym_spaces.Box(-np.inf, np.inf, shape, np.float32)
  if dtype == np.uint8 and len(shape) == 3:
    return gym_spaces.Box(0, 255, shape, np.uint8)
  if not shape:
    return gym_spaces.Discrete(int(np.max(spec['classes'])))
  return gym_spaces.MultiDiscrete(
    np.broadcast_to(spec['classes'], shape).astype(int)
  )


def choose(slot, name: str, config: Mapping) -> Choice:
  """A component with those options of the reference's that it has.

  How weights are drawn does not matter: they come from the fixture.
  """
  own = fields(Choice(slot, name).builder, slot.given)
  known = {k: v for k, v in config.items() if k in own and k != 'winit'}
  return Choice(slot, name, **{k: _tuple(v) for k, v in known.items()})


def _tuple(value):
  return tuple(value) if isinstance(value, list) else value


def predictor(config: Mapping) -> Part:
  return Part(
    Predictor,
    **{k: config[k] for k in TRUNK if k in config},
    head=choose(slots.HEAD, config['output'], config),
  )


def components(config: Mapping) -> dict[str, Choice | Part]:
  """The keyword arguments of `build` for a reference agent config."""
  policy, imag, repl = (config[k] for k in ('policy', 'imag_loss', 'repl_loss'))
  options = {
    f.name: config[f.name]
    for f in dataclasses.fields(AgentOptions)
    if f.name in config
  }
  options |= imag | {f'repval_{k}': repl[k] for k in ('lam', 'slowreg')}
  norms = {
    key: choose(slots.NORMALIZER, config[key]['impl'], config[key])
    for key in ('retnorm', 'valnorm', 'advnorm')
  }
  behavior = norms | {
    'value': predictor(config['value']),
    'policy': Choice(
      slots.POLICY,
      'mlp',
      **{k: policy[k] for k in TRUNK if k in policy},
      discrete=discrete(config),
      continuous=choose(slots.HEAD, config['policy_dist_cont'], policy),
    ),
    'slow_value': Part(SlowCopy, **config['slowvalue']),
  }
  return {
    'behavior': Choice(slots.BEHAVIOR, 'actor_critic', **behavior),
    'encoder': choose(slots.ENCODER, 'simple', config['enc']['simple']),
    'dynamics': dynamics(config['dyn']['rssm']),
    'decoder': choose(slots.DECODER, 'simple', config['dec']['simple']),
    'reward': predictor(config['rewhead']),
    'cont': predictor(config['conhead']),
    'agent': Part(AgentOptions, **options),
    'loss_scales': Part(LossScales, **config['loss_scales']),
  }


def dynamics(config: Mapping) -> Choice:
  stochastic = choose(slots.STOCHASTIC, 'categorical', config)
  return choose(slots.DYNAMICS, 'rssm', config).replace(stochastic=stochastic)


def discrete(config: Mapping) -> Choice:
  """The reference mixes nothing into its categorical policy."""
  policy = {k: v for k, v in config['policy'].items() if k != 'unimix'}
  return choose(slots.HEAD, config['policy_dist_disc'], policy)


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
  """Samples as the fixtures have them."""
  with (
    mock.patch.object(
      sampling, 'categorical', lambda key, probs: jnp.argmax(probs, -1)
    ),
    mock.patch.object(
      sampling, 'normal', lambda key, mean, std: mean + 0.5 * std
    ),
  ):
    yield


def make_learner(fixture: Fixture) -> Learner:
  config = fixture.meta['agent_config']
  make_agent = functools.partial(
    build, fixture.obs_space, fixture.action_space, **components(config)
  )
  # The reference ignores its own switch and always applies momentum.
  options = {k: v for k, v in config['opt'].items() if k != 'momentum'}
  optimizer = choose(slots.OPTIMIZER, 'dreamer', options)()
  return Learner(
    lambda rngs: make_agent(rngs=rngs),
    optimizer,
    sharding.make_sharding(devices=jax.devices()[:1]),
    batch_length=fixture.meta['batch_length'],
  )


def load_state(learner: Learner, fixture: Fixture) -> dict[str, jax.Array]:
  given = convert(fixture.under('init'), learner.abstract, fixture.image_keys)
  state = {k: jnp.asarray(v) for k, v in given.items()}
  state |= {'key': jax.random.key(0), 'diverged': jnp.full(2, -1, jnp.int32)}
  return jax.device_put(state, learner.sharding.replicated)


def forward(
  learner: Learner, state, batch, context: int
) -> dict[str, jax.Array]:
  """Everything that the fixtures hold below `forward/`."""
  length = batch['is_first'].shape[1] - context

  @jax.jit
  def run(arrays, batch):
    agent = learner.layout.merge(arrays)
    carry = agent.initial(len(batch['is_first']))
    key = jax.random.key(0)
    _, replayed = world_model.observe(
      agent.world,
      {},
      window(batch, length, agent.action_space),
      carry['dynamics'],
      carry['action'],
      key,
    )
    observed, behavior = replayed.observed, agent.behavior
    feat = observed.feat
    shape = (*feat['stoch'].shape[:-1], *agent.dynamics.stochastic.shape)
    result = {
      'feat/deter': feat['deter'],
      'feat/stoch': feat['stoch'].reshape(shape),
      'feat/logit': observed.extra['params'].reshape(shape),
      'tokens': replayed.tokens,
      'prior': agent.dynamics.prior(feat['deter']).reshape(shape),
      'heads/rew': agent.reward(feat).pred(),
      'heads/con': agent.cont(feat).prob(1),
      'heads/val': behavior.value(feat).pred(),
      'heads/slowval': behavior.slow_value(feat).pred(),
    }
    for name, output in agent.decoder(feat).items():
      result[f'recon/{name}'] = output.pred()
    for name, output in behavior.policy(
      feat, given={}, mask={}
    ).outputs.items():
      result[f'pol/{name}/pred'] = output.pred()
      result[f'pol/{name}/entropy'] = output.entropy()
    loss, aux = agent.loss(carry, batch, key, length=length)
    result |= {f'losses/{k}': v for k, v in aux['losses'].items()}
    result |= {f'metrics/{k}': v for k, v in aux['metrics'].items()}
    return result | {'loss': loss}

  arrays = {name: state[name] for name in learner.layout.shapes}
  return run(arrays, batch)


def relative(got, want, floor: float = 1e-3) -> float:
  """Largest difference over the largest magnitude, or over `floor`."""
  got, want = (np.asarray(x, np.float64) for x in (got, want))
  if got.shape != want.shape:
    return np.inf
  scale = max(floor, np.abs(want).max(initial=0))
  return float(np.abs(got - want).max(initial=0) / scale)


def outside(got, want) -> float:
  """Share of elements further apart than 1e-5 + 1e-4 |want|."""
  got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
  return float((np.abs(got - want) > 1e-5 + 1e-4 * np.abs(want)).mean())


def compare(prefix, got, want, bound) -> list[Row]:
  """A row for every name of `want`; a missing one is infinitely wrong."""
  rows = []
  for name, value in sorted(want.items()):
    found = got.get(name)
    # Of a scalar action the reference repeats this number for every state.
    if found is not None and 'rand/' in name:
      found = np.broadcast_to(found, np.shape(value))
    error = np.inf if found is None else relative(found, value)
    rows.append(Row(f'{prefix}/{name}', error, bound))
  return rows


def train_rows(learner: Learner, fixture: Fixture, state):
  """Train steps in turn: the final state, and rows of metrics and latents."""
  rows, carry = [], learner.initial(fixture.meta['batch_size'])
  for i in range(fixture.meta['steps']):
    state, carry, back, metrics = learner.train_step(
      state, carry, fixture.batch(i)
    )
    rows += compare(f'train{i}', metrics, fixture.meta['metrics'][i], METRIC)
    want = fixture.under(f'replay{i}')
    latents = packed(
      {
        k.replace('dyn/', 'latent/'): v
        for k, v in want.items()
        if k != 'stepid'
      }
    )
    rows += compare(f'replay{i}', back, latents, METRIC)
  return state, rows


def final_rows(learner: Learner, fixture: Fixture, state) -> list[Row]:
  """Accumulators tensor by tensor, and the share of parameters outside."""
  final = convert(fixture.under('final'), learner.abstract, fixture.image_keys)
  rows = []
  for name, want in final.items():
    if name.startswith('optimizer/1/nu/'):
      error = relative(state[name], want, floor=1e-30)
      rows.append(Row(f'final/{name}', error, ACCUMULATOR))
  trained = learner.layout.trained
  flat = lambda arrays: np.concatenate([np.ravel(arrays[k]) for k in trained])
  rows.append(Row('final/parameters', outside(flat(state), flat(final)), 0.005))
  rest = [k for k in learner.layout.shapes if k not in trained]
  rows += [
    Row(f'final/{k}', relative(state[k], final[k]), METRIC) for k in rest
  ]
  return rows


def policy_rows(learner: Learner, fixture: Fixture, state) -> list[Row]:
  """Actions and latents of the recorded policy steps."""
  rows, carry, index = [], None, 0
  final = convert(fixture.under('final'), learner.abstract, fixture.image_keys)
  acting = learner.acting({k: jnp.asarray(v) for k, v in final.items()})
  while obs := fixture.under(f'policy_obs{index}'):
    carry = carry or learner.initial(len(obs['is_first']))
    carry, action, latent = learner.policy(
      acting, carry, obs, jax.random.key(0), index
    )
    want = fixture.under(f'policy_act{index}')
    for key, value in sorted(want.items()):
      exact = np.issubdtype(value.dtype, np.integer) or value.dtype == bool
      error = relative(action[key], value)
      rows.append(Row(f'policy{index}/{key}', error, 0 if exact else FORWARD))
    out = fixture.under(f'policy_out{index}/dyn')
    out = packed({f'latent/{k}': v for k, v in out.items()})
    rows += compare(f'policy{index}', latent, out, METRIC)
    index += 1
  return rows


def check(path: str | pathlib.Path) -> list[Row]:
  """Every quantity of a fixture."""
  fixture = Fixture(path)
  with deterministic():
    learner = make_learner(fixture)
    state = load_state(learner, fixture)
    got = forward(
      learner, state, fixture.batch(0), fixture.meta['replay_context']
    )
    rows = compare('forward', got, fixture.under('forward'), FORWARD)
    state, trained = train_rows(learner, fixture, state)
    rows += trained
    rows += final_rows(learner, fixture, state)
    rows += policy_rows(learner, fixture, state)
  return rows


def main(argv: list[str]) -> int:
  if len(argv) != 2:
    print('usage: python -m tests.parity FIXTURE.json', file=sys.stderr)
    return 2
  rows = check(argv[1])
  width = max(len(row.name) for row in rows)
  for row in rows:
    mark = '' if row.passes else '  OUT OF BOUNDS'
    print(f'{row.name:<{width}}  {row.error:9.2e}  {row.bound:9.2e}{mark}')
  failed = sum(not row.passes for row in rows)
  print(f'{len(rows) - failed} passed, {failed} failed')
  return int(failed > 0)


if __name__ == '__main__':
  sys.exit(main(sys.argv))
