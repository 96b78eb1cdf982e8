"""`episode_limit`: what it counts, and when training ends."""

import types

import pytest

from dreamer_nnx.callbacks import episode_limit
from dreamer_nnx.errors import UserError


class Trainer:
  def __init__(self, **attributes):
    self.envs = types.SimpleNamespace(**attributes)
    self.reasons = []

  def stop_soon(self, reason):
    self.reasons.append(reason)


def test_training_ends_with_its_last_episode():
  limit, trainer = episode_limit.EpisodeLimit(episodes=3), Trainer()
  for finished in ([], [{}], [{}], []):
    limit.stepped(trainer, {}, finished)
  assert trainer.reasons == []
  limit.stepped(trainer, {}, [{}, {}])
  assert trainer.reasons == ['4 episodes are played']


def test_a_run_that_goes_on_does_not_begin_to_count_anew():
  limit, later = (episode_limit.EpisodeLimit(episodes=2) for _ in range(2))
  limit.stepped(Trainer(), {}, [{}])
  later.restore(limit.state())
  trainer = Trainer()
  later.stepped(trainer, {}, [{}])
  assert trainer.reasons == ['2 episodes are played']


def test_the_number_of_the_environment_is_taken():
  limit, trainer = episode_limit.EpisodeLimit(), Trainer(episodes=1)
  limit.stepped(trainer, {}, [{}])
  assert trainer.reasons
  with pytest.raises(UserError, match='does not say how many episodes'):
    limit.stepped(Trainer(), {}, [])


def test_several_processes_are_refused(monkeypatch):
  monkeypatch.setattr(episode_limit.jax, 'process_count', lambda: 2)
  with pytest.raises(UserError, match='there are several'):
    episode_limit.EpisodeLimit(episodes=1).stepped(Trainer(), {}, [])
