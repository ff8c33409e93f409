"""studies: variants of a recipe with several seeds and folds, which answer one question"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "studies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_version_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("design", sa.JSON(), nullable=False),
        sa.Column("deleted_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["dataset_version_id"], ["dataset_versions.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("study", sa.Integer(), nullable=True))
        runs.add_column(sa.Column("variant", sa.Integer(), nullable=True))
        runs.create_foreign_key("fk_runs_study", "studies", ["study"], ["id"])
        runs.create_index("ix_runs_study", ["study"])
