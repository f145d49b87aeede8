"""ONNX to ``.om``: does every batch size convert, cleanly, to the model that was asked for?"""

from __future__ import annotations

import pytest

from conformance.ascend import checks
from conformance.ascend.atc import ConversionRefused
from conformance.build_om import OmBuilder, OmModel
from conformance.om_key import OmKey
from conformance.spec import ModelSpec
from fixtures.claims import Claim

pytestmark = [pytest.mark.npu, pytest.mark.every_variant]


@pytest.mark.states("atc.converts")
@pytest.mark.usefixtures("target", "onnx_model")
def test_model_converts(
    om_builder: OmBuilder, spec: ModelSpec, om_key: OmKey, claim: Claim
) -> None:
    """ATC takes the model; a refusal is the model's fault, anything else is not."""
    try:
        claim(checks.converted_check(om_builder.om_model(spec, om_key).sha256))
    except ConversionRefused as refusal:
        claim(checks.refused_check(refusal))


@pytest.mark.states("atc.log")
def test_log_is_clean(om_model: OmModel, claim: Claim) -> None:
    """ATC spoke of no error on its way to success."""
    claim(checks.log_check(om_model.unclean, om_model.warnings, str(om_model.log)))


@pytest.mark.states("atc.identity")
def test_om_is_for_this_batch_input_and_soc(
    om_builder: OmBuilder, om_model: OmModel, claim: Claim
) -> None:
    """The file itself says for which batch size, input and SoC it was made."""
    claim(checks.identity_check(om_model.conversion, om_builder.describe(om_model)))
