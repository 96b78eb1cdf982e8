"""Compares one update of both agents from one state, many times.

  python -m experiments.learning.update CHECKOUT TASK SEED STEPS [COUNT]

The reference is trained for so many environment steps. Then both agents make
one update of its parameters and its optimiser's state, again and again, with
other random draws, on batches of its replay. Of each logged number it prints
both means, and their difference in standard errors; of each array of parameters
the sizes of both mean changes, and the cosine of the angle between them.

With a COUNT they make so many updates in a row, some times over. Then it prints
the means of the first, the middle and the last of these.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.interop.reference import convert
from dreamer_nnx.training.step import Learner
from experiments.learning import reference
from experiments.learning.crossed import make_learner
from experiments.learning.tasks import TASKS

BATCHES, DRAWS = 12, 36
# Runs of updates in a row, and how many of these updates are one number.
RUNS, PART = 6, 25
Arrays = dict[str, np.ndarray]
# Logged numbers, and changes of parameters by their names here.
Update = tuple[dict[str, float], Arrays]


class Ours:
  """Updates of this package's agent from a state of the reference.

  Args:
    task: Of `tasks.TASKS`.
    params: All arrays of the reference's agent, by its names.
  """

  def __init__(self, task: str, params: Arrays):
    self.learner = make_learner(task)
    own = self.learner.init(0)
    given = convert(params, self.learner.abstract)
    # Those that only this package has are as at the beginning.
    rest = {k: np.array(own[k]) for k in own.keys() - given.keys() - {'key'}}
    self.arrays = {
      k: np.asarray(x, own[k].dtype) for k, x in (given | rest).items()
    }

  def start(self, draw: int) -> Any:
    """A state to update, from which random numbers are drawn."""
    state = jax.tree.map(lambda x: jax.device_put(x.copy()), self.arrays)
    return state | {'key': jax.random.key(draw)}

  def step(self, state: Any, batch: Arrays) -> tuple[Any, dict[str, float]]:
    """Makes an update; returns the new state, and logged numbers."""
    rows = len(batch['is_first'])
    kept = {k: x for k, x in batch.items() if '/' not in k and k != 'stepid'}
    kept['latent/deter'] = np.float32(batch['dyn/deter'])
    kept['latent/stoch'] = batch['dyn/stoch'].argmax(-1).astype(np.uint8)
    kept[CONSEC] = np.zeros(rows, np.int32)
    carry = self.learner.initial_rows(rows)
    state, _, _, metrics = self.learner.train_step(state, carry, kept)
    return state, numbers(metrics)

  def update(self, batch: Arrays, draw: int) -> Update:
    state, logged = self.step(self.start(draw), batch)
    trained = self.learner.layout.trained
    return logged, {k: np.asarray(state[k]) - self.arrays[k] for k in trained}


class Theirs:
  """Updates of the reference's agent.

  Args:
    params: All its arrays.
    learner: Of this package, by whose names changes are told.
  """

  def __init__(self, agent: Any, params: Arrays, learner: Learner):
    self.agent, self.params = agent, params
    self.like, self.trained = learner.abstract, learner.layout.trained
    self.arrays = convert(params, self.like)

  def start(self, draw: int) -> Any:
    return self.params, (draw, 0)

  def step(self, state: Any, batch: Arrays) -> tuple[Any, dict[str, float]]:
    given, (draw, count) = state
    agent, steps = self.agent, batch['is_first'].shape
    where = agent.train_params_sharding
    params = {k: jax.device_put(x, where[k]) for k, x in given.items()}
    data = {**batch, 'consec': np.zeros(steps, np.int32)}
    seed = np.array([draw, count], np.uint32)
    with agent.train_mesh:
      new, _, _, metrics = agent._train(
        {k: x for k, x in params.items() if k not in agent.policy_keys},
        {k: params[k] for k in agent.policy_keys},
        jax.device_put(seed, agent.train_mirrored),
        agent.init_train(len(batch['is_first'])),
        jax.device_put(data, agent.train_sharded),
      )
    new = {k: np.array(x) for k, x in new.items()}
    return (new, (draw, count + 1)), numbers(metrics)

  def update(self, batch: Arrays, draw: int) -> Update:
    (new, _), logged = self.step(self.start(draw), batch)
    new = convert(new, self.like)
    return logged, {k: new[k] - self.arrays[k] for k in self.trained}


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
  return {k: float(x) for k, x in metrics.items() if np.ndim(x) == 0}


def compare(ours: Ours, theirs: Theirs, batches: list[Arrays]) -> Iterator[str]:
  """Makes all updates, alternating; yields a line for each comparison."""
  logged = [], []
  sums = {}, {}
  for index, batch in enumerate(batches):
    for draw in range(index * DRAWS, (index + 1) * DRAWS):
      for agent, kept, total in zip((ours, theirs), logged, sums, strict=True):
        metrics, changes = agent.update(batch, draw)
        kept.append(metrics)
        total |= {k: total.get(k, 0) + x for k, x in changes.items()}
  for name in sorted(logged[0][0].keys() & logged[1][0].keys()):
    # (updates,) -> (batches, draws)
    one, other = (
      np.array([x[name] for x in kept]).reshape(len(batches), -1)
      for kept in logged
    )
    spread = one.var(1, ddof=1).mean() + other.var(1, ddof=1).mean()
    yield compared(name, one, other, np.sqrt(spread / one.size))
  for name in sorted(sums[0]):
    one, other = (total[name].ravel() / len(logged[0]) for total in sums)
    sizes = np.linalg.norm(one), np.linalg.norm(other)
    cosine = one @ other / max(np.prod(sizes), 1e-30)
    yield f'{name:60} {sizes[0]:9.3g} {sizes[1]:9.3g} {cosine:7.4f}'


def in_a_row(
  ours: Ours, theirs: Theirs, batches: list[Arrays]
) -> Iterator[str]:
  """Updates on each batch in turn, alternating runs; yields comparisons."""
  runs = [], []
  for draw in range(RUNS):
    for agent, kept in zip((ours, theirs), runs, strict=True):
      state, logged = agent.start(draw), []
      for batch in batches:
        state, found = agent.step(state, batch)
        logged.append(found)
      kept.append(logged)
  count = len(batches)
  size = min(PART, count)
  for begin in (0, (count - size) // 2, count - size):
    yield f'updates {begin + 1} to {begin + size}'
    part = slice(begin, begin + size)
    for name in sorted(runs[0][0][0].keys() & runs[1][0][0].keys()):
      # (runs, updates) -> (runs,)
      one, other = (
        np.array([[x[name] for x in run[part]] for run in kept]).mean(1)
        for kept in runs
      )
      error = np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / RUNS)
      yield compared(name, one, other, error)


def compared(
  name: str, one: np.ndarray, other: np.ndarray, error: float
) -> str:
  """A line of two means, and their difference in standard errors."""
  score = (one.mean() - other.mean()) / error if error else 0.0
  return f'{name:20} {one.mean():11.5g} {other.mean():11.5g} {score:6.1f}'


def main(
  checkout: str, task: str, seed: str, steps: str, count: str = '0'
) -> None:
  with tempfile.TemporaryDirectory() as folder:
    place = str(Path(folder) / 'run')
    agent, replay = reference.train(
      checkout, task, int(seed), place, steps=int(steps)
    )
    params = {k: np.array(x) for k, x in agent.save()['params'].items()}
    rows = TASKS[task].all['batch_size']
    batches = [replay.sample(rows) for _ in range(int(count) or BATCHES)]
    # The agent forbids transfers that it does not make.
    with jax.transfer_guard('allow'):
      ours = Ours(task, params)
      theirs = Theirs(agent, params, ours.learner)
      made = in_a_row if int(count) else compare
      for line in made(ours, theirs, batches):
        print(line, flush=True)


if __name__ == '__main__':
  main(*sys.argv[1:])
