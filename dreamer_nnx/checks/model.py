"""Checks of encoders and dynamics."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dreamer_nnx import contracts
from dreamer_nnx.checks.tracing import (
  FLOATS,
  LENGTH,
  ROWS,
  Struct,
  a_key,
  copied,
  expect_alike,
  expect_array,
  expect_dict,
  expect_keys,
  expect_losses,
  expect_metrics,
  expect_rows,
  expect_tuple,
  flags,
  floats,
  inputs,
  named_leaves,
  refuse,
  told,
  traced,
)
from dreamer_nnx.errors import UserError
from dreamer_nnx.spacetypes import Space

Spaces = Mapping[str, Space]
STARTS = LENGTH - 1
LEADS = ((ROWS,), (ROWS, LENGTH))


def is_count(x: Any, low: int) -> bool:
  return isinstance(x, int) and not isinstance(x, bool) and x >= low


def check_encoder(
  encoder: contracts.Encoder, obs_space: Spaces, path: str
) -> None:
  """Checks the tokens of (2,) and of (2, 3) observations.

  Args:
    obs_space: The keys that are encoded.
    path: Config path of the component.

  Raises:
    UserError: It breaks its contract.
  """
  check_token_size(encoder, path)
  size = encoder.token_size
  what = 'tokens of {} observations'

  def encode(lead):
    def trace(obs):
      tokens = copied(encoder)(obs)
      expect_array(tokens, (*lead, size), FLOATS, what.format(lead))

    traced(path, what.format(lead), trace, inputs(obs_space, lead))

  each_lead(encode, path)


def check_token_size(encoder: contracts.Encoder, path: str) -> None:
  """Checks what dynamics are built by; without a trace.

  Raises:
    UserError: It is no count.
  """
  if not is_count(encoder.token_size, 1):
    refuse('token_size', 'an int of 1 or more', encoder.token_size, path)


def each_lead(trace, path: str) -> None:
  """Traces with one leading axis, and with two.

  Raises:
    UserError: The first goes, and the second raises an error.
  """
  trace(LEADS[0])
  try:
    trace(LEADS[1])
  except UserError:
    raise
  except Exception as error:
    text = f'{type(error).__name__}: {str(error).partition(chr(10))[0]}'
    raise UserError(
      f'promised any number of leading batch axes; {LEADS[0]} goes, and '
      f'{LEADS[1]} raised {text}',
      path,
    ) from error


@dataclasses.dataclass(frozen=True)
class Seen:
  """Shapes of what dynamics return, for checks of what reads them.

  Args:
    tokens, action, is_first: (B, T, ...), as `observe` is given them.
    carry: Of B rows.
    observed: Of (B, T, ...) steps.
    losses: Names of the losses.
  """

  tokens: Struct
  action: dict[str, Struct]
  is_first: Struct
  carry: Any
  observed: contracts.Observed
  losses: tuple[str, ...] = ()


def check_dynamics(
  dynamics: contracts.Dynamics,
  token_size: int,
  action_space: Spaces,
  dtype: Any,
  path: str,
) -> Seen:
  """Checks every function of dynamics.

  Args:
    dtype: The compute format, of features.

  Raises:
    UserError: They break their contract.
  """
  check_spaces(dynamics, path)
  check = _Check(dynamics, token_size, action_space, dtype, path)
  carry = check.initial()
  check.resume(carry)
  check.step(carry)
  observed = check.observe(carry)
  check.predict(carry, ROWS, 'a carry')
  starts = check.starts(carry, observed)
  check.predict(starts, ROWS * STARTS, 'the result of `starts`')
  lead = (ROWS, LENGTH)
  return Seen(
    check.tokens(lead),
    check.action(lead),
    flags(lead),
    carry,
    observed,
    losses=check.losses(observed),
  )


def check_spaces(dynamics: contracts.Dynamics, path: str) -> None:
  """Checks what is built by dynamics' spaces; without a trace.

  Raises:
    UserError: They are not sizes, shapes and formats by name.
  """
  expect_dict(dynamics.feat_space, 'feat_space', path)
  if not dynamics.feat_space:
    told('feat_space', 'one vector at least', 'none', path)
  for name, size in dynamics.feat_space.items():
    if not is_count(size, 1):
      refuse(f'feat_space[{name!r}]', 'an int of 1 or more', size, path)
  expect_dict(dynamics.entry_space, 'entry_space', path)
  for name, entry in dynamics.entry_space.items():
    if not hasattr(entry, 'shape') or not hasattr(entry, 'dtype'):
      refuse(f'entry_space[{name!r}]', 'a jax.ShapeDtypeStruct', entry, path)
  if not is_count(dynamics.context, 0):
    refuse('context', 'an int of 0 or more', dynamics.context, path)


@dataclasses.dataclass(frozen=True)
class _Check:
  dynamics: contracts.Dynamics
  token_size: int
  action_space: Spaces
  dtype: Any
  path: str

  def tokens(self, lead):
    return floats((*lead, self.token_size), self.dtype)

  def action(self, lead):
    return inputs(self.action_space, lead)

  def _given(self, lead):
    return self.tokens(lead), self.action(lead), flags(lead)

  def _traced(self, name, function, *args):
    call = lambda *args: function(copied(self.dynamics), *args)
    return traced(self.path, f'`{name}`', call, *args)

  def initial(self) -> Any:
    carry = self._traced('initial', lambda dynamics: dynamics.initial(ROWS))
    what = f'`initial({ROWS})`'
    if not jax.tree.leaves(carry):
      told(what, 'a carry of one array at least', 'none', self.path)
    expect_rows(carry, (ROWS,), what, self.path)
    for leaf in jax.tree.leaves(carry):
      if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        refuse(what, 'no typed keys in a carry', leaf, self.path)
    return carry

  def resume(self, carry) -> None:
    count = self.dynamics.context
    if not count:
      return
    lead = (ROWS, count)
    entry = {
      name: Struct((*lead, *s.shape), s.dtype)
      for name, s in self.dynamics.entry_space.items()
    }

    def trace(dynamics, tokens, action, is_first, entry):
      context = contracts.Context(tokens, action, is_first, entry)
      new = dynamics.resume(context)
      expect_alike(new, carry, '`resume`', '`initial`')

    self._traced('resume', trace, *self._given(lead), entry)

  def step(self, carry) -> None:
    def trace(dynamics, *args):
      self._check_observed(
        dynamics.step(*args, a_key()), carry, (ROWS,), 'step'
      )

    self._traced('step', trace, carry, *self._given((ROWS,)))

  def observe(self, carry) -> contracts.Observed:
    lead = (ROWS, LENGTH)

    def trace(dynamics, *args):
      result = dynamics.observe(*args, a_key())
      self._check_observed(result, carry, lead, 'observe')
      return result[1]

    return self._traced('observe', trace, carry, *self._given(lead))

  def _check_observed(self, result, carry, lead, name) -> None:
    expect_tuple(result, 'carry, observed', f'`{name}`')
    new, observed = result
    if not isinstance(observed, contracts.Observed):
      refuse(f'`{name}`', 'a contracts.Observed', observed)
    expect_alike(new, carry, f'carry of `{name}`', 'the one given')
    self._check_feat(observed.feat, lead, f'`{name}`')
    space, what = self.dynamics.entry_space, f'entry of `{name}`'
    expect_keys(observed.entry, space, what)
    for key, s in space.items():
      shape = (*lead, *s.shape)
      expect_array(observed.entry[key], shape, s.dtype, f'{what}[{key!r}]')
    expect_dict(observed.extra, f'extra of `{name}`')
    expect_rows(observed.extra, lead[:1], f'extra of `{name}`')

  def _check_feat(self, feat, lead, name) -> None:
    what = f'feat of {name}'
    expect_keys(feat, self.dynamics.feat_space, what)
    for key, size in self.dynamics.feat_space.items():
      expect_array(feat[key], (*lead, size), self.dtype, f'{what}[{key!r}]')

  def predict(self, carry, rows: int, of: str) -> None:
    what = f'`predict` from {of}'

    def trace(dynamics, carry, action):
      result = dynamics.predict(carry, action, a_key())
      expect_tuple(result, 'carry, feat', what)
      new, feat = result
      expect_alike(new, carry, f'carry of {what}', 'the one given')
      self._check_feat(feat, (rows,), what)

    self._traced('predict', trace, carry, self.action((rows,)))

  def starts(self, carry, observed) -> Any:
    count = STARTS
    what = f'`starts` of {count} steps of {ROWS} rows'
    trace = lambda dynamics, *args: dynamics.starts(*args, count)
    result = self._traced('starts', trace, carry, observed)
    if not jax.tree.leaves(result):
      told(what, 'one array at least', 'none', self.path)
    leaves = named_leaves(result)
    if not any(x.shape[:1] == (ROWS * count,) for _, x in leaves):
      promise = f'an array ({ROWS * count}, ...) at least'
      refuse(what, promise, leaves[0][1], self.path)
    for name, leaf in leaves:
      # What all steps of a row share may be kept once a row.
      if leaf.shape[:1] not in ((ROWS * count,), (ROWS,)):
        promise = f'an array ({ROWS * count}, ...), or ({ROWS}, ...)'
        refuse(f'{what}{name}', promise, leaf, self.path)
    return result

  def losses(self, observed) -> tuple[str, ...]:
    def trace(dynamics, observed):
      result = dynamics.losses(observed)
      expect_tuple(result, 'losses, metrics', '`losses`')
      expect_losses(result[0], ((ROWS, LENGTH),), '`losses`')
      expect_metrics(result[1], '`losses`')
      return result[0]

    return tuple(self._traced('losses', trace, observed))
