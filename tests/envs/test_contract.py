"""Environments that do not keep to gymnasium's interface are named as such."""

import copy
import inspect
import pickle

import gymnasium
import numpy as np
import pytest

from dreamer_nnx import envs
from dreamer_nnx.envs import contract, probe, single
from tests.envs.games import WHERE, Counter, start

ACTION = {'action': np.zeros(2, np.int32)}


class Answers(Counter):
  """Answers a step by what `change` makes of a right one, from `late` on."""

  def __init__(self, change, late=1):
    super().__init__(length=100)
    self.change, self.late = change, late

  def step(self, action):
    right = super().step(action)
    return self.change(*right) if self.time >= self.late else right


class Begins(Counter):
  def __init__(self, change):
    super().__init__()
    self.change = change

  def reset(self, *, seed=None, options=None):
    return self.change(*super().reset(seed=seed))


class OldReset(Counter):
  def reset(self):
    return super().reset()[0]


STEPS = {
  'four values': (lambda o, r, e, t, i: (o, r, e, i), 'it returned a tuple of'),
  'old': (lambda o, r, e, t, i: (o, r, e, i), 'the interface of gym before'),
  'three values': (lambda o, r, e, t, i: (o, r, e), 'must return 5 values'),
  'nothing': (lambda *right: None, 'it returned None'),
  'an array': (lambda o, *rest: o, 'it returned a ndarray'),
  'no reward': (lambda o, r, *rest: (o, None, *rest), 'reward .*it is None'),
  'rewards': (
    lambda o, r, *rest: (o, np.ones(3), *rest),
    r'reward must be one number, it is a ndarray of the shape \(3,\)',
  ),
  'text': (lambda o, r, *rest: (o, '1', *rest), "reward .* it is '1'"),
  'no end': (lambda o, r, e, *rest: (o, r, None, *rest), 'terminated must be'),
  'ends': (
    lambda o, r, e, t, i: (o, r, e, np.zeros(2), i),
    'truncated must be True or False, it is a ndarray of',
  ),
}


@pytest.mark.parametrize('late', [1, 3])
@pytest.mark.parametrize('change, message', STEPS.values(), ids=STEPS)
def test_a_wrong_answer_stops_the_run_at_once(change, message, late):
  env = start(lambda i: Answers(change, late))
  env.reset()
  with pytest.raises(
    envs.EnvError, match=f'{WHERE}: .* step {late}: .*{message}'
  ):
    for _ in range(late):
      env.step(ACTION)
  assert env.stats() == {'env/restarts': 0.0}
  env.close()


def test_it_is_said_below_the_wrappers_of_gymnasium():
  change = STEPS['old'][0]
  env = start(lambda i: LIMIT(LIMIT(Answers(change))))
  env.reset()
  with pytest.raises(envs.EnvError, match='the interface of gym before'):
    env.step(ACTION)
  env.close()


class Breaks(gymnasium.Wrapper):
  def step(self, action):
    return super().step(action)[:4]


@pytest.mark.parametrize('outmost', [False, True])
def test_a_wrapper_that_breaks_a_rule_is_told_of(outmost):
  wrap = (lambda env: Breaks(LIMIT(env))) if outmost else Breaks
  env = start(lambda i: wrap(Counter()))
  env.reset()
  with pytest.raises(envs.EnvError, match='step must return 5 values'):
    env.step(ACTION)
  env.close()


class Replaces(Counter):
  """Replaces its own step in the first reset, as what is compiled then does."""

  def __init__(self, change=lambda *right: right):
    super().__init__()
    self.change = change

  def reset(self, *, seed=None, options=None):
    self.step = self.compiled
    return super().reset(seed=seed)

  def step(self, action):
    raise AssertionError('this is not the step that it has')

  def compiled(self, action):
    return self.change(*super().step(action))


