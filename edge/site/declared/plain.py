"""Owns request structs as a document can show them: raw JSON becomes any JSON, and no two have one name."""

import types
import typing
from typing import Any

import msgspec
from msgspec import Raw, Struct, structs

_UNIONS = (typing.Union, types.UnionType)


class Plain:
    """Copies of structs, under names that begin with a dialect's."""

    def __init__(self, prefix: str, more: dict[str, tuple[tuple[str, Any, Any], ...]] | None = None) -> None:
        self._prefix = prefix
        self._more = more or {}  # by a struct's name, fields that are read beside its own
        self._made: dict[type, Any] = {}

    def of(self, kind: Any) -> Any:
        """A type in which every struct is copied."""
        if kind is Raw:
            return Any
        if isinstance(kind, type) and issubclass(kind, Struct):
            return self._struct(kind)
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if not arguments or origin is typing.Literal:
            return kind
        copied = tuple(self.of(one) for one in arguments)
        return typing.Union[copied] if origin in _UNIONS else origin[copied]  # noqa: UP007  made of a tuple at run time

    def _struct(self, kind: type[Struct]) -> Any:
        if kind in self._made:
            return self._made[kind]
        name = kind.__name__ if kind.__name__.startswith(self._prefix) else f"{self._prefix}{kind.__name__}"
        self._made[kind] = typing.ForwardRef(name)  # of a struct that holds itself
        hints = typing.get_type_hints(kind, include_extras=True)
        fields: list[Any] = []
        for one in structs.fields(kind):
            wanted = self.of(hints[one.name])
            if one.default is msgspec.NODEFAULT and one.default_factory is msgspec.NODEFAULT:
                fields.append((one.encode_name, wanted))
            else:
                default = None if isinstance(one.default, Raw) else one.default
                fields.append((one.encode_name, wanted, default))
        more = self._more.get(kind.__name__, ())
        fields = [*(one for one in fields if one[0] not in {name for name, *_ in more}), *more]
        config = kind.__struct_config__
        made = msgspec.defstruct(
            name,
            fields,
            kw_only=True,
            tag=config.tag,
            tag_field=config.tag_field,
            namespace={"__doc__": kind.__doc__},
        )
        # A struct that holds itself is looked up by its name, in the module that it says it is of.
        made.__module__, globals()[name] = __name__, made
        self._made[kind] = made
        return made
