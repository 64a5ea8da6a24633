"""Messages as earlier releases wrote them into Redis, byte for byte but for their ids."""

from __future__ import annotations

import uuid

from tests.chaos.storm import Storm
from tests.processes import wait_for

_QUEUE, _DELAYED = "dramatiq:storm", "dramatiq:storm.DQ"

# Without a ledger, as Dramatiq does by itself.
_UNRECORDED = (
    '{"queue_name":"storm","actor_name":"count_quickly","args":[],"kwargs":{"number":0},"options":'
    '{"redis_message_id":"REDIS_ID"},"message_id":"RUN_ID","message_timestamp":1764000000000}'
)
# With one, but without a token.
_RECORDED = (
    '{"queue_name":"storm","actor_name":"count_quickly","args":[],"kwargs":{"number":1},"options":'
    '{"k9ops_recorded":true,"redis_message_id":"REDIS_ID"},"message_id":"RUN_ID","message_timestamp":1764000000000}'
)
# Delayed messages waited in Redis.
_LATER = (
    '{"queue_name":"storm.DQ","actor_name":"count_quickly","args":[],"kwargs":{"number":2},"options":'
    '{"k9ops_recorded":true,"redis_message_id":"REDIS_ID","eta":1764000060000},"message_id":"RUN_ID",'
    '"message_timestamp":1764000000000}'
)
# Dramatiq's own retries left traces.
_RETRIED = (
    '{"queue_name":"storm","actor_name":"count_quickly","args":[],"kwargs":{"number":3},"options":'
    '{"k9ops_recorded":true,"redis_message_id":"REDIS_ID","retries":1,"traceback":"TransientError"},'
    '"message_id":"RUN_ID","message_timestamp":1764000000000}'
)
# Nobody sends these runs again: the older release has, and what it sent is all that there is.
_RECORD = """
    INSERT INTO k9ops.run (id, job, queue, params, trigger, sent_at, sends)
    VALUES (%s, 'count_quickly', 'storm', '{}', 'enqueue', now() + interval '1 hour', 1)
"""


def send_as_older_releases(storm: Storm, count: int) -> list[uuid.UUID]:
    """Put messages of each kind into Redis, and return the ids of their runs."""
    ids = []
    for _ in range(count):
        ids.append(_put(storm, uuid.uuid4(), _QUEUE, _UNRECORDED))
        for key, text in ((_QUEUE, _RECORDED), (_DELAYED, _LATER), (_QUEUE, _RETRIED)):
            run_id = uuid.uuid4()
            storm.postgres.ask(_RECORD, [run_id])
            ids.append(_put(storm, run_id, key, text))
    return ids


def wait_for_success(storm: Storm, ids: list[uuid.UUID]) -> None:
    """Wait until all these runs have succeeded."""
    query = "SELECT count(*) FROM k9ops.run WHERE id = ANY(%s) AND state = 'succeeded'"
    wait_for(lambda: storm.postgres.ask(query, [ids])[0][0] == len(ids))


def _put(storm: Storm, run_id: uuid.UUID, key: str, text: str) -> uuid.UUID:
    redis_id = str(uuid.uuid4())
    text = text.replace("RUN_ID", str(run_id)).replace("REDIS_ID", redis_id)
    storm.redis.ask_broker("HSET", f"{key}.msgs", redis_id, text)
    storm.redis.ask_broker("RPUSH", key, redis_id)
    return run_id
