"""Makes a database of the K9 application's kind and of a wanted size: mostly notifications, in Arabic, with JSON."""

from __future__ import annotations

import sys

import psycopg

#: Rows of `notification` that make a database of about 1 GB, indexes included.
ROWS_PER_GB = 3_000_000

_TABLES = """
    CREATE TABLE IF NOT EXISTS notification (
        id uuid PRIMARY KEY, user_id uuid NOT NULL, type text NOT NULL, title varchar(200) NOT NULL,
        message text NOT NULL, read boolean, read_at timestamp, created_at timestamp NOT NULL);
    CREATE TABLE IF NOT EXISTS veterinary_visit (
        id uuid PRIMARY KEY, dog_id uuid NOT NULL, visit_date timestamp NOT NULL, weight float, diagnosis text,
        medications json)
"""

_NOTIFICATIONS = """
    INSERT INTO notification
    SELECT gen_random_uuid(), gen_random_uuid(),
        (ARRAY['SCHEDULE_CREATED', 'TASK_ASSIGNED', 'REPORT_APPROVED'])[1 + n %% 3],
        'تم إنشاء جدول العمل رقم ' || n,
        'السائس ' || (ARRAY['أحمد العتيبي', 'Omar K.', 'سارة القحطاني', 'خالد'])[1 + n %% 4]
            || ' مكلف بالكلب K9-' || n %% 997 || ' في الوردية الصباحية ' || md5(n::text),
        (ARRAY[true, false, NULL])[1 + n %% 3], now() - n * interval '7 s', now() - n * interval '7 s'
    FROM generate_series(1, %s) AS n
"""

_VISITS = """
    INSERT INTO veterinary_visit
    SELECT gen_random_uuid(), gen_random_uuid(), now() - n * interval '1 h', 20 + random() * 20,
        'فحص روتيني، الحالة جيدة ' || md5(n::text), json_build_object('اسم', 'Rimadyl', 'mg', n %% 100)
    FROM generate_series(1, %s) AS n
"""


def fill_database(url: str, *, size_gb: float) -> int:
    """Fill an empty database.

    Args:
        url: PostgreSQL URL of the database.
        size_gb: Wanted size, roughly.

    Returns:
        `pg_database_size` in bytes.
    """
    rows = int(ROWS_PER_GB * size_gb)
    with psycopg.connect(url, autocommit=True) as session:
        for statement in _TABLES.split(";"):
            session.execute(statement)
        session.execute(_NOTIFICATIONS, [rows])
        session.execute(_VISITS, [rows // 20])
        session.execute("CREATE INDEX ON notification (created_at)")
        session.execute("CREATE INDEX ON notification (user_id, read)")
        session.execute("VACUUM ANALYZE")
        session.execute("CHECKPOINT")
        row = session.execute("SELECT pg_database_size(current_database())").fetchone()
    return int(row[0]) if row else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("Usage: python benchmarks/make_database.py DATABASE_URL SIZE_GB")
    print(f"{fill_database(sys.argv[1], size_gb=float(sys.argv[2])) / 1e9:.2f} GB")
