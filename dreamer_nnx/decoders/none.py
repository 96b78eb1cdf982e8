"""No decoder: nothing is reconstructed."""

from flax import nnx

from dreamer_nnx import contracts
from dreamer_nnx.slots import DECODER


@DECODER.register('none')
class NoDecoder(nnx.Module):
  """Reconstructs no observation: an objective has to train the features.

  Source: Deng et al. 2022 (arXiv 2110.14565), among others.
  """

  def __call__(self, feat: contracts.Feat) -> dict[str, contracts.Output]:
    del feat
    return {}
