"""Records evaluations: the first episode of each, as a video."""

import contextlib
import functools
import pathlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import jax
import numpy as np

from dreamer_nnx import config as configs
from dreamer_nnx import dream_steps, spaces, workflow
from dreamer_nnx.envs.faults import describe
from dreamer_nnx.errors import UserError
from dreamer_nnx.notices import warn_once
from dreamer_nnx.recording import panels
from dreamer_nnx.recording.film import Film
from dreamer_nnx.recording.panels import Column
from dreamer_nnx.recording.twin import Twin
from dreamer_nnx.training import processes
from dreamer_nnx.training.layout import State
from dreamer_nnx.training.step import Learner

# Steps that are imagined before what is observed is taken up again.
OPEN_LOOP = 15
# Stands for what is not drawn any more.
GRAY = 128


class Recorder:
  """Makes a recording of each evaluation.

  Every process calls it alike; the first one records.

  Args:
    parts: Bound parts of the config.
    folder: Folder of this machine for the videos.
  """

  def __init__(
    self, parts: configs.Bound, learner: Learner, folder: pathlib.Path
  ):
    self._parts, self._learner, self._folder = parts, learner, folder
    self.watch = learner.compiled(dream_steps.watch)
    self.dream = learner.compiled(dream_steps.dream_on)

  def open(self, state: State, name: str, env_steps: int) -> 'Recording':
    """Begins to record an evaluation of a state.

    Args:
      name: Of the video, before the environment steps.
    """
    arrays = self._learner.acting(state, self._names)
    stem = self._folder / f'{name}_{env_steps:010d}'
    shown = processes.first()
    return Recording(self, arrays, self._parts, stem if shown else None)

  @property
  def obs_space(self) -> Mapping[str, Any]:
    """Spaces of the observations that are encoded."""
    return spaces.encoded(self._learner.layout.obs_space)

  @functools.cached_property
  def _names(self) -> frozenset[str]:
    """Names of the arrays that a recording reads."""

    def watched(agent, carry, obs, key):
      latent, told = dream_steps.watch(agent, carry, obs, key, 0)
      action = carry['action']
      return told, dream_steps.dream_on(agent, latent, action, key, 0)

    layout, carry = self._learner.layout, self._learner.abstract_carry(1)
    key = jax.random.key(0)
    return layout.read_by(watched, carry, layout.observed(1), key)


