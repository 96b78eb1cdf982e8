"""Counts the steps of the environments and the updates."""

from dreamer_nnx.slots import CALLBACK

# The version of the contracts that this is made for.
DREAMER_NNX_CONTRACTS = 2


@CALLBACK.register('mine')
class Mine:
  """Prints a line every so many updates.

  Args:
    every: Updates between lines; 0 prints none.
  """

  def __init__(self, *, every: int = 0):
    self.every, self.steps, self.updates = every, 0, 0

  def stepped(self, trainer, step, finished):
    self.steps += 1

  def updated(self, trainer, metrics):
    self.updates += 1
    if self.every and self.updates % self.every == 0:
      print(f'{self.updates} updates after {self.steps} steps', flush=True)

  def state(self):
    return {'steps': self.steps, 'updates': self.updates}

  def restore(self, state):
    self.steps, self.updates = state['steps'], state['updates']
