"""The chat in the browser: Gradio, behind the gateway. Not built yet."""
