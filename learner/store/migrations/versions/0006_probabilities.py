"""probabilities of classes that a table gives for an image"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("images", sa.Column("probabilities", sa.JSON(), nullable=True))
