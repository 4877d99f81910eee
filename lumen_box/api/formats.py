"""From ``response_format`` and ``grammar`` to the grammar that the engine is given."""

from __future__ import annotations

from ..engine.grammars import ANY_OBJECT, GrammarRefused
from ..schemas.chat import ChatRequest
from ..schemas.errors import InvalidParameter
from ..schemas.sampling import Choosing
from .ports import ActiveModel

_SCHEMA = "response_format.json_schema.schema"


def check_format(asked: ChatRequest) -> None:
    """What one member alone cannot tell. Raises ``InvalidParameter``."""
    form = asked.response_format
    if form is None:
        return
    if form.type == "json_schema" and form.json_schema is None:
        raise InvalidParameter(
            "The parameter `response_format.json_schema` is missing.", param="response_format.json_schema"
        )
    if form.type != "json_schema" and form.json_schema is not None:
        raise InvalidParameter(
            "`response_format.json_schema` needs `response_format.type` to be json_schema.",
            param="response_format.json_schema",
        )
    if form.type != "text" and asked.grammar is not None:
        raise InvalidParameter("`grammar` and `response_format` both say what the answer is to be.", param="grammar")


async def grammar_for(model: ActiveModel, asked: Choosing, owner: str) -> str | None:
    """The grammar that the answer must follow, tried out; None for free text.

    Raises:
        InvalidParameter: it cannot be used; ``param`` leads to the place in the schema.
    """
    if asked.grammar is not None:
        try:
            return await model.grammars.of_text(asked.grammar, owner)
        except GrammarRefused as error:
            raise InvalidParameter(f"The grammar cannot be used: {error.what}.", param="grammar") from None
    form = asked.response_format if isinstance(asked, ChatRequest) else None
    if form is None or form.type == "text":
        return None
    try:
        return await model.grammars.of_schema(form.json_schema.schema if form.json_schema else ANY_OBJECT, owner)
    except GrammarRefused as error:
        raise _refused_schema(error) from None


def _refused_schema(error: GrammarRefused) -> InvalidParameter:
    param = (_SCHEMA + error.path).encode("ascii", "backslashreplace").decode()
    return InvalidParameter(
        f"This schema cannot be kept to. `{param}`: {error.what}.",
        kept="Nothing was generated.",
        then="Change the schema: what cannot be kept to is refused, never ignored.",
        param=param,
    )
