"""Agents at toy size of every pair of components, from flags alone."""

import contextlib
import dataclasses
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from dreamer_nnx import config as configs
from dreamer_nnx import overrides
from dreamer_nnx.agent.build import build
from dreamer_nnx.envs.make import make_vector_env
from dreamer_nnx.registry import fields
from dreamer_nnx.run import Run
from dreamer_nnx.slots import (
  BEHAVIOR,
  DYNAMICS,
  ENCODER,
  SLOTS,
)
from dreamer_nnx.testing import agents, entries, experience, toys
from dreamer_nnx.testing.broken import expect, expect_finite
from dreamer_nnx.testing.live import compiled
from dreamer_nnx.testing.new import BESIDE, PATHS
from dreamer_nnx.training.pure import Pure

UPDATES = 2
# Slots of what an agent is not made of.
AROUND = ('env', 'replay', 'selector', 'logger', 'callback')
GAME = 'dreamer_nnx.testing.games:make'
RUN = {
  'train.envs': 2,
  'train.steps': 48,
  'train.batch_size': 2,
  'train.batch_length': 4,
  'train.train_ratio': 2.0,
  'train.log_every': 16,
  'train.report_every': 0,
  'train.save_every': 0,
  'env.name': 'custom',
  'env.custom.make': GAME,
  'replay.chunked.chunk_size': 8,
  'replay.chunked.capacity': 1000,
}
# Flags of an entry beside its name; `{data}` is a folder of episodes.
LABELS = ('--config.env.custom.arguments=labels=True',)
SHOWN = ('--config.env.custom.arguments=shown=True',)
MASKS = ('--config.env.custom.arguments=masks=True',)
MASKED = (*MASKS, '--config.behavior.actor_critic.policy.name=masked')
IMAGES = ('--config.env.custom.arguments=image=True',)
FLAGS = {
  ('decoder', 'resnet'): IMAGES,
  ('augmentation', 'random_shift'): IMAGES,
  ('augmentation', 'crop'): IMAGES,
  ('behavior', 'constrained'): LABELS,
  ('policy', 'masked'): MASKS,
  ('objective', 'masks'): MASKED,
  ('objective', 'cloning'): SHOWN,
  ('objective', 'dreamerpro'): ('--config.objectives.dreamerpro.prototypes=8',),
  ('env', 'gymnasium'): ('--config.env.gymnasium.id=CartPole-v1',),
  ('replay', 'dataset'): ('--config.replay.dataset.path={data}',),
  ('replay', 'mixture'): (
    '--config.replay.mixture.data.dataset.path={data}',
    '--config.replay.mixture.live.chunked.chunk_size=8',
    '--config.replay.mixture.live.chunked.capacity=1000',
    '--config.replay.mixture.share=0.5',
  ),
}
# Where a head is used that does not predict a number.
HEADS = {
  'binary': 'cont.head.name',
  'categorical': 'behavior.actor_critic.policy.mlp.discrete.name',
  'onehot': 'behavior.actor_critic.policy.mlp.continuous.name',
}


@dataclasses.dataclass(frozen=True)
class Case:
  """One agent.

  Args:
    title: Names its components.
    flags: Config strings beside those of the size.
  """

  title: str
  flags: tuple[str, ...]


def cases() -> Iterator[Case]:
  """Every pair, and every entry that is in none."""
  for encoder in ENCODER.names():
    for dynamics in DYNAMICS.names():
      yield _case({'encoder': encoder, 'dynamics': dynamics}, image=True)
  for dynamics in DYNAMICS.names():
    for behavior in BEHAVIOR.names():
      yield _case({'dynamics': dynamics, 'behavior': behavior})
  for slot in SLOTS:
    if slot in (ENCODER, DYNAMICS, BEHAVIOR):
      continue
    for name in slot.names():
      if not entries.missing(slot.name, name):
        yield _case({slot.name: name})


def _case(chosen: dict[str, str], image: bool = False) -> Case:
  flags = []
  for slot, name in chosen.items():
    path = HEADS.get(name, PATHS[slot]) if slot == 'head' else PATHS[slot]
    value = name
    if path.endswith('.names'):
      value = ','.join(dict.fromkeys((*BESIDE.get(slot, ()), name)))
    flags += [f'--config.{path}={value}', *FLAGS.get((slot, name), ())]
  if image:
    flags += IMAGES
  return Case(' with '.join(f'{s} {n}' for s, n in chosen.items()), (*flags,))


def train(case: Case) -> int:
  """Trains an agent for a few updates; returns their number.

  What the agent itself is not made of is tried in a whole run.

  Raises:
    Broken: It makes fewer than two, or numbers are not finite.
    Exception: Whatever is wrong.
  """
  with tempfile.TemporaryDirectory() as folder:
    data = Path(folder, 'data')
    flags = [flag.format(data=data) for flag in case.flags]
    config = configs.base()
    configs.apply(config, agents.SIZES | RUN)
    if any(str(data) in flag for flag in flags):
      experience.write_walks(data)
    _, *rest = overrides.override(config, ['', *flags])
    expect(case.title, not rest, 'its flags are known', ' '.join(rest))
    around = case.title.split()[0] in AROUND
    train = _run if around else _update
    updates = train(case.title, config, Path(folder, 'run'))
  promise = f'it makes {UPDATES} updates'
  expect(case.title, updates >= UPDATES, promise, f'{updates}')
  return updates


def _run(title: str, config: configs.ConfigDict, workdir: Path) -> int:
  """Trains in a workdir, with environments and replay."""
  quiet = contextlib.redirect_stdout(io.StringIO())
  with quiet, Run(config, workdir) as run:
    run.train(evaluate=False)
    return run.updates


def _update(title: str, config: configs.ConfigDict, workdir: Path) -> int:
  """Acts, and makes updates on a batch of numbers drawn at random."""
  parts = configs.bind_all(config)
  envs = make_vector_env(parts['env'], 1, 0)
  spaces = envs.obs_space, envs.action_space
  envs.close()
  agent = {name: parts[name] for name in fields(build)}
  make = lambda rngs: build(*spaces, rngs=rngs, **agent)
  length = agents.LENGTH
  pure = Pure(make, parts['optimizer'](), batch_length=length)
  key, rows = jax.random.key(0), agents.ROWS
  state = compiled(pure.init)(key, jax.random.key(1))
  obs = {'is_first': np.ones(rows, bool)} | toys.values(spaces[0], (rows,))
  carry = pure.initial(rows)
  _, action, _ = compiled(pure.act)(state, carry, obs, key, 0)
  expect_finite(title, action, 'actions')
  batch = agents.batch_of(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
  update = compiled(pure.update)
  for _ in range(UPDATES):
    state, carry, _, metrics = update(state, carry, batch)
    expect_finite(title, metrics, 'metrics')
  return int(state['updates'])
