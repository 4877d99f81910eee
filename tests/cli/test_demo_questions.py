"""What the demo asks and suggests comes from the card beside the model."""

from __future__ import annotations

import pytest

from lumen_box.cli.demo import suggested

LISTED = "\n".join(f"- Question {number}?" for number in range(1, 7))


@pytest.mark.parametrize(
    ("card", "questions"),
    [
        ("# A model\n", []),
        (f"# A model\n\n{LISTED}\n", []),
        (
            "# A model\n\n## Questions to begin with\n\n- One?\n- Two?\n\n## Limits\n\n- Not a question.\n",
            ["One?", "Two?"],
        ),
        (f"## Questions to begin with\n\n{LISTED}\n", [f"Question {number}?" for number in range(1, 5)]),
    ],
)
def test_the_first_four_of_the_list_under_the_heading(card: str, questions: list[str]) -> None:
    assert suggested(card) == questions
