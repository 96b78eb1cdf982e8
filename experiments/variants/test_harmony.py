"""HarmonyDream: where σ goes, and what it scales."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.variants.toys import Toy, compiled

FIELD = 'weighting.harmony.terms'
TERMS = {FIELD: ('vector', 'rew', 'dyn+rep')}
SIGMA = 'weighting/logs/'


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
