"""What a run tells of an evaluation."""

import json
import types

import pytest

from dreamer_nnx import config as configs
from dreamer_nnx import evaluations
from dreamer_nnx.training.evaluate import Returns
from dreamer_nnx.training.progress import Progress
from dreamer_nnx.training.record import CheckpointError, Record


@pytest.mark.parametrize(
  'name, path',
  [
    ('custom', 'config.env.custom.time_limit'),
    ('catch', 'config.evaluate.max_steps'),
  ],
)
def test_the_option_that_limits_episodes_is_named(name, path):
  config = configs.base()
  config.env.name = name
  hint = evaluations.limit_hint(configs.resolve(config))
  assert hint.partition(' ')[0] == path


@pytest.fixture
def play(tmp_path, monkeypatch):
  """Evaluates in steps of a second; tells how the evaluation is asked for."""
  asked = []
  answers = {'problem': ''}

  def evaluate_policy(config, learner, state, mode, stop, progress, envs):
    asked.append((state, mode))
    progress(2, 2, 10)
    return Returns((1.0, 3.0), (4, 6), 1, answers['problem'])

  envs = types.SimpleNamespace(
    close=lambda: print('closed'),
    stats=lambda: {'env/restarts': 0.0, 'game/score': 7.0},
  )
  workflow = evaluations.workflow
  monkeypatch.setattr(workflow, 'evaluate_policy', evaluate_policy)
  monkeypatch.setattr(workflow, 'make_eval_envs', lambda parts: envs)

  def play(policy, stop=False, problem=''):
    answers['problem'] = problem
    played = evaluations.Evaluations(
      None, None, tmp_path / 'evaluations.jsonl', lambda: stop
    )
    with Progress(1) as progress:
      found = played.play('state', 7, 'trained', policy, progress)
    return types.SimpleNamespace(
      found=found, asked=asked, incomplete=played.incomplete
    )

  return play


def test_policies_have_metrics_of_their_own(play, capsys):
  greedy, sampled = play('greedy'), play('sampled')
  assert greedy.found['eval/return'] == 2.0
  assert sampled.found['eval_sampled/length'] == 5.0
  assert not greedy.found.keys() & sampled.found.keys()
  assert greedy.found['eval/game/score'] == 7.0
  assert sampled.found['eval_sampled/game/score'] == 7.0
  assert not [key for key in greedy.found if 'restarts' in key]
  assert sampled.asked == [('state', 'mode'), ('state', 'sample')]
  assert 'Return trained, sampled: 2.00' in capsys.readouterr().out


def test_an_evaluation_that_was_stopped_is_not_told(play, tmp_path, capsys):
  assert play('greedy', stop=True).found == {}
  assert capsys.readouterr().out == 'closed\n'
  assert not list(tmp_path.iterdir())


def test_an_incomplete_evaluation_is_told_and_ranks_nothing(
  play, tmp_path, capsys
):
  played = play('greedy', problem='the simulator is gone')
  assert played.incomplete and played.found == {}
  assert not play('greedy').incomplete
  out = capsys.readouterr().out
  assert out.index('Return trained, greedy: 2.00') < out.index('closed')
  assert 'The evaluation is incomplete: the simulator is gone' in out
  assert '1 episode was cut by faults and not counted' in out
  lines = (tmp_path / 'evaluations.jsonl').read_text().splitlines()
  assert json.loads(lines[0])['problem'] == 'the simulator is gone'
  assert json.loads(lines[0])['eval/game/score'] == 7.0
  assert 'problem' not in json.loads(lines[1])


def test_an_agent_is_named_by_its_origin_until_it_is_trained(tmp_path):
  word = evaluations.agent_word
  assert word(0, {}, tmp_path) == 'untrained'
  Record(source={'restore': 'there'}).write(tmp_path / 'checkpoints')
  assert word(0, {}, tmp_path) == 'restored'
  assert word(0, {'import_reference': 'x'}, tmp_path) == 'imported'
  (tmp_path / 'checkpoints' / 'start.json').write_bytes(b'out of reach')
  with pytest.raises(CheckpointError):
    word(0, {}, tmp_path)
  # A workdir out of reach ends no evaluation while a run trains.
  assert word(1, {}, tmp_path) == 'trained'
