"""Where the paper set's weight files come from.

Digests are given where the publisher, or several independent public records, state them: whole, or
as the leading digits that the publisher put into the file's name. Where nobody states one the
registry trusts the first fetch: its digest is written down beside the file and every later use is
compared with it. So a file that was already wrong at the first fetch is not found out, only one
that changes.
"""

from metrics.weight import Hub, Url, Weight, register

OPENAI = "https://openaipublic.azureedge.net/clip/models"
BUFFALO = "https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip"
DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="

for _weight in (
    Weight(
        "musiq-spaq",
        "musiq_spaq_ckpt-358bb6af.pth",
        Hub("chaofengc/IQA-PyTorch-Weights", "musiq_spaq_ckpt-358bb6af.pth"),
        "PolyForm-Noncommercial-1.0.0 (pyiqa's port), Apache-2.0 (original)",
        "358bb6af",
    ),
    Weight(
        "clip-vit-l-14",
        "ViT-L-14.pt",
        Url(
            f"{OPENAI}/b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836/ViT-L-14.pt"
        ),
        "MIT",
        "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
    ),
    Weight(
        "clip-vit-b-32",
        "ViT-B-32.pt",
        Url(
            f"{OPENAI}/40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt"
        ),
        "MIT",
        "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    ),
    Weight(
        "laion-linear-l-14",
        "sa_0_4_vit_l_14_linear.pth",
        Url(
            "https://raw.githubusercontent.com/LAION-AI/aesthetic-predictor/main/"
            "sa_0_4_vit_l_14_linear.pth"
        ),
        "MIT",
        "2cd4e60f4f24ae3bcd57b847b13c1f3ba27edc28cc1a7f9ce74ee9f421243cba",
        4071,
    ),
    Weight(
        "laion-mlp-l-14",
        "sac+logos+ava1-l14-linearMSE.pth",
        Url(
            "https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/main/"
            "sac%2Blogos%2Bava1-l14-linearMSE.pth"
        ),
        "Apache-2.0",
        "21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
        3_714_759,
    ),
    Weight("amt-s", "amt-s.pth", Hub("lalala125/AMT", "amt-s.pth"), "CC-BY-NC-4.0"),
    Weight(
        "raft-large-c-t-v1",
        "raft_large_C_T_V1-22a6c225.pth",
        Url("https://download.pytorch.org/models/raft_large_C_T_V1-22a6c225.pth"),
        "BSD-3-Clause",
        "22a6c225",
    ),
    Weight(
        "viclip-l-internvid-10m-flt",
        "ViClip-InternVid-10M-FLT.pth",
        Hub("OpenGVLab/VBench_Used_Models", "ViClip-InternVid-10M-FLT.pth"),
        "the publisher's (see its model card)",
    ),
    Weight(
        "owlv2-base",
        "owlv2-base-patch16-ensemble.safetensors",
        Hub("google/owlv2-base-patch16-ensemble", "model.safetensors"),
        "Apache-2.0",
    ),
    *(
        Weight(
            f"vbench2-{part}",
            f"vbench2_anomaly_{part}.pth",
            Url(f"{DRIVE}{file}"),
            "Apache-2.0 (VBench-2.0)",
        )
        for part, file in (
            ("human", "1mlSURYOi_vN9ST1wzEhJaVO6-ZoES8UT"),
            ("face", "1e2qTjrtsYlkWLql0qj8DqaNZ09KuV8Qo"),
            ("hand", "1j3QeAcAtdLe5BFgK-c33UaHV6-iUto0i"),
        )
    ),
    Weight(
        "scrfd-10g",
        "det_10g.onnx",
        Url(BUFFALO, "det_10g.onnx"),
        "non-commercial research (InsightFace)",
        "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
        16_923_827,
    ),
    Weight(
        "arcface-w600k-r50",
        "w600k_r50.onnx",
        Url(BUFFALO, "w600k_r50.onnx"),
        "non-commercial research (InsightFace)",
        "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
        174_383_860,
    ),
    Weight(
        "dino-vit-b-16",
        "dino_vitbase16_pretrain.pth",
        Url(
            "https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/"
            "dino_vitbase16_pretrain.pth"
        ),
        "Apache-2.0",
    ),
):
    register(_weight)
