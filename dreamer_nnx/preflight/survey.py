"""Checks that need no compiling, in the order of a run's start."""

import contextlib

import jax

from dreamer_nnx import config as configs
from dreamer_nnx import env_check, workflow
from dreamer_nnx.contracts import Footprint
from dreamer_nnx.envs.trial import SHORT_STEPS, Trial
from dreamer_nnx.initial_state import taken
from dreamer_nnx.preflight import components, memory, places, schedule
from dreamer_nnx.preflight.request import Request
from dreamer_nnx.preflight.table import ERROR, OK, WARNING, Row, Table
from dreamer_nnx.saved import check_replay
from dreamer_nnx.show import size
from dreamer_nnx.training import checkpoint, devices
from dreamer_nnx.training import sharding as meshes
from dreamer_nnx.training.async_acting import check_alone
from dreamer_nnx.training.batch_check import (
  StepSpaces,
  abstract_batch,
  step_spaces,
)
from dreamer_nnx.training.step import Learner


class Survey:
  """Looks at one thing after the other, as far as those before it are there.

  Attributes:
    learner: None if no agent can be built.
    batch: Shape and format of a batch, as soon as there is a replay.
    footprint: Of the replay of one process.
  """

  def __init__(self, request: Request, table: Table):
    self.request, self.table = request, table
    self.parts = request.parts
    self.train = self.parts['train']()
    self.begun = places.Begun()
    self.sharding: meshes.Sharding | None = None
    self.trial: Trial | None = None
    self.learner: Learner | None = None
    self.batch: StepSpaces = {}
    self.footprint = Footprint(0)

  def look(self) -> None:
    """Adds the rows."""
    fields = configs.leaves(configs.resolve(self.parts))
    self.table.add(Row('config', f'{len(fields)} fields, all in their ranges'))
    self.table.add(*components.plugins(self.parts))
    self.table.add(*components.packages(self.parts))
    with contextlib.ExitStack() as stack:
      locked = self._look_at_workdir(stack)
      self._look_at_callbacks()
      self._look_at_devices()
      self._look_at_environment()
      if self.trial and self.trial.obs_space:
        self._look_at_agent()
      if self.learner:
        self._look_at_replay(locked)
    self._look_at_room()

  @property
  def spaces(self) -> tuple:
    return self.trial.obs_space, self.trial.action_space

  def _look_at_workdir(self, stack: contextlib.ExitStack) -> bool:
    request = self.request
    if not request.workdir:
      return False
    with self.table.of('workdir'):
      step = places.enter(request, stack)
      what = 'a new run' if step is None else f'goes on from step {step}'
      self.table.add(Row('workdir', f'{request.workdir}: {what}'))
      if step is not None:
        with self.table.of('checkpoint'):
          self.begun = places.begun(request, step)
      return True
    return False

  def _look_at_callbacks(self) -> None:
    with self.table.of('callbacks'):
      callbacks = workflow.make_callbacks(self.parts)
      callbacks.restore(self.begun.meta.get('callbacks', {}))
      callbacks.state()

  def _look_at_devices(self) -> None:
    count, train = self.request.processes, self.train
    with self.table.of('devices'):
      precision, here = self.parts['precision'](), jax.local_devices()
      dtype = precision.compute_dtype
      text = devices.described(here, dtype)
      each = f' in each of {count} processes' if count > 1 else ''
      self.table.add(Row('devices', f'{text}{each}'))
      if warning := devices.unused(jax.default_backend()):
        self.table.add(Row('devices', warning, WARNING))
      if devices.emulated(here[0], dtype):
        text = f'{here[0].device_kind} has no {dtype.__name__}, and emulates it'
        remedy = 'Set config.precision.compute=auto, or float32.'
        self.table.add(Row('devices', f'{text}.', WARNING, remedy))
    with self.table.of('batch'):
      mesh = self.parts['mesh']()
      if count == 1:
        sharding = meshes.make_sharding(mesh)
      else:
        sharding = meshes.planned_for(mesh, count)
      _, rows = workflow.shares(train, count)
      if train.act_async:
        check_alone(count)
      sharding.check_batch(train.batch_size)
      self.sharding = sharding
      self.table.add(
        Row('batch', f'{train.batch_size} rows, {rows} of each process')
      )

  def _look_at_environment(self) -> None:
    with self.table.of('environment'):
      self.trial = env_check.tried(self.parts, SHORT_STEPS)
      name, steps = self.parts['env'].name, f'{SHORT_STEPS} steps'
      self.table.add(
        Row('environment', f'{name}: {steps} of {self.trial.num_envs} played')
      )
      for x in self.trial.findings:
        level = x.level if x.level in (ERROR, WARNING) else OK
        self.table.add(Row('environment', x.what, level, x.remedy))
    if self.trial and self.trial.obs_space:
      seen, acted = (
        ', '.join(f'{k} {space}' for k, space in sorted(spaces.items()))
        for spaces in self.spaces
      )
      self.table.add(Row('spaces', f'{seen}\n-> {acted}'))

  def _look_at_agent(self) -> None:
    sharding = self.sharding or meshes.make_sharding(
      meshes.MeshOptions(), jax.local_devices()[:1]
    )
    with self.table.of('agent'):
      learner = workflow.make_learner(self.parts, *self.spaces, sharding)
      shapes, trained = learner.layout.shapes, learner.layout.trained
      count = sum(shapes[name].size for name in trained)
      self.table.add(Row('agent', f'{count:,} trained parameters'))
      if unsplit := learner.unsplit():
        self.table.add(Row('agent', '\n'.join(('Not split:', *unsplit))))
      self.learner = learner
    if self.learner and self.begun.root:
      with self.table.of('checkpoint'), self.begun.changes.named():
        self.begun.changes.check_spaces(*self.spaces)
        checkpoint.check(self.begun.root, self.learner.abstract)
        self.table.add(Row('checkpoint', str(self.begun.changes)))
    elif self.learner and self.request.source.flags():
      with self.table.of('source'):
        count = len(taken(self.learner, self.request.source))
        self.table.add(Row('source', f'{count} arrays are taken'))

  def _look_at_replay(self, locked: bool) -> None:
    request, begun = self.request, self.begun
    with self.table.of('replay'):
      replay = workflow.make_replay(
        self.parts,
        *self.spaces,
        self.learner,
        request.workdir if locked else None,
        request.scratch,
        request.processes,
      )
      if begun.root:
        given = begun.meta, begun.done.number, request.workdir, begun.changes
        check_replay(replay, *given)
      self.footprint = getattr(replay, 'footprint', self.footprint)
      # What these warn of, the disks, has rows of its own.
      notes = [x for x in replay.notes if not x.startswith('Warning:')]
      self.table.add(Row('replay', '\n'.join(notes) or 'built'))
      length = replay.context + self.train.batch_length
      kept = step_spaces(*self.spaces, self.learner)
      self.batch = abstract_batch(kept, self.train.batch_size, length)

  def _look_at_room(self) -> None:
    begin = self.footprint.begin * self.request.processes
    known = begin if self.batch else None
    self.table.add(*schedule.rows(self.parts, known, self.begun.done))
    if self.learner:
      state = size(self.learner.abstract)
      self.table.add(*places.disk(self.request, state, self.footprint))
    if self.batch:
      need = memory.least(self.learner, self.batch)
      self.table.add(*self.memory(need))

  def memory(self, need: int) -> tuple[Row, ...]:
    """Rows for training that needs so many bytes of each device."""
    given = need, self.learner, self.footprint, self.train
    return tuple(memory.rows(*given))
