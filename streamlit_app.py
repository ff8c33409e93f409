"""Thaw in the browser: `streamlit run streamlit_app.py`. Router and frame only."""

from streamlit.starlette import App

from ui.frame import route
from ui.web import making_ready, middleware, routes

# What the server starts, which imports this file.
app = App("streamlit_app.py", routes=routes, middleware=middleware, lifespan=making_ready)

if __name__ == "__main__":  # each time a page is shown, which runs this file
    route()
