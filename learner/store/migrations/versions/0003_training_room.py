"""what the training room keeps: requests to a run, its place in the queue, where it began, what a step was like"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("runs", sa.Column("asked", sa.String(), nullable=False, server_default=""))
    op.execute("UPDATE runs SET asked = 'stop' WHERE stop_requested")
    op.drop_column("runs", "stop_requested")
    op.add_column("runs", sa.Column("position", sa.Double(), nullable=True))
    op.add_column("runs", sa.Column("deleted_at", sa.Double(), nullable=True))
    op.add_column("runs", sa.Column("series", sa.Integer(), nullable=True))
    op.add_column("runs", sa.Column("parent", sa.Integer(), nullable=True))
    op.add_column("runs", sa.Column("parent_phase", sa.Integer(), nullable=True))
    op.add_column("runs", sa.Column("deaths", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("epochs", sa.Column("samples", sa.JSON(), nullable=False, server_default="[]"))
    for table in ("epochs", "steps"):
        op.add_column(table, sa.Column("grad_norm", sa.Double(), nullable=True))
        op.add_column(table, sa.Column("images_per_s", sa.Double(), nullable=True))
