"""Thaw in the browser: `streamlit run streamlit_app.py`. Router and frame only."""

from streamlit.starlette import App

from ui.frame import route
from ui.web import making_ready, routes

app = App("streamlit_app.py", routes=routes, lifespan=making_ready)  # what the server starts, which imports this file

if __name__ == "__main__":  # each time a page is shown, which runs this file
    route()
