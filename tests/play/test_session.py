"""What a page may ask for, and what it is told."""

import base64
import json

import numpy as np
import pytest

from dreamer_nnx.errors import UserError
from dreamer_nnx.play.moments import open_moments
from dreamer_nnx.play.session import Session


@pytest.fixture(scope='module')
def session(model):
  with open_moments(model.trained, trust_config=False) as moments:
    yield Session(model, moments)


def step(session, by, **more):
  return session.answer({'do': 'step', 'by': by, **more})


def pixels(shown):
  shape = shown['height'], shown['width'], shown['channels']
  data = base64.b64decode(shown['data'])
  return np.frombuffer(data, np.uint8).reshape(shape)


def test_an_episode_is_stepped_beside_the_dream(session):
  answer = session.answer({'do': 'reset', 'from': 'episode'})
  assert answer['where'] == 'a fresh episode'
  assert pixels(answer['dream']['image']).shape == (8, 8, 3)
  assert pixels(answer['truth']['seen']['image']).max() > 0
  ends = 0
  for number in range(1, 15):
    answer = step(session, 'person', action={'action': 1})
    json.dumps(answer, allow_nan=False)
    assert answer['step'] == number
    assert answer['action'] == {'action': 1}
    ends += bool(answer['truth'] and answer['truth']['last'])
  # The episode of 12 steps is over, and no new one is begun unasked.
  assert ends == 1
  assert answer['truth'] is None


def test_the_policy_takes_over(session):
  session.answer({'do': 'reset', 'from': 'episode'})
  taken = [step(session, 'sample')['action']['action'] for _ in range(12)]
  assert set(taken) <= {0, 1, 2}
  greedy = step(session, 'greedy')
  assert greedy['value'] is not None
  assert 0 <= greedy['cont'] <= 1


def test_a_recording_is_the_truth_as_long_as_it_is_followed(session):
  answer = session.answer(
    {'do': 'reset', 'from': 'replay', 'number': 2, 'place': 1}
  )
  assert answer['size'] >= 6
  assert 'sequence 3 of the replay, step 2' in answer['where']
  followed = step(session, 'recording')
  assert followed['truth']['name'] == 'recording'
  other = (followed['action']['action'] + 1) % 3
  recorded = session._moment.truth.recorded()
  if recorded is not None:
    other = (int(recorded['action'][0]) + 1) % 3
  assert step(session, 'person', action={'action': other})['truth'] is None
  with pytest.raises(UserError, match='no recorded action'):
    step(session, 'recording')


def test_eyes_follow_the_truth(session):
  session.answer({'do': 'reset', 'from': 'episode'})
  assert session.answer({'do': 'eyes', 'open': True}) == {'eyes': True}
  assert step(session, 'greedy')['eyes'] is True
  session.answer({'do': 'eyes', 'open': False})


@pytest.mark.parametrize(
  ('request_', 'words'),
  [
    (None, 'do = None: must be one of'),
    ([], 'do = None: must be one of'),
    ({'do': 'delete'}, 'must be one of reset, step, eyes'),
    ({'do': 'reset', 'from': '/etc'}, 'must be one of episode, replay'),
    ({'do': 'reset', 'from': 'replay', 'number': -1}, 'whole number from 0'),
    ({'do': 'reset', 'from': 'replay', 'number': 1e9}, 'whole number from 0'),
    ({'do': 'reset', 'from': 'replay', 'number': 10**6}, 'must be below 1024'),
    ({'do': 'reset', 'from': 'replay', 'place': True}, 'whole number from 0'),
    ({'do': 'step', 'by': 'root'}, 'must be one of person'),
    ({'do': 'step', 'by': 'person'}, 'one value for each of action'),
    ({'do': 'step', 'by': 'person', 'action': {'x': 1}}, 'each of action'),
    ({'do': 'step', 'by': 'person', 'action': {'action': 3}}, 'classes'),
    ({'do': 'step', 'by': 'person', 'action': {'action': 0.5}}, 'classes'),
    ({'do': 'step', 'by': 'person', 'action': {'action': [1]}}, 'shape'),
    ({'do': 'step', 'by': 'person', 'action': {'action': 'a'}}, 'shape'),
    ({'do': 'step', 'by': 'person', 'action': {'action': None}}, 'shape'),
    ({'do': 'step', 'by': 'person', 'action': {'action': 10**400}}, 'shape'),
  ],
)
def test_other_requests_are_refused(session, request_, words):
  session.answer({'do': 'reset', 'from': 'episode'})
  with pytest.raises(UserError, match=words):
    session.answer(request_)


def test_it_has_to_begin_somewhere(model):
  moments = open_moments(model.trained, trust_config=False)
  with moments, pytest.raises(UserError, match='Reset first'):
    step(Session(model, moments), 'greedy')
