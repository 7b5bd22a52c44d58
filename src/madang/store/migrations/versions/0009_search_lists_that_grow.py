"""Search on PostgreSQL: lists that grow stay on their page, and are not compressed each time."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    # Room for what is added to a page's lists while its block fills: an update that stays on its
    # page writes no index.
    op.execute("ALTER TABLE search_postings SET (fillfactor = 70)")
    # The long lists are added to most often, and numbers do not compress well.
    op.execute("ALTER TABLE search_postings ALTER COLUMN documents SET STORAGE EXTERNAL")
