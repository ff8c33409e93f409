"""What the server answers beside Streamlit's own pages: uploads that stream to disk, and thumbnails."""

from ui.web.pictures import picture_routes
from ui.web.uploads import upload_routes

routes = [*upload_routes, *picture_routes]

__all__ = ["routes"]
