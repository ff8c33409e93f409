"""which queued runs a worker cannot train, and what it lacks for them"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    with op.batch_alter_table("workers") as workers:
        workers.add_column(sa.Column("declined", sa.JSON(), nullable=False, server_default="{}"))
