"""what the data room keeps: groups, near duplicates, weights, why an image is excluded, measurements, drafts"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("dataset_versions", sa.Column("parent", sa.Integer(), nullable=True))
    for name in ("group", "cluster", "reason"):
        op.add_column("images", sa.Column(name, sa.String(), nullable=False, server_default=""))
    op.add_column("images", sa.Column("weight", sa.Double(), nullable=True))
    op.create_table(
        "contents",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("num_bytes", sa.Integer(), nullable=False),
        sa.Column("phash", sa.String(), nullable=False),
        sa.Column("tiny", sa.LargeBinary(), nullable=False),
        sa.Column("brightness", sa.Double(), nullable=False),
        sa.Column("contrast", sa.Double(), nullable=False),
        sa.Column("sharpness", sa.Double(), nullable=False),
        sa.Column("camera", sa.String(), nullable=False),
        sa.Column("taken_at", sa.Double(), nullable=True),
        sa.Column("treatment", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sha256"),
    )
    op.create_table(
        "drafts",
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("edits", sa.JSON(), nullable=False),
        sa.Column("undone", sa.JSON(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("dataset_id"),
    )
