"""What `conf/generator` can say of a FramePack checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.generators.teacache import HUNYUAN_CURVE


@dataclass(frozen=True)
class Config:
    """Everything that `conf/generator` can say about a FramePack checkpoint."""

    checkpoint: str
    """Folder or hub id in diffusers' layout."""
    transformer: str | None = None
    """Folder or hub id of another transformer than the checkpoint's."""
    image_encoder: str | None = None
    """Folder or hub id with `image_encoder` and `feature_extractor`."""
    name: str | None = None
    """What records call it; the checkpoint's own name where not given."""
    dtype: str = "auto"
    """float32, bfloat16, float16; auto is float32 on a CPU and bfloat16 elsewhere."""
    other_dtype: str | None = None
    """Of autoencoder and encoders; the transformer's where not given."""
    device: str | None = None
    """cpu, cuda, cuda:1, …; cuda where there is one if not given."""
    offload: str = "none"
    """none; model: one component on the device at a time; sequential: one layer at a time."""
    vae_tiling: bool = False
    """Decode in tiles: less memory, other bits."""
    decode_batch: int = 1
    """Cells that are decoded together."""
    steps: int = 25
    guidance: float = 10.0
    """Distilled guidance, embedded."""
    cfg: float = 1.0
    """True classifier-free guidance; 1 is off."""
    negative: str = ""
    """What true guidance steers away from where the prompt does not say."""
    shift: str | float | None = None
    """Flow shift: null is the checkpoint's scheduler, `released` the rule on target tokens."""
    teacache: float = 0.0
    """Threshold; 0 is off."""
    teacache_curve: Sequence[float] = HUNYUAN_CURVE
    """Rescaling polynomial, highest power first."""
    loras: Mapping[str, str] = field(default_factory=dict)
    """Name → file, folder or hub id; a variant asks for one by `+lora-NAME`."""
    transformers: Mapping[str, str] = field(default_factory=dict)
    """Name → folder or hub id of fine-tuned weights; a variant asks by `+weights-NAME`."""
    deltas: str | None = None
    """Folder with NAME.safetensors of `bench.variant.DELTAS`; a variant asks by `+delta-NAME` and
    runs training-free where that file is not there."""
    codebooks: Mapping[str, str] = field(default_factory=dict)
    """K → safetensors file with `codes` [K, channels]; the first serves a bare +D."""
    trained: Sequence[str] = ()
    """What this checkpoint has seen in training besides packed, deleted history: +D, ta, tc, noise,
    forcing, guidance, causal, k8, … All else is named as untrained in every cell that uses it."""
    samplers: Sequence[str] = ()
    """Orders of sampling it was trained for; others are named as untrained. None: not known."""
    offline: bool = False
