"""Thaw in the browser: `streamlit run streamlit_app.py`. Router and frame only."""

from ui.frame import route

route()
