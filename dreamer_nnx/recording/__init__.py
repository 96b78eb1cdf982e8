"""Videos of evaluations: what was seen, beside what the model predicts."""

from dreamer_nnx.recording.recorder import Recorder
