"""what an epoch's validation images gave in parts, from which one can tell how much a choice among epochs flatters"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("epochs", sa.Column("parts", sa.JSON(), nullable=True))
