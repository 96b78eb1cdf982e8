"""Processes that differ are told what differs, and where."""

import sys

from dreamer_nnx.training import agreement


def test_alike_there_is_nothing_to_tell():
  one = agreement.identity({'seed': 0}, (), {'mode': 'train'})
  assert agreement.differences([one, dict(one)]) == []
  agreement.check(one)
  assert one['config.seed'] == '0' and one['package jax'] != 'not installed'


def test_every_difference_is_named_with_its_processes():
  one = {'config.seed': '0', 'package jax': '0.10.2', 'python': '3.11.2'}
  other = one | {'config.seed': '1'}
  third = {k: v for k, v in one.items() if k != 'package jax'}
  assert agreement.differences([one, other, third]) == [
    'config.seed is 0 in processes 0 2, 1 in process 1',
    'package jax is 0.10.2 in processes 0 1, absent in process 2',
  ]


def test_a_plugin_is_compared_by_its_text(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(tmp_path)
  found = []
  for number in range(2):
    (tmp_path / 'compared_plugin.py').write_text(f'NUMBER = {number}\n')
    __import__('compared_plugin')
    found.append(agreement.identity({}, ('compared_plugin',), {}))
    del sys.modules['compared_plugin']
  (line,) = agreement.differences(found)
  assert line.startswith('plugin compared_plugin is ')


def test_a_plugin_is_compared_by_all_of_its_package(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(tmp_path)
  folder = tmp_path / 'compared_package'
  (folder / 'parts').mkdir(parents=True)
  (folder / '__init__.py').touch()
  __import__('compared_package')
  found = []
  for number in (0, 1, 1):
    (folder / 'parts' / 'encoder.py').write_text(f'NUMBER = {number}\n')
    found.append(agreement.identity({}, ('compared_package',), {}))
  del sys.modules['compared_package']
  assert agreement.differences(found[1:]) == []
  (line,) = agreement.differences(found[:2])
  assert line.startswith('plugin compared_package is ')
