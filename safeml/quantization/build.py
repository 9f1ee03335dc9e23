"""Quantization of a model into a folder: calibration, quantization-aware training, and the float model trained alike.

The folder holds `float.keras` (the source), with [prune] `pruned.keras`, which is quantized in its place, `ptq.keras` (calibrated), `qat.keras` and `finetuned.keras` (both trained for the
same epochs), `int8.keras` (the better of the INT8 models by validation), `calibration.npz` (images for the comparisons of
`safeml export`) and `quantization.json`. Test data are never read.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from safeml import framework, provenance
from safeml.config.quantization import PruneSettings, QuantizeSettings
from safeml.errors import ConfigError, InputRefused, StageError, first_line
from safeml.quantization.inputs import QuantizationInputs
from safeml.quantization.notes import choice_reason, data_notes, result_line
from safeml.quantization.record import FILE, FORMAT, IMAGES, read_record
from safeml.results import RunTimes
from safeml.scan.sources import EXPORT, INT8_FILE
from safeml.store.files import atomic_write, file_sha256, make_folder, to_json
from safeml.store.lock import folder_lock
from safeml.store.run_folder import refuse_audit
from safeml.wording import counted

if TYPE_CHECKING:
    from safeml.quantization.validation import Validation

FLOAT, PRUNED, PTQ, QAT, FINETUNED, INT8 = (
    f"{name}.keras" for name in ("float", "pruned", "ptq", "qat", "finetuned", "int8")
)
PRUNED_FOLDER, FINETUNED_FOLDER = "pruned", "finetuned"
# The float twin must give what the source gives; the rest is rounding.
TOLERANCE = 1e-3
SENSITIVITY_IMAGES = 256
OnEpoch = Callable[[dict[str, Any]], None]
Say = Callable[[str], None]


def quantize(
    inputs: QuantizationInputs,
    out: Path,
    on_epoch: OnEpoch = lambda epoch: None,
    force: bool = False,
    command: tuple[str, ...] = (),
    say: Say = lambda line: None,
) -> Path:
    """Quantize the model of `inputs` into `out` and return the folder; a finished result of the same inputs is reused.

    on_epoch: receives the measurements of each finished epoch. say: receives lines of progress.

    An interrupted quantization resumes after its last finished epoch; a training with TFMOT starts again. Raises ConfigError if `out` holds an audit, a training, or
    another quantization without `force`; InputRefused for a model that cannot be quantized; StageError if it cannot go on.
    """
    refuse_audit(out)
    if (out / "training.json").exists():
        raise ConfigError(
            f"{out}: holds a trained model, and a quantization would mix with it; set another folder with --out."
        )
    if not force and is_done(inputs, out):
        say(f"{out} holds this quantization already; it is reused.")
        return out
    started = datetime.now(UTC)
    framework.start()
    with folder_lock(make_folder(out), command):
        if force:
            _remove_result(out)
        try:
            with framework.deterministic_operations():
                notes = _quantize(_Work(inputs, out, on_epoch, say))
        except OSError as error:
            raise StageError(
                f"{out}: cannot be written ({error.strerror or first_line(error)}); finished work is stored, and the same "
                "command resumes from it."
            ) from error
        finished = datetime.now(UTC)
        times = RunTimes(
            started=started.isoformat(timespec="seconds"),
            finished=finished.isoformat(timespec="seconds"),
            seconds={"quantization": round((finished - started).total_seconds(), 3)},
            hardware=provenance.hardware(),
            code_commit=provenance.commit(inputs.base),
            notes=notes,
        )
        atomic_write(out / "run.json", to_json(times))
    return out


def is_done(inputs: QuantizationInputs, out: Path) -> bool:
    """Return whether `out` holds the result of these inputs, unchanged. Raises ConfigError for another result."""
    record = read_record(out)
    if record is None:
        return False
    try:
        same = QuantizeSettings.model_validate(record.get("settings")) == inputs.settings
    except ValueError:
        same = False
    if not same or record.get("inputs") != inputs.identity():
        raise ConfigError(
            f"{out}: holds another quantization: other settings, another source or other images; set another folder with "
            "--out, or start again with --force."
        )
    return _is_whole(out, record)


def _is_whole(out: Path, record: dict[str, Any]) -> bool:
    """Return whether each model that the record names is in `out` as it was written. One of them is the reference of an audit."""
    files = record.get("files")
    if not isinstance(files, dict) or "int8" not in files:
        return False
    for entry in files.values():
        if not isinstance(entry, dict):
            return False
        path = out / Path(str(entry.get("file"))).name
        if not path.is_file() or file_sha256(path) != entry.get("sha256"):
            return False
    return True


@dataclass
class _Work:
    """A quantization under way in `out`.

    measured: the validation of each model, by its name.
    """

    inputs: QuantizationInputs
    out: Path
    on_epoch: OnEpoch
    say: Say
    measured: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def _quantize(work: _Work) -> list[str]:
    from safeml.quantization import manifest
    from safeml.quantization.backends import BACKENDS, Calibrated
    from safeml.quantization.calibration import calibrate
    from safeml.quantization.finetune import finetuned
    from safeml.quantization.rewrite import prepare, quantizers, with_quantizers
    from safeml.quantization.sensitivity import float_twin, layer_errors
    from safeml.quantization.validation import Validation, better, model_inputs
    from safeml.training.feed import feed_of
    from safeml.training.fit import forget
    from safeml.training.publish import identity, versions
    from safeml.training.state import discard

    inputs, out, say = work.inputs, work.out, work.say
    settings, monitor = inputs.settings, inputs.settings.monitor
    validation = Validation(settings, inputs.choosing)
    source, origin = _source(inputs)
    classifier = validation.classifier(source, str(inputs.source))
    if inputs.choosing.targets is None:
        _check_trainable(settings, source, inputs.source)
    work.measured["float"] = validation.measure(source, FLOAT)
    _check_contract(work.measured["float"], inputs)
    _save(source, out, FLOAT)
    feed = feed_of(classifier.spec)
    models, fits = {"float": source}, {}
    start, started_from = source, FLOAT
    if settings.prune is not None:
        say(f"Pruning {settings.name}, {settings.prune.epochs} epochs.")
        fits["pruned"], start = finetuned(
            inputs, out / FLOAT, make_folder(out / PRUNED_FOLDER), "pruned", feed, work.on_epoch
        )
        models["pruned"], started_from = start, PRUNED
        work.measured["pruned"] = validation.measure(start, PRUNED)
        _save(start, out, PRUNED)
        say(result_line("Pruned", work.measured["pruned"], work.measured["float"]))

    say(f"Calibrating {settings.name} on {min(settings.calibration.images, len(inputs.training))} images.")
    prepared = prepare(start, str(inputs.source))
    not_equalised: tuple[str, ...] = ()
    if settings.equalise:
        from safeml.quantization.equalise import equalised, left_out

        not_equalised = left_out(prepared)
        prepared = equalised(prepared)
    sample = inputs.training.sample(settings.calibration.images, settings.calibration.seed)
    values = model_inputs(classifier, sample.images)
    _check_twin(start, prepared, values[:64], inputs.source)
    quantized = with_quantizers(prepared, keep_float=settings.keep_float)
    for quantizer in quantizers(quantized):
        quantizer.momentum = settings.momentum
    calibration = calibrate(quantized, values, settings.calibration)
    work.measured["ptq"] = validation.measure(quantized, PTQ)
    _save(quantized, out, PTQ)
    say(result_line("Calibrated", work.measured["ptq"], work.measured["float"]))

    models["ptq"] = quantized
    if settings.epochs:
        say(f"Quantization-aware training, {counted(settings.epochs, 'epoch')}.")
    trained = BACKENDS[settings.backend](
        Calibrated(inputs, out, out / PTQ, prepared, quantized, classifier, values, work.on_epoch, say)
    )
    if trained.fit is not None and trained.model is not None:
        fits["qat"], models["qat"] = trained.fit, trained.model
        work.measured["qat"] = validation.measure(models["qat"], QAT)
        _save(models["qat"], out, QAT)
    if settings.epochs:
        say(f"Training of the float model, {counted(settings.epochs, 'epoch')} on the same images.")
        fits["finetuned"], models["finetuned"] = finetuned(
            inputs, out / started_from, make_folder(out / FINETUNED_FOLDER), "float", feed, work.on_epoch
        )
        work.measured["finetuned"] = validation.measure(models["finetuned"], FINETUNED)
        _save(models["finetuned"], out, FINETUNED)
    qat_wins = "qat" in models and better(work.measured["qat"], work.measured["ptq"], monitor)
    chosen = "qat" if qat_wins else "ptq"
    say("Measuring the quantization error of each layer.")
    few = sample.sample(SENSITIVITY_IMAGES, settings.calibration.seed)
    sensitivity = layer_errors(
        models[chosen],
        float_twin(models[chosen], prepared),
        model_inputs(classifier, few.images),
        settings.worst_layers,
        settings.keep_float,
    )
    _save(models[chosen], out, INT8)
    _save_images(model_inputs(classifier, few.images), out)
    files = {"float": FLOAT, "pruned": PRUNED, "ptq": PTQ, "qat": QAT, "finetuned": FINETUNED}
    content: dict[str, Any] = {
        "format": FORMAT,
        "backend": settings.backend,
        **trained.record,
        "settings": settings.model_dump(mode="json"),
        "inputs": inputs.identity(),
        "versions": versions(),
        "source": {**origin, "input": vars(classifier.spec)},
        "train": identity(inputs.training),
        "valid": identity(inputs.choosing),
        "calibration": {
            **identity(sample),
            "observer": settings.calibration.observer,
            "notes": [*data_notes(sample), *calibration.notes, *not_equalised],
        },
        "quantizers": manifest.scales(models[chosen], settings.calibration.observer, calibration.largest),
        "layers": manifest.layers(models[chosen], settings.keep_float),
        "validation": {"images": len(inputs.choosing), **work.measured},
        "fits": {name: {"epochs": fitted.epochs} for name, fitted in fits.items()},
        "chosen": {
            "model": chosen,
            "monitor": monitor,
            "reason": choice_reason(work.measured, monitor, chosen),
        },
        "sensitivity": sensitivity.plain(),
        "sizes": manifest.sizes(models[chosen]),
        "files": {
            **{name: manifest.entry(out, files[name], model) for name, model in models.items()},
            "int8": manifest.entry(out, INT8, models[chosen]),
        },
    }
    if settings.prune is not None:
        content["pruning"] = _pruning(work, settings.prune, validation, {**models, "int8": models[chosen]})
    atomic_write(out / FILE, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")
    if settings.epochs:
        discard(out)
        forget(out / FINETUNED_FOLDER)
    if settings.prune is not None:
        forget(out / PRUNED_FOLDER)
    for name, values_of in work.measured.items():
        say(result_line(f"{name:9s}", values_of, work.measured["float"]))
    say(content["chosen"]["reason"])
    return [
        f"The {name} fit was resumed after epoch {fitted.resumed_after} of {len(fitted.epochs)}."
        for name, fitted in fits.items()
        if 0 < fitted.resumed_after < len(fitted.epochs)
    ] + [
        *trained.notes,
        *(f"The {name} fit started again: {fitted.note}." for name, fitted in fits.items() if fitted.note),
    ]


def _source(inputs: QuantizationInputs) -> tuple[Any, dict[str, Any]]:
    """Load the float model after the scan. Raises InputRefused if it is no Keras model or gives the wrong kind of outputs."""
    from safeml.classifiers.load import load_model

    try:
        opened = load_model(inputs.source)
    except InputRefused as error:
        if "QuantizedDTypePolicy" in str(error):  # its remedy is for a model under test
            raise InputRefused(
                f"{inputs.source}: was quantized by Keras already (model.quantize); give the float32 model that it was made of."
            ) from error
        raise
    network = getattr(opened.model, "network", None)
    if network is None:
        raise InputRefused(
            f"{inputs.source}: is no Keras model, and only the layers of a Keras model can be quantized; give the .keras or .h5 "
            "file that it was exported from."
        )
    return network, {
        "file": inputs.source.name,
        "sha256": inputs.source_sha256,
        "fingerprint": opened.model.fingerprint,
        "parameters": opened.model.parameters,
    }


def _check_trainable(settings: QuantizeSettings, model: Any, where: Path) -> None:
    """Raise ConfigError if the model has outputs that the cross-entropy of a class cannot train."""
    from safeml.classifiers.keras_head import without_activation

    bare = without_activation(model)
    sigmoid = bare is not None and bare.activation == "sigmoid"
    if (settings.epochs or settings.prune) and (sigmoid or model.outputs[0].shape[-1] == 1):
        raise ConfigError(
            f"{where}: ends in sigmoids or in one output, which quantization-aware training and pruning do not support; set "
            "epochs = 0 and remove [prune] for calibration alone."
        )


def _check_contract(measured: dict[str, float], inputs: QuantizationInputs) -> None:
    """Raise ConfigError if the float model is no better than chance, or than the mean target, on the validation images."""
    targets = inputs.choosing.targets
    if targets is not None:
        unit = targets.values.std() if len(targets.settings) == 1 else 1.0
        if measured["val_rmse"] >= unit:
            raise ConfigError(
                f"{inputs.source}: has an RMSE of {measured['val_rmse']:.3g} on the validation images; their mean as a constant has "
                f"{unit:.3g}. Its input contract, or the order of [[data.targets]], is not that of the model."
            )
        return
    accuracy, classes = measured["val_accuracy"], inputs.choosing.classes
    if accuracy <= 1.5 / classes:
        raise ConfigError(
            f"{inputs.source}: classifies {accuracy:.1%} of the validation images correctly, no more than chance for "
            f"{classes} classes; its input contract or class order is not that of [model.input]. `safeml inspect` measures it."
        )


def _check_twin(source: Any, prepared: Any, values: np.ndarray, where: Path) -> None:
    """Raise StageError if the rewritten float model gives other outputs than the source."""
    expected = np.asarray(source(values, training=False))
    given = np.asarray(prepared(values, training=False))
    difference = float(np.abs(given - expected).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise StageError(
            f"{where}: its form for quantization gives other outputs (by up to {difference:.3g}) than the model itself; "
            "this is a defect of safeml, please report the layers of the model."
        )


def _pruning(
    work: _Work, prune: PruneSettings, validation: Validation, models: dict[str, Any]
) -> dict[str, Any]:
    """Return the part of the record on pruning. models: by name, the chosen INT8 model as "int8"."""
    from safeml.quantization.pruning import deltas, layer_rows

    inputs = work.inputs
    decisions = {name: validation.decisions(models[name], name) for name in ("float", "pruned", "int8")}
    return {
        "kind": prune.kind,
        "sparsity": prune.sparsity,
        "layers": layer_rows(models["pruned"], models["int8"], prune, str(inputs.source)),
        "models": deltas(decisions, inputs.choosing),
    }


def _save(model: Any, out: Path, name: str) -> None:
    from safeml.training.publish import small_archive

    atomic_write(out / name, small_archive(model, out))


def _save_images(values: np.ndarray, out: Path) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, images=values.astype(np.float32))
    atomic_write(out / IMAGES, content.getvalue())


def _remove_result(out: Path) -> None:
    """Remove the result of an earlier quantization from `out`, its INT8 file and the record of its export, and only that."""
    from safeml.training.fit import forget

    (out / FILE).unlink(missing_ok=True)
    # An INT8 file of the earlier model beside the record of this one would be audited as if it were of this one.
    for name in (FLOAT, PRUNED, PTQ, QAT, FINETUNED, INT8, IMAGES, EXPORT, INT8_FILE):
        (out / name).unlink(missing_ok=True)
    for folder in (out, out / PRUNED_FOLDER, out / FINETUNED_FOLDER):
        forget(folder)