class Recording:
  """The video of the first episode of the first environment.

  A context manager. Whatever goes wrong ends the video with a warning, and the
  evaluation goes on.

  Args:
    arrays: Of the agent, as far as they are read.
    stem: Path of the video without its suffix; None for no video.
  """

  def __init__(
    self,
    recorder: Recorder,
    arrays: State,
    parts: configs.Bound,
    stem: pathlib.Path | None,
  ):
    self._open = contextlib.ExitStack()
    self._recorder, self._arrays, self._parts = recorder, arrays, parts
    self._stem, self._film, self._twin = stem, None, None
    self._over, self._predicts = stem is None, True
    self._latent, self._total = None, 0.0
    self._blank: np.ndarray | None = None
    self._keys = list(recorder.obs_space)
    self._images = panels.image_keys(recorder.obs_space)
    self._plots = panels.Plots()

  def __enter__(self) -> Self:
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: TracebackType | None,
  ) -> None:
    if kind is None:
      self._end()
    self._over = True
    self._release()

  def watch(
    self, obs: Mapping[str, np.ndarray], carry: Any, key: jax.Array, count: int
  ) -> None:
    """Takes a step (W, ...), as `evaluate` tells of it."""
    if self._over:
      return
    try:
      self._take(obs, carry, key, count)
    # Code of others drew, decoded or wrote this: the evaluation goes on.
    except Exception as error:
      self._fail(error)
    if obs['is_last'][0]:
      self._end()

  def _take(self, obs, carry, key, count) -> None:
    if self._film is None:
      self._film = Film(self._stem)
      self._open.callback(self._film.close)
      self._open_twin()
    self._total += float(obs['reward'][0])
    seen = {k: obs[k][:1] for k in self._keys}
    action = jax.tree.map(lambda x: x[:1], carry['action'])
    drawn = self._drawn(seen, action, count)
    told = self._predictions(obs, carry, action, key, count)
    seen = {k: x[0] for k, x in seen.items()}
    title = f'environment, step {count}, return {self._total:.4g}'
    columns = self._columns(seen, drawn, title, told, count)
    self._film.add(panels.picture(columns))

  def _predictions(self, obs, carry, action, key, count):
    """Predicted observations, of the state observed and of the imagined one."""
    if not self._predicts:
      return {}, {}
    arrays, recorder = self._arrays, self._recorder
    latent, told = recorder.watch(arrays, carry, dict(obs), key, count)
    self._predicts = bool(told)
    if count % OPEN_LOOP == 0 or not told:
      self._latent, dreamed = latent, told
    else:
      self._latent, dreamed = recorder.dream(
        arrays, self._latent, action, key, count
      )
    return jax.device_get((told, dreamed))

  def _columns(self, seen, drawn, title, told, count) -> list[Column]:
    keys, plot = self._images, self._plots.draw
    named = ['reconstruction', 'open loop']
    borders = panels.border(True), panels.border(count % OPEN_LOOP == 0)
    columns = [Column(title, [seen[k] for k in keys])] if keys else []
    if drawn is not None:
      columns = [Column(title, [drawn])]
    elif not keys and not told[0]:
      columns = [Column(title, [plot(k, seen[k], None) for k in self._keys])]
    elif not keys:
      named[0] = f'{title}, reconstruction'
    for name, values, border in zip(named, told, borders, strict=True):
      if keys:
        shown = [values[k] for k in keys if k in values]
      else:
        shown = [plot(k, seen[k], values.get(k)) for k in self._keys]
      columns += [Column(name, shown, border)] if values and shown else []
    return columns

  def _open_twin(self) -> None:
    """Makes the environment that draws, if there are no images to see."""
    if self._images:
      return
    try:
      envs = workflow.make_drawn_env(self._parts)
    except Exception as error:
      self._undrawn(error)
      return
    if envs is not None:
      self._twin = Twin(envs, self._keys)
      self._open.callback(self._twin.close)

  def _drawn(self, seen, action, count) -> np.ndarray | None:
    if self._twin is None:
      return self._blank
    try:
      taken = jax.device_get(action) if count else None
      drawn = self._twin.follow(seen, taken)
    except Exception as error:
      self._twin = None
      self._undrawn(error)
      return self._blank
    # A video keeps its size.
    self._blank = np.full_like(drawn, GRAY)
    return drawn

  def _undrawn(self, error: Exception) -> None:
    warn_once(
      'The video of the evaluation shows numbers alone, for the environment is '
      f'not drawn: {_words(error)}',
      'recording: drawing',
    )

  def _end(self) -> None:
    """Ends the video, as far as it came."""
    if self._over:
      return
    self._over = True
    try:
      if self._film is not None:
        self._film.finish()
        path = self._film.path
        print(f'Recorded {path.parent.name}/{path.name}', flush=True)
        if self._film.note:
          warn_once(f'Video of the evaluation: {self._film.note}.')
    except Exception as error:
      self._fail(error)
    self._release()

  def _fail(self, error: Exception) -> None:
    self._over = True
    warn_once(
      f'No video of the evaluation, which goes on: {_words(error)}',
      'recording: video',
    )
    self._release()

  def _release(self) -> None:
    """Closes what is open."""
    try:
      self._open.close()
    except Exception as error:
      warn_once(f'Video of the evaluation: {_words(error)}')


def _words(error: Exception) -> str:
  told = isinstance(error, OSError | UserError)
  return str(error) if told else describe(error)
