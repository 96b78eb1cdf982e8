"""A plugin with callbacks."""

from dreamer_nnx.slots import CALLBACK


@CALLBACK.register('counting')
class Counting:
  """Counts what it is told of, logs it, and may end the run.

  Args:
    stop_at: Number of the run at which it asks for the end; 0 for never.
    fail_at: Number at which it fails.
  """

  def __init__(self, *, stop_at: int = 0, fail_at: int = 0):
    self.stop_at, self.fail_at = stop_at, fail_at
    self.steps = self.updates = 0
    self.total, self.loss = 0.0, None

  def stepped(self, trainer, step, finished):
    self.steps += len(step['reward'])
    self.total += sum(episode['return'] for episode in finished)
    self.look(trainer)

  def updated(self, trainer, metrics):
    self.updates += 1
    self.loss = metrics['opt/loss']
    assert trainer.state['updates'].shape == ()
    if self.updates % 10 == 0:
      trainer.log({'counting/loss': float(self.loss)})
    self.look(trainer)

  def look(self, trainer):
    if trainer.number == self.fail_at:
      raise KeyError('lost')
    if trainer.number == self.stop_at:
      trainer.stop_soon('it counted enough')

  def state(self):
    return {'steps': self.steps, 'updates': self.updates, 'total': self.total}

  def restore(self, state):
    self.steps, self.updates = state['steps'], state['updates']
    self.total = state['total']
