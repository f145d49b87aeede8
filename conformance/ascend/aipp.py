"""``aipp.config``: the chip's own preprocessing, generated from the model's spec.

Static AIPP as in the Ascend ModelZoo READMEs of 2023: RGB images of uint8, normalised on the chip
by ``(x - min_chn) * var_reci`` where min_chn = 255 * mean and var_reci = 1 / (255 * std).
"""

from __future__ import annotations

from conformance.spec import Preprocess

CONFIG_NAME = "aipp.config"


def aipp_config(preprocess: Preprocess) -> str:
    """Return the text of ``aipp.config`` for images of crop x crop x 3 bytes (HWC, RGB)."""
    means = [round(255 * mean, 12) for mean in preprocess.mean]
    factors = [1 / (255 * std) for std in preprocess.std]
    settings = {
        "aipp_mode": "static",
        "input_format": "RGB888_U8",
        "src_image_size_w": preprocess.crop,
        "src_image_size_h": preprocess.crop,
        "crop": "false",
        "csc_switch": "false",
        "rbuv_swap_switch": "false",
        **{f"min_chn_{channel}": mean for channel, mean in enumerate(means)},
        **{f"var_reci_chn_{channel}": f"{factor:.16f}" for channel, factor in enumerate(factors)},
    }
    rows = "".join(f"    {name}: {value}\n" for name, value in settings.items())
    return f"aipp_op {{\n{rows}}}\n"
