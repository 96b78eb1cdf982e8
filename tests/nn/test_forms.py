"""Forms for a CPU give what those for accelerators give."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamer_nnx.nn import forms
from dreamer_nnx.nn.forms import (
  FEW_CHANNELS,
  FEW_ROWS,
  MANY_IMAGES,
  NUMBERS,
  Portions,
  in_portions,
  portion,
)
from dreamer_nnx.nn.precision import Precision

X = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)
Y = np.arange(1, 7, dtype=np.float32)


def mixed(x, y):
  return jnp.tanh(x).sum((1, 2)) * y


@pytest.mark.parametrize('size', [1, 2, 3, 6])
def test_rows_and_gradients_do_not_depend_on_the_size(size):
  def total(x, y):
    return (in_portions(mixed, size, x, y) * Y[::-1]).sum()

  found = jax.jit(lambda x, y: in_portions(mixed, size, x, y))(X, Y)
  np.testing.assert_allclose(found, mixed(X, Y), rtol=1e-6)
  grads = jax.grad(total, argnums=(0, 1))(X, Y)
  expected = jax.grad(lambda x, y: (mixed(x, y) * Y[::-1]).sum(), (0, 1))(X, Y)
  for a, b in zip(grads, expected, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize(
  ('rows', 'numbers', 'expected'),
  [
    (12, NUMBERS // 5, 4),  # 5 fit, and 4 divides 12.
    (12, 1, 12),
    (12, NUMBERS + 1, 1),
    (7, NUMBERS // 3, 1),
  ],
)
def test_a_portion_fits_and_divides(rows, numbers, expected):
  assert portion(rows, numbers) == expected


CPU, OTHER = Precision(device='cpu'), Precision(device='accelerator')


def test_only_a_cpu_works_on_portions(monkeypatch):
  seen = []

  def function(x, y):
    seen.append(len(x))
    return mixed(x, y)

  monkeypatch.setattr('dreamer_nnx.nn.forms.NUMBERS', 2)
  few, every = Portions(1, CPU), Portions(1, OTHER)
  assert few.few and not every.few
  np.testing.assert_allclose(few(function, X, Y), mixed(X, Y), rtol=1e-6)
  assert set(seen) == {2}
  np.testing.assert_array_equal(every(function, X, Y), mixed(X, Y))
  assert seen[-1] == len(X)


def test_windows_are_folded_where_that_is_fast():
  folds = forms.folds_windows
  assert folds(FEW_CHANNELS, MANY_IMAGES, CPU)
  assert not folds(FEW_CHANNELS + 1, MANY_IMAGES, CPU)
  assert folds(FEW_CHANNELS // 4, MANY_IMAGES - 1, CPU)
  assert not folds(FEW_CHANNELS, MANY_IMAGES - 1, CPU)
  assert folds(512, 1, OTHER)


def test_few_rows_are_counted_over_all_leading_axes():
  assert forms.few_rows(FEW_ROWS // 2, 2) and forms.few_rows()
  assert not forms.few_rows(FEW_ROWS // 2, 3)


def test_only_the_forms_ask_where_they_run():
  package = pathlib.Path(forms.__file__).parents[1]
  asking = {
    path.relative_to(package).as_posix()
    for path in package.rglob('*.py')
    if re.search(r'\bon_cpu\b', path.read_text('utf-8'))
  }
  assert asking == {'nn/forms.py', 'nn/precision.py'}
