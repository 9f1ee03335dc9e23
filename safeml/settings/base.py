"""The base of every settings table: strict fields, fractions such as 4/255, valid paths."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from safeml.errors import ConfigError
from safeml.results import Finite
from safeml.settings.errors import sentence

FRACTION = re.compile(r"[-+]?\d{1,9}(?:\.\d{1,12}|/\d{1,9})?", re.ASCII)
_Model = TypeVar("_Model", bound=BaseModel)


def _fraction(value: Any) -> Any:
    """Convert '4/255', the usual notation of epsilon, to a number."""
    if isinstance(value, str):
        try:
            if not FRACTION.fullmatch(value.strip()):
                raise ValueError
            return float(Fraction(value))
        except (ValueError, ZeroDivisionError) as error:
            raise ValueError('is neither a number nor a fraction such as "4/255"') from error
    return value


def _usable_path(value: str) -> str:
    """Check that a path is valid; its existence is checked on opening."""
    if "\0" in value:
        raise ValueError("holds a NUL character; expected a path")
    longest = max(len(part.encode()) for part in value.split("/"))
    if longest > 255 or len(value.encode()) > 4095:
        raise ValueError(
            f"has {len(value):,} characters; a path has at most 4,095 bytes, and 255 between slashes"
        )
    return value


PathText = Annotated[str, AfterValidator(_usable_path)]


class Settings(BaseModel):
    """A strict settings table: "7" is not 7, and 1 is not true."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, values: Any) -> Any:
        """Convert the lists of TOML and JSON to tuples."""
        if not isinstance(values, dict):
            return values
        return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


Epsilon = Annotated[Finite, BeforeValidator(_fraction)]


def validated(model: type[_Model], values: dict[str, Any], where: str) -> _Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(sentence(model, error, where)) from None
