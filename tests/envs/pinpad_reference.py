"""Loads the Pin Pad of the reference with stand-ins for what it imports."""

import importlib.util
import sys
import types


class Spawns:
  """A random state that draws what it is told."""

  def __init__(self):
    self.index = 0

  def randint(self, count):
    assert self.index < count
    return self.index


def load(path, monkeypatch):
  """Returns the class of the file `embodied/envs/pinpad.py`."""
  elements, embodied = (
    types.ModuleType('elements'),
    types.ModuleType('embodied'),
  )
  elements.Space = lambda *arguments: arguments
  embodied.Env = object
  monkeypatch.setitem(sys.modules, 'elements', elements)
  monkeypatch.setitem(sys.modules, 'embodied', embodied)
  spec = importlib.util.spec_from_file_location('pinpad_of_the_reference', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.PinPad