class Proxy(Counter):
  """Passes for another environment, and answers by itself."""

  def __init__(self, change):
    super().__init__()
    self.change, self.other = change, Counter()

  @property
  def unwrapped(self):
    return self.other

  def step(self, action):
    return self.change(*super().step(action))


class Forwards(Proxy):
  """Gives methods that are set to another environment."""

  def __setattr__(self, name, value):
    other = self.other if name in ('reset', 'step') else super()
    other.__setattr__(name, value)


LIMIT = lambda env: gymnasium.wrappers.TimeLimit(env, 50)
ORDER = lambda env: LIMIT(gymnasium.wrappers.OrderEnforcing(env))
DRAWN = lambda env: LIMIT(Passes(env))
PLAIN = lambda env: env
WRAPPED = pytest.mark.parametrize('wrap', [PLAIN, LIMIT, ORDER, DRAWN])


class Passes(gymnasium.Wrapper):
  """A wrapper of one's own."""


@WRAPPED
def test_an_environment_may_replace_its_step(wrap):
  env = start(lambda i: wrap(Replaces()))
  env.reset()
  ends = [env.step(ACTION)['is_last'].tolist() for _ in range(4)]
  assert ends == [[end] * 2 for end in (False, False, True, False)]
  env.close()


@WRAPPED
@pytest.mark.parametrize('kind', [Replaces, Proxy, Forwards])
def test_what_answers_is_checked_whatever_it_passes_for(kind, wrap):
  for name in ('no reward', 'text', 'ends'):
    change, message = STEPS[name]
    env = start(lambda i, change=change: wrap(kind(change)))
    env.reset()
    with pytest.raises(envs.EnvError, match=f'at step 1: .*{message}'):
      env.step(ACTION)
    env.close()


@WRAPPED
def test_whatever_is_true_ends_an_episode(wrap):
  change = lambda o, r, e, t, i: (o, r, 2 * e, 0, i)
  for kind in (Replaces, Proxy):
    env = start(lambda i, kind=kind: wrap(kind(change)))
    env.reset()
    ends = [env.step(ACTION)['is_last'].tolist() for _ in range(3)]
    assert ends == [[False] * 2, [False] * 2, [True] * 2]
    env.close()


class Modern(gymnasium.Wrapper):
  """Gives an environment of the old interface the new one."""

  def reset(self, *, seed=None, options=None):
    return self.env.reset(), {}

  def step(self, action):
    obs, reward, end, info = self.env.step(action)
    if self.env.unwrapped.time == 2:
      raise ZeroDivisionError('by the wrapper')
    return obs, reward, end, False, info


def test_a_wrapper_may_convert_the_old_interface(caplog):
  class Old(OldReset):
    def step(self, action):
      obs, reward, end, _, info = super().step(action)
      return obs, reward, end, info

  env = start(lambda i: Modern(Old()))
  assert env.reset()['is_first'].all()
  assert not env.step(ACTION)['is_last'].any()
  # Its crash is no fault of what it converts.
  assert env.step(ACTION)['is_last'].all()
  assert 'ZeroDivisionError: by the wrapper' in caplog.text
  env.close()


class Looks(gymnasium.Wrapper):
  """Looks one step ahead, in a copy."""

  def step(self, action):
    copy.deepcopy(self.env).step(action)
    pickle.loads(pickle.dumps(self.env)).step(action)
    return self.env.step(action)


@pytest.mark.parametrize('inside', [LIMIT, PLAIN])
def test_copies_are_environments_of_their_own(inside):
  env = start(lambda i: Looks(inside(Counter(length=9))))
  env.reset()
  steps = [env.step(ACTION)['vector'][0, 1] for _ in range(3)]
  assert steps == [1, 2, 3]
  env.close()


def test_what_is_explained_keeps_its_signature():
  inmost = Counter()
  before = inspect.signature(inmost.reset)
  contract.checked(Passes(inmost))
  assert inspect.signature(inmost.reset) == before


