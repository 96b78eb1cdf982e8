"""A clock that the test moves."""


class FakeClock:
  """Called it tells the time in seconds, which `pass_by` moves on."""

  def __init__(self, now: float = 1000.0):
    self.now = now

  def __call__(self) -> float:
    return self.now

  def pass_by(self, seconds: float) -> None:
    self.now += seconds
