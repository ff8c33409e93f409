"""Reading what a page shows."""

from streamlit.testing.v1 import AppTest


def words(app: AppTest) -> str:
    """Everything a page says, as one text."""
    kinds = (
        "title",
        "subheader",
        "markdown",
        "caption",
        "error",
        "warning",
        "info",
        "success",
        "metric",
        "text",
        "code",
    )
    parts = [str(element.value) for kind in kinds for element in app.get(kind)]
    return "\n".join(parts + [button.label for button in app.button])


def press(app: AppTest, label: str) -> AppTest:
    """Press the button whose label begins so."""
    return next(button for button in app.button if button.label.startswith(label)).click().run()
