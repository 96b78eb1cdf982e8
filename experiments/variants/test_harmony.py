"""HarmonyDream: where σ goes, and what it scales."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dreamer_nnx.errors import UserError
from dreamer_nnx.registry import Choice
from dreamer_nnx.slots import OPTIMIZER
from experiments.variants.harmony import Harmony
from experiments.variants.toys import Toy, compiled

FIELD = 'weighting.harmony.terms'
TERMS = {FIELD: ('vector', 'rew', 'dyn+rep')}
SIGMA = 'weighting/logs/'


@pytest.mark.parametrize(
  ('loss', 'scale'), [(0.05, 1.0), (2.0, 0.5), (300.0, 1.0)]
)
def test_sigma_of_a_constant_loss_converges(loss, scale):
  optimizer = Choice(
    OPTIMIZER, 'dreamer', lr=1e-2, warmup=0, anneal=3000, schedule='linear'
  )()
  losses = {'a': jnp.full((2, 3), 0.4 * loss), 'b': jnp.full((), 0.6 * loss)}

  def total(params):
    harmony = Harmony(terms=('a+b',))
    nnx.update(harmony, {'logs': {'a+b': params['s']}})
    scaled = harmony(losses, {'a': scale, 'b': scale})
    return sum(x.mean() for x in scaled.values())

  def step(carry, _):
    params, state = carry
    updates, state = optimizer.update(jax.grad(total)(params), state, params)
    return (jax.tree.map(jnp.add, params, updates), state), None

  params = {'s': jnp.zeros(())}
  start = params, optimizer.init(params)
  run = compiled(lambda start: jax.lax.scan(step, start, length=3000)[0][0])
  effective = scale * loss
  expected = (effective + np.sqrt(effective**2 + 4 * effective)) / 2
  np.testing.assert_allclose(np.exp(run(start)['s']), expected, rtol=1e-2)


def slopes(toy, state):
  """Losses of the model by name, and the gradient of the total."""

  def total(params):
    loss, aux = toy.loss(toy.agent(state | params), toy.batch(0))
    return loss, aux['losses']

  params = {k: state[k] for k in toy.layout.trained}
  grads, losses = compiled(jax.grad(total, has_aux=True))(params)
  return losses, grads


@pytest.fixture(scope='module')
def found():
  """The gradients of the baseline, of the variant, and its losses."""
  # What the value does to the model is not the model's loss.
  patterns = TERMS | {'agent.repval_grad': False}
  # Below it the divergences would have no gradient.
  patterns |= {'dynamics.rssm.free_nats': 0.0}
  without = Toy('harmony', patterns | {'weighting.name': 'fixed'})
  toy, state = Toy('harmony', patterns), without.init()
  _, plain = slopes(without, state)
  sigmas = {term: 2.0 + i for i, term in enumerate(TERMS[FIELD])}
  logs = {SIGMA + term: jnp.log(sigma) for term, sigma in sigmas.items()}
  losses, grads = slopes(toy, toy.init() | state | logs)
  return plain, grads, losses, sigmas


def test_losses_of_acting_and_those_not_named_keep_their_scales(found):
  plain, grads, _, _ = found
  kept = [k for k in plain if k.startswith(('behavior/', 'cont/'))]
  assert any(np.any(plain[name]) for name in kept)
  for name in kept:
    np.testing.assert_allclose(grads[name], plain[name], atol=1e-6)


@pytest.mark.parametrize(
  ('part', 'term'),
  [('reward/', 'rew'), ('decoder/', 'vector'), ('dynamics/prior/', 'dyn+rep')],
)
def test_losses_of_the_model_are_divided_by_sigma(found, part, term):
  plain, grads, _, sigmas = found
  names = [k for k in plain if k.startswith(part)]
  assert any(np.any(plain[name]) for name in names) and sigmas[term] > 1.5
  for name in names:
    scaled = plain[name] / sigmas[term]
    np.testing.assert_allclose(grads[name], scaled, rtol=1e-4, atol=1e-6)


def test_sigma_has_the_gradient_of_its_term(found):
  _, grads, losses, sigmas = found
  sizes = {
    'vector': losses['vector'].mean(),
    'rew': losses['rew'].mean(),
    'dyn+rep': losses['dyn'].mean() + 0.1 * losses['rep'].mean(),
  }
  for term, sigma in sigmas.items():
    # In s = log σ.
    slope = -sizes[term] / sigma + sigma / (1 + sigma)
    np.testing.assert_allclose(grads[SIGMA + term], slope, rtol=1e-4)


def test_terms_are_checked():
  with pytest.raises(UserError, match=r'harmony\.terms.*twice'):
    Toy('harmony', {FIELD: ('rew', 'rew+con')})
  # A loss that there is not scales nothing.
  harmony = Harmony(terms=('pixels', 'rew+more'))
  harmony.logs['rew+more'][...] = jnp.log(3.0)
  found = harmony({'rew': jnp.full((2,), 6.0)}, {'rew': 0.5})
  np.testing.assert_allclose(found['rew'], [1 + np.log(4)] * 2, rtol=1e-6)
  assert found.keys() == {'rew'}
