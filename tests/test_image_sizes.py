"""A run that observes images of two sizes, in steps of several frames."""

import json

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image

import dreamer_nnx
from dreamer_nnx import workflow
from dreamer_nnx.run import Run
from dreamer_nnx.training.checkpoint import load_meta
from tests import launcher, stored

pytestmark = pytest.mark.slow

ENV = 'tests.test_image_sizes:Cameras'
LENGTH, REPEAT = 6, 2
SMALL = {
  'env.name': 'custom',
  'env.custom.make': ENV,
  'env.custom.repeat': REPEAT,
  'loggers.names': ('jsonl',),
  'replay.chunked.chunk_size': 8,
  'replay.chunked.capacity': 1000,
  'agent.imag_length': 2,
  'train.envs': 1,
  'train.steps': 16,
  'train.batch_size': 2,
  'train.batch_length': 4,
  'train.train_ratio': 4.0,
  'train.log_every': 4,
  'train.report_every': 15,
  'evaluate.episodes': 1,
  'evaluate.envs': 1,
  'evaluate.sampled': False,
}
SHOWN = {'wide': (24, 32, 3), 'wrist': (12, 12, 1)}


class Cameras(gymnasium.Env):
  """Two cameras of different sizes; episodes of 6 steps of reward 1."""

  observation_space = spaces.Dict(
    {key: spaces.Box(0, 255, shape, np.uint8) for key, shape in SHOWN.items()}
  )
  action_space = spaces.Discrete(2)
  simulated = 0

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self.time = 0
    return self._look(), {}

  def step(self, action):
    self.time += 1
    Cameras.simulated += 1
    return self._look(), 1.0, self.time >= LENGTH, False, {}

  def _look(self):
    values = 40 * self.time, 200 - 20 * self.time
    return {
      key: np.full(shape, value, np.uint8)
      for (key, shape), value in zip(SHOWN.items(), values, strict=True)
    }


def lines(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """A run of 16 steps, and then of 8 more with another `repeat`."""
  folder = tmp_path_factory.mktemp('images') / 'run'
  more = {'train.steps': 24, 'env.custom.repeat': 3}
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(workflow, 'make_learner', launcher.learner)
    with Run(stored.config_of(**SMALL), folder) as run:
      run.train(evaluate=False)
      run.simulated = Cameras.simulated
      assert run.updates > 2
      run.play('greedy')
    with Run(stored.config_of(**SMALL | more), folder) as again:
      again.train(evaluate=False)
      again.play('greedy')
  return folder, run.simulated


def test_both_images_are_reconstructed_and_shown(workdir):
  folder, _ = workdir
  logged = lines(folder / 'metrics.jsonl')
  for key, (height, width, _) in SHOWN.items():
    losses = [x[f'train/loss/{key}'] for x in logged if 'train/opt/loss' in x]
    assert losses and np.isfinite(losses).all()
    (video, *_) = (folder / 'videos').glob(f'report_openloop_{key}_*.gif')
    with Image.open(video) as frames:
      # Small videos are enlarged.
      scale = frames.height // (3 * height + 4)
      assert frames.height == scale * (3 * height + 4)
      assert frames.width == scale * 2 * (width + 4)


def test_the_policy_and_the_world_model_take_and_give_both(workdir):
  folder, _ = workdir
  obs = {key: np.zeros(shape, np.uint8) for key, shape in SHOWN.items()}
  action, _ = dreamer_nnx.load_policy(folder)(obs)
  assert action in (0, 1)
  model = dreamer_nnx.load_world_model(folder)
  steps = {key: np.stack([x, x]) for key, x in obs.items()}
  imagined = model.imagine(model.observe(steps, np.zeros(2, int)), length=3)
  drawn = model.decode(imagined.feat)
  for key, shape in SHOWN.items():
    assert drawn[key].shape == (4, *shape) and drawn[key].dtype == np.uint8


def test_frames_are_counted_beside_environment_steps(workdir):
  folder, simulated = workdir
  # Each of the 4 episodes has a reset and 3 actions, of 2 frames each. Among
  # the frames resets count as actions do, as in curves that are published.
  assert simulated == 4 * LENGTH == (16 - 4) * REPEAT
  logged = lines(folder / 'metrics.jsonl')
  first = [x for x in logged if x['env_steps'] <= 16]
  assert len(first) >= 4
  assert all(x['frames'] == REPEAT * x['env_steps'] for x in first)
  # A resumed run goes on from its frames, by another number for each step.
  rest = [x for x in logged if x['env_steps'] > 16]
  assert rest[-1]['env_steps'] == 24
  assert all(x['frames'] == 32 + 3 * (x['env_steps'] - 16) for x in rest)
  counters = load_meta(folder)['counters']
  assert (counters['env_steps'], counters['frames']) == (24, 32 + 3 * 8)


def test_evaluations_tell_frames_and_lengths_are_of_actions(workdir):
  played = lines(workdir[0] / 'evaluations.jsonl')
  assert [(x['env_steps'], x['frames']) for x in played] == [(16, 32), (24, 56)]
  assert [x['eval/length'] for x in played] == [3, 2]
  assert [x['eval/return'] for x in played] == [LENGTH, LENGTH]
