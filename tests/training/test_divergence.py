"""The first array of an update that is not finite, found on the device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dreamer_nnx.nn.slow_copy import SlowCopy
from dreamer_nnx.registry import Choice, Part
from dreamer_nnx.slots import OPTIMIZER
from dreamer_nnx.training import loss_scale, sharding
from dreamer_nnx.training.divergence import Diverged, first_bad, labels
from dreamer_nnx.training.norms import NONE, Squares
from dreamer_nnx.training.step import Learner
from tests.agent.parts import Encoder, make_agent, make_batch
from tests.breaking import poisoned

B, T = 4, 3
BATCH = make_batch(B, T)
NAMES = ('a', 'b/x', 'b/y', 'c')
JOINED = ((), ('a', 'b/y'), NAMES)


class Steep(Encoder):
  """Its gradient is NaN where all it sees is zero; its output never is."""

  def __call__(self, obs):
    size = jnp.square(obs['vector']).sum() * self.kernel[...].sum()
    return super().__call__(obs) + 0 * jnp.sqrt(jnp.abs(size))


def arrays(**bad):
  random = np.random.default_rng(0)
  made = {name: random.normal(size=(2, 3)) for name in NAMES}
  for name, value in bad.items():
    made[name.replace('_', '/')][1, 1] = value
  return {name: jnp.asarray(x, jnp.float32) for name, x in made.items()}


@pytest.mark.parametrize('joined', JOINED, ids=len)
@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf, 2e19])
def test_the_first_bad_array_is_found_wherever_it_is(joined, value):
  assert Squares(arrays(), joined).first_bad() == NONE
  assert Squares(arrays(a=1e18), joined).first_bad() == NONE
  for place, name in enumerate(NAMES):
    later = dict.fromkeys(NAMES[place:], value)
    found = Squares(arrays(**later), joined).first_bad()
    assert found == place, name


@pytest.mark.parametrize('joined', JOINED, ids=len)
def test_norms_are_the_same_however_they_are_summed(joined):
  flat = np.concatenate([np.ravel(x) for x in arrays().values()])
  norm = Squares(arrays(), joined).norm()
  np.testing.assert_allclose(norm, np.linalg.norm(flat), rtol=1e-6)


def test_short_formats_are_summed_in_float32():
  # The square of 300 is beyond float16.
  x = Squares({'a': jnp.full(4, 300, jnp.float16)})
  assert x.first_bad() == NONE and x.norm() == 600


def test_losses_come_before_gradients_parameters_and_statistics():
  names = labels(['rew', 'dyn'], NAMES, ['norm'])
  good = jnp.ones(())

  def name(loss=1.0, grads=1.0, params=1.0, statistic=1.0):
    place = first_bad(
      {'rew': good * loss, 'dyn': good},
      Squares(arrays(c=grads)),
      Squares(arrays(a=params)),
      {'norm': jnp.array([np.inf, statistic])},
    )
    return None if place == NONE else names[place]

  bad = np.nan
  assert name() is None
  assert name(bad, bad, bad, bad) == 'the loss rew'
  assert name(1, bad, bad, bad) == 'the norm of the gradient of c'
  assert name(1, 1, bad, bad) == 'the norm of the parameter a'
  assert name(1, 1, 1, bad) == 'the statistic norm'


def make_learner(optimizer=None, encoder=Encoder, **kw):
  return Learner(
    functools.partial(
      make_agent, encoder=encoder, slow=Part(SlowCopy, every=2)
    ),
    optimizer or Choice(OPTIMIZER, 'dreamer', lr=0.01, warmup=0)(),
    sharding.make_sharding(devices=jax.devices()[:1]),
    batch_length=T,
    **kw,
  )


def found_after(learner, batches, **changes):
  """What `diverged` says after each batch."""
  state, carry = learner.init(0), learner.initial(B)
  state |= {k: jnp.asarray(x) for k, x in changes.items()}
  found = []
  for batch in batches:
    state, carry, _, metrics = learner.train_step(state, carry, batch)
    found.append(learner.diverged(state))
  return found, state, carry, metrics


def huge(batch=BATCH):
  # The square of the largest number is beyond float32.
  vector = np.where(np.arange(3) == 1, 1e25, batch['vector'])
  return batch | {'vector': vector.astype(np.float32)}


def test_a_loss_is_recorded_once():
  found, *_ = found_after(make_learner(), [BATCH, huge(), BATCH, BATCH])
  first = (2, 'the loss dyn')
  assert found == [None, first, first, first]


def test_a_gradient_is_recorded_where_the_losses_are_finite():
  zeros = BATCH | {'vector': np.zeros_like(BATCH['vector'])}
  found, _, _, metrics = found_after(
    make_learner(encoder=Steep), [BATCH, BATCH, zeros]
  )
  assert np.isfinite(metrics['opt/loss'])
  first = 'the norm of the gradient of encoder/kernel'
  assert found == [None, None, (3, first)]


@pytest.mark.parametrize('name', ['behavior/policy/', 'dynamics/recur'])
def test_a_parameter_that_only_the_optimizer_spoils_is_recorded(name):
  learner = make_learner(poisoned(at=2, name=name))
  found, state, *_ = found_after(learner, [BATCH] * 3)
  (full,) = (x for x in learner.layout.trained if x.startswith(name))
  first = (2, f'the norm of the parameter {full}')
  assert np.isnan(state[full]).all()
  assert found == [None, first, first]


@pytest.fixture(scope='module')
def scaled():
  return make_learner(loss_scaling=True)


def test_overflows_that_the_scale_skips_are_none(scaled):
  found, state, carry, _ = found_after(scaled, [huge(), BATCH] * 2)
  assert found == [None] * 4
  assert state['loss_scale'] == 2500
  assert jax.tree.all(jax.tree.map(lambda x: np.isfinite(x).all(), carry))


def test_a_carry_that_overflowed_begins_anew():
  clear = loss_scale.zero_not_finite({'a': jnp.array([1, np.nan, -np.inf])})
  np.testing.assert_array_equal(clear['a'], [1, 0, 0])
  assert loss_scale.zero_not_finite(jnp.array([True, False])).dtype == bool


def test_an_overflow_at_the_smallest_scale_is_divergence(scaled):
  found, *_ = found_after(
    scaled, [BATCH, huge(), huge()], loss_scale=np.float32(2e-4)
  )
  assert found == [None, None, (3, 'the loss dyn')]


def test_a_hundred_overflows_in_a_row_are_divergence(scaled):
  count = {'optimizer/notfinite_count': np.int32(98)}
  found, *_ = found_after(scaled, [huge(), huge()], **count)
  assert found == [None, (2, 'the loss dyn')]
  found, *_ = found_after(scaled, [huge(), BATCH, huge()], **count)
  assert found == [None] * 3


def test_a_parameter_is_divergence_under_a_scale_too():
  learner = make_learner(poisoned(at=1, name='cont/'), loss_scaling=True)
  found, *_ = found_after(learner, [BATCH])
  assert found == [(1, 'the norm of the parameter cont/kernel')]


def test_the_message_says_what_when_and_the_rest():
  error = Diverged(12, 'the loss rew', 40)
  assert str(error) == (
    'Training diverged: in update 12 the loss rew was not finite, found at '
    'environment step 40.'
  )
  assert str(error.with_advice('Go back.')) == f'{error} Go back.'


def test_the_record_is_the_same_on_every_device():
  learner = make_learner(optax.sgd(0.1))
  assert learner.abstract['diverged'].sharding.is_fully_replicated
