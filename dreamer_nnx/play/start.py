"""The player of a run: its model, its moments and its page."""

from collections.abc import Callable

from dreamer_nnx import paths
from dreamer_nnx.dreams import load_world_model
from dreamer_nnx.play import server
from dreamer_nnx.play.moments import open_moments
from dreamer_nnx.play.session import Session


def play(
  workdir: paths.Path,
  step: int | None,
  trust_config: bool,
  port: int,
  write: Callable[[str], None],
) -> None:
  """Serves the page until Ctrl-C.

  Args:
    workdir, step, trust_config: As `load_world_model` takes them.
    port: Of this machine; 0 for any free one.

  Raises:
    UserError: There is no such checkpoint, its config is not trusted, or the
      port cannot be opened.
  """
  listener = server.listen(port)
  with listener:
    model = load_world_model(workdir, trust_config, step=step)
    write(f'Plays {model.trained}.')
    with open_moments(model.trained, trust_config) as moments:
      server.serve(Session(model, moments), listener, write)
