"""Recordings of evaluations: what they show, and that they change nothing."""

import contextlib
import logging

import jax
import numpy as np
import optax
import pytest

from dreamer_nnx import dream_steps, notices, workflow
from dreamer_nnx.envs.faults import EnvError
from dreamer_nnx.recording import Recorder, film, recorder
from dreamer_nnx.recording.twin import Twin
from dreamer_nnx.run import Run
from dreamer_nnx.training import processes, sharding
from dreamer_nnx.training.evaluate import evaluate
from dreamer_nnx.training.step import Learner
from tests.agent.parts import make_agent
from tests.loggers.videos import read_gif
from tests.stored import config_of
from tests.training.test_evaluate import Counting


class Drawn(Counting):
  """The first of these environments, drawn: gray, and lighter each step."""

  num_envs = 1

  def __init__(self, shift=0.0):
    super().__init__()
    self.shift, self.closed = shift, False

  def observe(self, reward):
    obs = {k: x[:1] for k, x in super().observe(reward).items()}
    obs['vector'] = obs['vector'] + self.shift * (self.time[0] > 0)
    image = np.full((1, 8, 8, 3), 40 * (1 + self.time[0]), np.uint8)
    return {**obs, 'image': image}

  def step(self, action):
    assert action['action'].shape == (1,)
    return super().step({'action': np.repeat(action['action'], 3)})

  def close(self):
    self.closed = True


@pytest.fixture(scope='module')
def learner():
  devices = sharding.make_sharding(devices=jax.devices()[:1])
  return Learner(make_agent, optax.identity(), devices, batch_length=1)


@pytest.fixture(scope='module')
def state(learner):
  return learner.init(0)


@pytest.fixture
def play(learner, state, tmp_path, monkeypatch, caplog):
  """Evaluates with a recording in which the environment has this drawing."""
  monkeypatch.setattr(notices, 'WARNED', set())
  monkeypatch.setattr(film, 'ffmpeg', lambda: '')
  caplog.set_level(logging.WARNING)

  def play(drawn=None):
    def make(parts):
      if isinstance(drawn, Exception):
        raise drawn
      return drawn

    monkeypatch.setattr(workflow, 'make_drawn_env', make)
    made = Recorder(None, learner, tmp_path / 'videos')
    with made.open(state, 'eval', 12) as recording:
      return evaluate(
        learner,
        state,
        Counting(echo=True),
        episodes=7,
        mode='sample',
        key=jax.random.key(0),
        watch=recording.watch,
      )

  return play


@pytest.fixture
def unrecorded(learner, state):
  envs, key = Counting(echo=True), jax.random.key(0)
  return evaluate(learner, state, envs, episodes=7, mode='sample', key=key)


def video(folder):
  (path,) = (folder / 'videos').iterdir()
  assert path.name == 'eval_0000000012.gif'
  return read_gif(path.read_bytes())[0]


def test_returns_are_those_without_a_recording(play, unrecorded, tmp_path):
  assert play() == unrecorded
  # One column for each prediction, for there is no drawing.
  assert video(tmp_path).shape[2] == 2 * (256 + 8)


def test_it_is_the_first_episode_of_the_first_environment(
  play, unrecorded, tmp_path
):
  drawn = Drawn()
  assert play(drawn) == unrecorded
  frames = video(tmp_path)
  # An episode of one action, in a column of its own.
  assert len(frames) == 2
  assert frames.shape[2] == 3 * (256 + 8)
  levels = frames[:, 100, 100].astype(int)
  assert abs(levels - [[40], [80]]).max() < 4
  assert drawn.closed


def test_what_is_reconstructed_is_the_state_that_acted(learner, state):
  obs, carry = Counting().reset(), learner.initial(3)
  inputs = {k: x for k, x in obs.items() if not k.startswith('log/')}
  key, acting = jax.random.key(3), learner.acting(state)
  watch = learner.compiled(dream_steps.watch)
  for count in range(3):
    latent, told = watch(acting | dict(state), carry, inputs, key, count)
    carry, _, _ = learner.policy(acting, carry, inputs, key, count)
    np.testing.assert_array_equal(
      latent['deter'], carry['dynamics']['deter'][:1]
    )
    kernel = np.asarray(state['decoder/kernel'])
    wanted = np.asarray(carry['dynamics']['deter'])[0] @ kernel
    np.testing.assert_allclose(told['vector'], wanted, rtol=1e-5)


def test_only_what_a_recording_needs_is_gathered(learner, tmp_path):
  names = Recorder(None, learner, tmp_path)._names
  assert 'decoder/kernel' in names
  assert not [name for name in names if name.startswith(('behavior', 'rew'))]


def test_open_loop_begins_again_every_so_many_steps(
  learner, state, tmp_path, monkeypatch
):
  monkeypatch.setattr(recorder, 'OPEN_LOOP', 3)
  monkeypatch.setattr(workflow, 'make_drawn_env', lambda parts: None)
  made = Recorder(None, learner, tmp_path)
  seen, dreamed = [], []
  dream = made.dream
  made.dream = lambda *given: dreamed.append(given[-1]) or dream(*given)
  obs, carry = Counting().reset(), learner.initial(3)
  obs = {k: x for k, x in obs.items() if not k.startswith('log/')}
  with made.open(state, 'eval', 0) as recording:
    columns = recording._columns
    recording._columns = lambda *given: seen.append(given[3]) or columns(*given)
    for count in range(7):
      recording.watch(obs, carry, jax.random.key(0), count)
  assert dreamed == [1, 2, 4, 5]
  same = [np.array_equal(a['vector'], b['vector']) for a, b in seen]
  assert same == [True, False, False, True, False, False, True]


