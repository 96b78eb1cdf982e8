"""A selector as a plugin writes it: Curious Replay (arXiv 2306.15934).

  w(s) = c β^v + (|loss| + ε)^α

of the first step trained on in a window; v counts how often it was drawn.
"""

import numpy as np

from dreamer_nnx.replay.weights import StartWeights
from dreamer_nnx.slots import SELECTOR


@SELECTOR.register('seldom')
class Seldom:
  """Draws windows that were seldom drawn, or are badly modelled, more often.

  Args:
    unseen: The loss of steps that were not trained on.
  """

  wants = ('model',)

  def __init__(
    self,
    pool,
    context,
    *,
    share: float = 1.0,
    c: float = 1e4,
    beta: float = 0.7,
    eps: float = 0.01,
    alpha: float = 0.7,
    unseen: float = 1e5,
  ):
    self.share = share
    self.columns = {
      'seldom/visits': (np.int32, 0),
      'seldom/loss': (np.float32, unseen),
    }
    self.pool, self.context = pool, context
    self.c, self.beta, self.eps, self.alpha = c, beta, eps, alpha
    self.weights = StartWeights(pool, self.weigh, reach=context)
    self.draws = 0

  def weigh(self, rows):
    rows = rows[:, self.context :]
    visits = self.pool.columns['seldom/visits'][rows]
    loss = np.abs(self.pool.columns['seldom/loss'][rows])
    return self.c * self.beta**visits + (loss + self.eps) ** self.alpha

  def select(self, rng, count):
    rows = self.weights.draw(rng, count)
    trained = self.pool.around(rows, 0, self.context)[:, -1]
    np.add.at(self.pool.columns['seldom/visits'], trained, 1)
    self.weights.changed(trained)
    self.draws += count
    return rows

  def update(self, rows, alive, signals):
    rows, loss = rows[alive], signals['model'][alive]
    self.pool.columns['seldom/loss'][rows] = loss
    self.weights.changed(rows)

  def state(self):
    return {'draws': self.draws}

  def restore(self, state):
    self.draws = state['draws']
