"""Traces of a few updates."""

import jax.numpy as jnp

from dreamer_nnx.training.profiler import Profiler


def watch(profiler, updates):
  for count in range(updates):
    profiler(100 + count, {'loss': jnp.ones(()) * count})


def test_the_updates_between_begin_and_end_are_traced(tmp_path, capsys):
  profiler = Profiler(tmp_path / 'profile', begin=2, end=5)
  watch(profiler, 8)
  profiler.close()
  traces = list(tmp_path.rglob('*.xplane.pb'))
  assert len(traces) == 1
  expected = f'Trace of 3 updates: {tmp_path}/profile\n'
  assert capsys.readouterr().out == expected


def test_a_run_that_ends_early_keeps_its_trace(tmp_path, capsys):
  profiler = Profiler(tmp_path, begin=2, end=50)
  watch(profiler, 4)
  profiler.close()
  assert list(tmp_path.rglob('*.xplane.pb'))
  assert 'Trace of 2 updates' in capsys.readouterr().out


def test_nothing_is_traced_before_the_first(tmp_path):
  profiler = Profiler(tmp_path / 'profile', begin=5)
  watch(profiler, 4)
  profiler.close()
  assert not (tmp_path / 'profile').exists()