def warned(caplog):
  return [record.getMessage() for record in caplog.records]


def test_what_cannot_be_written_is_one_warning(
  play, unrecorded, tmp_path, caplog
):
  (tmp_path / 'videos').write_text('a file in its place')
  assert play() == play() == unrecorded
  (line,) = warned(caplog)
  assert line.startswith('No video of the evaluation, which goes on: ')


def test_a_disk_that_is_full_is_one_warning(
  play, unrecorded, tmp_path, monkeypatch, caplog
):
  def full(*given):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(film, 'write_video', full)
  assert play() == unrecorded
  (line,) = warned(caplog)
  assert 'No space left on device' in line
  assert not list((tmp_path / 'videos').iterdir())


def test_an_environment_that_cannot_be_drawn_is_shown_as_numbers(
  play, unrecorded, tmp_path, caplog
):
  assert play(EnvError('no display')) == unrecorded
  (line,) = warned(caplog)
  assert 'shows numbers alone' in line and 'no display' in line
  assert len(video(tmp_path)) == 2


def test_a_drawing_of_something_else_is_not_shown(
  play, unrecorded, tmp_path, caplog
):
  drawn = Drawn(shift=0.5)
  assert play(drawn) == unrecorded
  (line,) = warned(caplog)
  assert "something else ('vector')" in line
  # The video goes on, in its size, without what would be wrong.
  frames = video(tmp_path)
  assert abs(frames[:, 100, 100].astype(int) - [[40], [128]]).max() < 4


def test_a_twin_that_fails_is_closed(play, unrecorded, monkeypatch):
  drawn = Drawn()
  monkeypatch.setattr(Drawn, 'step', lambda self, action: 1 / 0)
  assert play(drawn) == unrecorded
  assert drawn.closed


def test_only_the_first_process_writes(play, unrecorded, tmp_path, monkeypatch):
  monkeypatch.setattr(processes, 'first', lambda: False)
  assert play() == unrecorded
  assert not list(tmp_path.iterdir())


def test_an_evaluation_that_fails_leaves_no_part_of_a_video(
  learner, state, tmp_path, monkeypatch
):
  monkeypatch.setattr(workflow, 'make_drawn_env', lambda parts: None)
  made = Recorder(None, learner, tmp_path)
  obs, carry = Counting().reset(), learner.initial(3)
  obs = {k: x for k, x in obs.items() if not k.startswith('log/')}
  with (
    contextlib.suppress(KeyboardInterrupt),
    made.open(state, 'eval', 0) as recording,
  ):
    recording.watch(obs, carry, jax.random.key(0), 0)
    raise KeyboardInterrupt
  assert not list(tmp_path.iterdir())


def test_drawings_of_the_same_seed_are_of_the_same_episode():
  pytest.importorskip('pygame')
  config = config_of(**{'evaluate.envs': 2})
  envs = workflow.make_eval_envs(config)
  drawn = workflow.make_drawn_env(config)
  with contextlib.closing(envs), contextlib.closing(drawn):
    twin, obs, action = Twin(drawn, ['vector']), envs.reset(), None
    pictures = []
    for step in range(3):
      first = {key: x[:1] for key, x in obs.items()}
      pictures.append(twin.follow(first, action))
      move = np.float32([[0.3 * step], [-0.5]])
      obs, action = envs.step({'action': move}), {'action': move[:1]}
  assert pictures[0].shape == (500, 500, 3)
  assert not np.array_equal(pictures[0], pictures[2])


def test_what_has_no_field_for_a_drawing_has_none():
  config = config_of(**{'env.name': 'track'})
  assert workflow.make_drawn_env(config) is None
  config = config_of(**{'env.gymnasium.render': True})
  assert workflow.make_drawn_env(config) is None


TRACK = {
  'env.name': 'track',
  'env.track.size': 8,
  'env.track.length': 8,
  '**.simple.mults': (4,),
  'evaluate.episodes': 2,
  'evaluate.envs': 2,
}


@pytest.mark.slow
@pytest.mark.parametrize(
  'changes, columns',
  [
    ({}, 3),
    ({'precision.compute': 'bfloat16'}, 3),
    ({'decoder.name': 'none'}, 1),
  ],
  ids=['images', 'bfloat16', 'no decoder'],
)
def test_runs_record_what_they_evaluate(
  tmp_path, monkeypatch, changes, columns
):
  monkeypatch.setattr(film, 'ffmpeg', lambda: '')
  config = config_of(**TRACK | changes)
  metrics = []
  for record in (False, True):
    how = {'training': False, 'record': record}
    with Run(config, tmp_path, **how) as run:
      metrics.append(run.evaluate())
    assert (tmp_path / 'videos').exists() == record
  assert metrics[0] == metrics[1]
  for name in ('eval', 'eval_sampled'):
    path = tmp_path / 'videos' / f'{name}_0000000000.gif'
    frames, _ = read_gif(path.read_bytes())
    assert frames.shape[2] == columns * (256 + 8)
    assert len(frames) == metrics[0]['eval/length'] + 1
