"""which process may write of a running run, by more than the name of its host and its number there"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("runs", sa.Column("claim", sa.String(), nullable=True))
