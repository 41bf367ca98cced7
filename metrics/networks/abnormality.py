"""VBench-2.0's abnormality classifier: does this person, face or hand look wrong?

A ViT-B/16 pre-trained by SimMIM (Xie et al., CVPR 2022) and fine-tuned on crops of real and
generated people (Zheng et al., "VBench-2.0", 2025). SimMIM's ViT is BEiT's: no position embedding
but a relative position bias in every block, layer scale, mean pooling. timm carries that network.

`load_state_dict(published_state(file["model"]))` takes each of the three published files.
"""

from collections.abc import Mapping
from functools import partial

from timm.models.beit import Beit
from torch import Tensor, nn

ABNORMAL = 0
"""The class whose probability is compared with a threshold."""


def abnormality_classifier(
    resolution: int = 224, patch: int = 16, width: int = 768, depth: int = 12, heads: int = 12
) -> Beit:
    """The network: [B, 3, 224, 224], ImageNet-normalised, to logits [B, 2] (abnormal, normal)."""
    return Beit(
        img_size=resolution,
        patch_size=patch,
        num_classes=2,
        global_pool="avg",
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        qkv_bias=True,
        init_values=0.1,
        use_abs_pos_emb=False,
        use_rel_pos_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),  # type: ignore[arg-type]
    )


def published_state(model: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the index tables, which follow from the input size and which timm keeps elsewhere."""
    return {
        name: value
        for name, value in model.items()
        if not name.endswith("attn.relative_position_index")
    }
