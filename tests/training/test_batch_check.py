"""What is kept of a step, and replays that give something else."""

import re

import jax
import numpy as np
import pytest

from dreamer_nnx import workflow
from dreamer_nnx.contracts import CONSEC
from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import REPLAY
from dreamer_nnx.training.batch_check import check_batch, step_spaces
from dreamer_nnx.training.options import TrainOptions
from tests.launcher import arguments, launch
from tests.replay.list_replay import ListReplay
from tests.training.test_loop import make_trainer, tiny_config

OPTIONS = TrainOptions(batch_size=2, batch_length=4)
KEPT = {
  'image': jax.ShapeDtypeStruct((8, 8, 3), np.uint8),
  'consec': jax.ShapeDtypeStruct((), np.int32),
  'is_first': jax.ShapeDtypeStruct((), bool),
  'latent/deter': jax.ShapeDtypeStruct((3,), np.float32),
}


def batch(length=5, **changes):
  made = {
    key: np.ones((2, length, *space.shape), space.dtype)
    for key, space in KEPT.items()
  }
  made |= {'is_first': np.zeros((2, length), bool)}
  return {k: v for k, v in (made | changes).items() if v is not None}


def check(given, context=1):
  replay = ListReplay(KEPT, 2, 2, 4, 0)
  replay.context = context
  check_batch((given, 'handle'), replay, KEPT, OPTIONS)


def test_what_the_contract_promises_passes():
  check(batch())
  check(batch() | {CONSEC: np.zeros(2, np.int32)})
  check(batch(length=7), context=3)


@pytest.mark.parametrize(
  ('given', 'text'),
  [
    ([1], 'a batch must be a dict of arrays, and is a list'),
    (batch(image=None), "'image' is missing in a batch"),
    (batch(other=np.ones((2, 5))), "'other' in a batch is no key of `spaces`"),
    (batch(consec=[1, 2]), "'consec' in a batch must be an array, and is a"),
    (
      batch(consec=np.zeros((2, 5))),
      "'consec' is float64 (2, 5) in a batch, and must be int32 (2, 5)",
    ),
    (
      batch(image=np.zeros((2, 5, 8, 8, 1), np.uint8)),
      "'image' is uint8 (2, 5, 8, 8, 1) in a batch, and must be uint8 "
      '(2, 5, 8, 8, 3) (batch, context + config.train.batch_length, ...)',
    ),
    (
      batch(is_first=np.zeros((3, 5), bool)),
      "'is_first' is bool (3, 5) in a batch, and must be bool (2, 5)",
    ),
    (batch(is_first=np.zeros((), bool)), "'is_first' is bool () in a batch"),
    (
      batch() | {CONSEC: np.zeros((2, 5), np.int32)},
      "'replay/consec' is int32 (2, 5) in a batch, and must be int32 (2,)",
    ),
    (
      batch(length=4),
      'windows have 4 steps; config.train.batch_length 4 plus the context of '
      '1 step needs 5.',
    ),
    (
      batch() | {'latent/deter': np.ones((2, 4, 3), np.float32)},
      'windows have 4 steps; config.train.batch_length 4 plus the context of '
      '1 step needs 5.',
    ),
    (batch(length=6), 'windows have 6 steps'),
  ],
)
def test_another_batch_is_refused_with_what_was_promised(given, text):
  with pytest.raises(UserError, match=re.escape(text)) as info:
    check(given)
  assert info.value.path == 'config.replay.name'
  assert str(info.value).startswith('config.replay.name: ListReplay.sample: ')


@pytest.mark.parametrize('sampled', [batch(), [batch(), 1], (batch(),), None])
def test_a_batch_comes_with_a_handle(sampled):
  text = 'sample: must return a batch and a handle, and returned a '
  with pytest.raises(UserError, match=text + type(sampled).__name__):
    check_batch(sampled, ListReplay(KEPT, 2, 2, 4, 0), KEPT, OPTIONS)


@pytest.mark.parametrize('context', [-1, 0.5, None])
def test_a_context_is_a_number_of_steps(context):
  with pytest.raises(UserError, match='`context` must be an int of at least 0'):
    check(batch(), context)


def test_without_context_a_window_begins_an_episode_or_goes_on():
  begun = np.zeros((2, 4), bool)
  begun[0, 0] = True
  one, both = np.int32([0, 1]), np.int32([1, 1])
  given = batch(4, is_first=begun)
  text = "'is_first' must hold at the first step of each window"
  for wrong in (given, given | {CONSEC: 1 - one}, given | {CONSEC: 0 * one}):
    with pytest.raises(UserError, match=text):
      check(wrong, context=0)
  check(given | {CONSEC: one}, context=0)
  check(given | {CONSEC: both}, context=0)
  begun[1, 0] = True
  check(batch(4, is_first=begun), context=0)


def test_a_replay_that_does_not_tell_its_context_is_refused():
  choice = Choice(REPLAY, 'tests.replay.list_replay:Silent')
  given = dict.fromkeys(REPLAY.given, 0) | {'spaces': KEPT, 'num_envs': 2}
  with pytest.raises(UserError, match='built a Silent without context'):
    choice(**given)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """Launches with a replay of this name; the workdir stays the same."""
  workdir = tmp_path_factory.mktemp('run')

  def run(name, steps=24):
    flags = arguments(
      workdir / name,
      replay__name=f'tests.replay.list_replay:{name}',
      train__steps=steps,
    )
    return launch([x for x in flags if 'replay.chunked' not in x])

  return run


@pytest.mark.slow
def test_a_replay_written_from_the_contract_trains_and_resumes(run):
  for steps in (24, 40):
    result = run('ListReplay', steps)
    assert result.status == 0, result.err
    assert 'Return trained, greedy' in result.out


@pytest.mark.slow
@pytest.mark.parametrize(
  ('name', 'text'),
  [
    ('Short', 'windows have 4 steps'),
    ('Incomplete', "'action' is missing in a batch"),
  ],
)
def test_one_that_breaks_it_ends_the_run_in_words(run, name, text):
  result = run(name)
  assert result.status == 2
  assert f'config.replay.name: {name}.sample: {text}' in result.err
  assert 'Traceback' not in result.err


@pytest.mark.slow
def test_each_handle_comes_back_once():
  config = tiny_config()
  envs = workflow.make_envs(config)
  learner = workflow.make_learner(config, envs.obs_space, envs.action_space)
  trainer = make_trainer(envs, learner)
  kept = step_spaces(envs.obs_space, envs.action_space, learner)
  # Left, stay and right.
  assert kept['action'].classes == (3,)
  assert not hasattr(kept['image'], 'classes')
  trainer.replay = ListReplay(kept, 2, 2, 4, 0)
  trainer.run()
  assert trainer.updates == trainer.replay.drawn > 20
  assert trainer.replay.written == trainer.replay.drawn
