"""Which workspace a request may work in: every route of ours asks here."""

from starlette.requests import HTTPConnection

from ui.people import SPACE, Entered, claims_of, enter


def entered_by(request: HTTPConnection) -> Entered:
    """Where whoever sent the request may work, in the space that its address names. Raises AccessError."""
    return enter(claims_of(request.cookies), request.query_params.get(SPACE))
