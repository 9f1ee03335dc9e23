"""The calibration stage: measures of the delivered model, scaling, selective prediction and conformal sets."""
