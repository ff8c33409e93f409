"""what results keep: which run a corrected one is compared with, and every look at a test set"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("runs", sa.Column("baseline", sa.Integer(), nullable=True))
    op.create_table(
        "test_looks",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("dataset", sa.String(), nullable=False, index=True),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("accuracy", sa.Double(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
    )
