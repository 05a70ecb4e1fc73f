"""Field ids and their metadata, as in NVIDIA's dcgm_fields."""

from __future__ import annotations

import ctypes
import warnings
from typing import Any

from simulated_library import BEHAVIOUR as _BEHAVIOUR
from simulated_library import constants as _constants

from dcgm_simulator.fields import field_ids_by_name as _field_ids_by_name
from dcgm_simulator.fields import field_table as _field_table
from dcgm_simulator.structures import PrintableStructure as _PrintableStructure

_CONSTANTS = _constants("dcgm_fields")
globals().update(_CONSTANTS)

_FIELDS = _field_table(_BEHAVIOUR.version)
_BY_TAG = {field.tag: field for field in _FIELDS.values()}


class c_dcgm_field_output_format_t(_PrintableStructure):
    """How nvidia-smi and dcgmi print a field."""

    _fields_ = (
        ("shortName", ctypes.c_char * 10),
        ("unit", ctypes.c_char * 4),
        ("width", ctypes.c_short),
    )


# The bindings of 3.3.9 lack two members that the library has: what follows is shifted
# there, and reading valueFormat is not safe.
_SINCE_4 = [("nvmlFieldId", ctypes.c_int), ("entityLevel", ctypes.c_uint)]


class c_dcgm_field_meta_t(_PrintableStructure):
    """What DCGM knows of a field; `fieldType` is one character."""

    _fields_ = (
        ("fieldId", ctypes.c_short),
        ("fieldType", ctypes.c_char),
        ("size", ctypes.c_ubyte),
        ("tag", ctypes.c_char * 48),
        ("scope", ctypes.c_int),
        *(_SINCE_4 if _BEHAVIOUR.major >= 4 else []),
        ("valueFormat", ctypes.POINTER(c_dcgm_field_output_format_t)),
    )


def DcgmFieldsInit() -> Any:
    """Do what fills the field table in the real library; it is always filled here."""


def DcgmFieldGetById(fieldId: Any) -> Any:
    """Return the metadata of a field, or None where the version does not know it."""
    field = _FIELDS.get(fieldId)
    return None if field is None else _metadata(field)


def DcgmFieldGetByTag(tag: Any) -> Any:
    """Return the metadata of the field with a tag, or None."""
    field = _BY_TAG.get(tag)
    return None if field is None else _metadata(field)


def DcgmFieldGetTagById(fieldId: Any) -> Any:
    """Return the tag of a field, or None."""
    field = _FIELDS.get(fieldId)
    return None if field is None else field.tag


def DcgmFieldGetIdByTag(fieldTag: Any) -> Any:
    """Return the id of the field with a tag, or None."""
    field = _BY_TAG.get(fieldTag)
    return None if field is None else field.id


def _metadata(field: Any) -> c_dcgm_field_meta_t:
    made = c_dcgm_field_meta_t()
    made.fieldId, made.fieldType, made.tag = field.id, field.type, field.tag
    made.scope = field.scope
    if _BEHAVIOUR.major >= 4:
        made.entityLevel = field.level
    form = c_dcgm_field_output_format_t()
    form.shortName, form.unit = field.short_name[:9], field.unit[:3]
    made.valueFormat = ctypes.pointer(form)
    return made


def __getattr__(name: str) -> Any:
    """Return a field id by a name that 4.6 deprecated.

    Raises AttributeError where the imitated version does not know the name.
    """
    field = _field_ids_by_name().get(name) if name.isupper() else None
    current = _FIELDS.get(field) if field is not None else None
    if not _BEHAVIOUR.is_46 or current is None or current.name not in _CONSTANTS:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    warnings.warn(
        f"{name} is deprecated, use {current.name} instead", DeprecationWarning, stacklevel=2
    )
    return field