class Reuses(Counter):
  """Writes each observation into the same array."""

  def __init__(self):
    super().__init__(length=100)
    self.kept = np.zeros(2)

  def _obs(self):
    self.kept[:] = super()._obs()
    return self.kept


@WRAPPED
def test_a_probe_sees_the_steps_that_are_passed_on(wrap):
  make = single.Wrapped(lambda i: wrap(Reuses()), single.Options(), WHERE)
  looked = probe.Probe(lambda: make(0))
  assert looked.start()
  assert not looked.reset(0)[0]
  found, *_ = looked.step(0)
  assert ['changed' in str(finding) for finding in found] == [True]
  looked.close()


def test_numbers_of_many_types_are_numbers():
  types = iter([1, True, np.float32(2), np.int64(3), np.ones(1), np.array(4)])
  change = lambda o, r, e, *rest: (o, next(types), np.bool_(e), *rest)
  env = single.Wrapped(lambda i: Answers(change), single.Options(), WHERE)(0)
  env.reset()
  rewards = [env.step(1)[1] for _ in range(6)]
  assert rewards == [1, 1, 2, 3, 1, 4]
  assert {type(reward) for reward in rewards} == {float}


@pytest.mark.parametrize(
  'change, message',
  [
    (lambda o, i: o, 'reset must return .observation, info., it returned'),
    (lambda o, i: (o, 3), 'reset must return .* it returned a tuple of 2'),
    (lambda o, i: None, 'it returned None'),
    (lambda o, i: (o[:1], i), r"observation 'vector': .* \(1,\), its space"),
  ],
)
def test_a_wrong_reset_stops_the_run_at_once(change, message):
  env = start(lambda i: Begins(change))
  with pytest.raises(envs.EnvError, match=f'{WHERE}: .*{message}'):
    env.reset()
  env.close()


def test_a_reset_without_a_seed_is_the_old_interface():
  env = start(lambda i: OldReset())
  with pytest.raises(envs.EnvError, match=f'{WHERE}: .*reset must take seed'):
    env.reset()
  env.close()


@pytest.mark.parametrize('workers', ['sync', 'async'])
@pytest.mark.parametrize('failure', ['raise', 'die'])
def test_failing_first_steps_of_all_stop_the_run(workers, failure, caplog):
  if (workers, failure) == ('sync', 'die'):
    return
  make = lambda i: Counter(fail_at=1, failure=failure)
  env = start(make, workers)
  env.reset()
  causes = {'raise': 'the physics broke', 'die': 'its process died'}
  cause = causes[failure]
  with pytest.raises(
    envs.EnvError, match=f'environment 0 at step 1: .*{cause}'
  ):
    env.step(ACTION)
  assert not caplog.text
  env.close()


def test_failing_first_steps_of_some_do_not():
  env = start(lambda i: Counter(fail_at=1 if i else 0))
  env.reset()
  step = env.step(ACTION)
  assert step['is_last'].tolist() == env.cut.tolist() == [False, True]
  assert not env.step(ACTION)['is_last'].any() and not env.cut.any()
  env.close()


def test_a_first_reset_that_fails_is_tried_twice():
  made = []

  def fails(index):
    made.append(index)
    return Begins(lambda *answer: 1 / 0)

  env = start(fails)
  with pytest.raises(envs.EnvError, match='ZeroDivisionError'):
    env.reset()
  assert made == [0, 0]
  env.close()


@pytest.mark.parametrize('workers', ['sync', 'async'])
def test_an_environment_that_exits_is_one_that_crashed(workers):
  only = lambda i: Counter(fail_at=2 if i else 0, failure='exit')
  env = start(only, workers)
  env.reset()
  env.step(ACTION)
  assert env.step(ACTION)['is_last'].tolist() == [False, True]
  assert env.cut.tolist() == [False, True]
  assert env.stats() == {'env/restarts': 1.0}
  env.close()
