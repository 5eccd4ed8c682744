#!/usr/bin/env python3
"""Runs the vendor's own SDK (aliyun-log-python-sdk), unmodified, against the SLS emulator.

    python sdk_smoke.py PORT [ACCESS_KEY_ID ACCESS_KEY_SECRET]

The SDK does not accept an address with a port, so it uses the emulator as http_proxy, with any endpoint name. One line is
printed per check; the exit code is 1 if one failed. Every run uses its own project, so that an emulator can be used again.
"""

import base64
import logging
import os
import sys
import threading
import time
import traceback

if len(sys.argv) not in (2, 4):
    sys.exit(__doc__)
PORT = int(sys.argv[1])
KEY_ID, KEY_SECRET = sys.argv[2:] or ("AK", "SK")
VERIFIED = len(sys.argv) == 4
os.environ["http_proxy"] = f"http://127.0.0.1:{PORT}"
for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
    os.environ.pop(name, None)

from aliyun.log import LogClient, LogException, LogItem, PutLogsRequest  # noqa: E402
from aliyun.log.pulllog_response import PullLogResponse  # noqa: E402
from aliyun.log.consumer import ConsumerProcessorBase, ConsumerWorker, CursorPosition, LogHubConfig  # noqa: E402

ENDPOINT = "http://emu.log.example"
REGION = "cn-hangzhou"
LOGSTORE = "smoke"
FAILED = []

logging.getLogger("aliyun").setLevel(logging.CRITICAL)


def check(what, holds, detail=""):
    print(f"{'ok  ' if holds else 'FAIL'}  {what}{'' if holds else f': {detail}'}", flush=True)
    if not holds:
        FAILED.append(what)


def wait_until(condition, seconds):
    deadline = time.time() + seconds
    while time.time() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return condition()


def refusal(call):
    """The error code with which a call fails."""
    try:
        call()
    except LogException as error:
        return error.get_error_code()
    return "no error"


def client(version, key_id=KEY_ID, secret=KEY_SECRET, token=None):
    return LogClient(ENDPOINT, key_id, secret, securityToken=token, auth_version=version, region=REGION)


def put(sdk, project, numbers, hash_key=None, compress=True):
    items = [LogItem(timestamp=int(time.time()), contents=[("n", str(number)), ("text", "a 'b' 你好\n")]) for number in numbers]
    request = PutLogsRequest(project, LOGSTORE, "topic", "10.0.0.1", items, hashKey=hash_key, compress=compress, logtags=[("host", "h1")])
    sdk.put_logs(request)


def number_of(cursor):
    return int(base64.b64decode(cursor))


class Seen:
    """The logs that the workers of a test received."""

    def __init__(self):
        self.lock = threading.Lock()
        self.numbers = []
        self.by_worker = {}
        self.logs = []

    def add(self, worker, shard, logs):
        with self.lock:
            self.logs += logs
            self.numbers += [int(log["n"]) for log in logs]
            self.by_worker.setdefault(worker, set()).add(shard)


class Processor(ConsumerProcessorBase):
    def __init__(self, worker, seen):
        super().__init__()
        self.worker, self.seen = worker, seen

    def process(self, groups, tracker):
        logs = PullLogResponse.loggroups_to_flattern_list(groups, time_as_str=True, decode_bytes=True)
        self.seen.add(self.worker, self.shard_id, logs)
        self.save_checkpoint(tracker, True)


def start(version, project, group, worker, seen, **settings):
    config = LogHubConfig(
        ENDPOINT, KEY_ID, KEY_SECRET, project, LOGSTORE, group, worker,
        cursor_position=CursorPosition.BEGIN_CURSOR, heartbeat_interval=1, data_fetch_interval=0.2,
        auth_version=version, region=REGION, **settings,
    )
    thread = ConsumerWorker(Processor, config, args=(worker, seen))
    thread.start()
    return thread


def stop(*workers):
    for worker in workers:
        worker.shutdown()
    for worker in workers:
        worker.join(timeout=15)


def checkpoints(sdk, project, group):
    return {entry["shard"]: entry for entry in sdk.get_check_point(project, LOGSTORE, group).get_consumer_group_check_points()}


def check_single_calls(version, project):
    sdk = client(version)
    name = f"{version}: "
    sdk.create_consumer_group(project, LOGSTORE, "calls", 40, False)
    groups = sdk.list_consumer_group(project, LOGSTORE).get_consumer_groups()
    listed = [(group.get_consumer_group_name(), group.get_timeout(), group.is_in_order()) for group in groups]
    check(name + "a group is created and listed", listed == [("calls", 40, False)], listed)
    sdk.update_consumer_group(project, LOGSTORE, "calls", timeout=50, in_order=True)
    groups = sdk.list_consumer_group(project, LOGSTORE).get_consumer_groups()
    changed = [(group.get_timeout(), group.is_in_order()) for group in groups]
    check(name + "a group is changed", changed == [(50, True)], changed)
    code = refusal(lambda: sdk.create_consumer_group(project, LOGSTORE, "calls", 40))
    check(name + "a second group of a name is refused", code == "ConsumerGroupAlreadyExist", code)

    code = refusal(lambda: sdk.heart_beat(project, LOGSTORE, "calls", "me", [0]))
    check(name + "an unknown consumer with shards is refused", code == "NotExistConsumerWithBody", code)
    given = sdk.heart_beat(project, LOGSTORE, "calls", "me", []).get_shards()
    check(name + "a heartbeat is answered with shards", given == [0, 1], given)
    code = refusal(lambda: sdk.heart_beat(project, LOGSTORE, "nothing", "me", []))
    check(name + "a heartbeat to no group is refused", code == "ConsumerGroupNotExist", code)

    put(sdk, project, range(3))
    put(sdk, project, range(3, 5), hash_key="0" * 32)
    put(sdk, project, range(5, 6), hash_key="f" * 32, compress=False)
    shards = [(s["shardID"], s["status"]) for s in sdk.list_shards(project, LOGSTORE).get_shards_info()]
    check(name + "shards are listed", shards == [(0, "readwrite"), (1, "readwrite")], shards)
    numbers, steps = [], 0
    for shard in (0, 1):
        begin = sdk.get_cursor(project, LOGSTORE, shard, "begin").get_cursor()
        end = sdk.get_cursor(project, LOGSTORE, shard, "end").get_cursor()
        steps += number_of(end) - number_of(begin)
        reply = sdk.pull_logs(project, LOGSTORE, shard, begin, 1000)
        numbers += [int(log["n"]) for log in reply.get_flatten_logs_json()]
        check(name + f"a pull of shard {shard} ends at its end", reply.get_next_cursor() == end, reply.get_next_cursor())
        again = sdk.pull_logs(project, LOGSTORE, shard, end, 1000)
        check(name + "a pull at the end brings nothing and stays", (again.get_loggroup_count(), again.get_next_cursor()) == (0, end))
        plain = sdk.pull_logs(project, LOGSTORE, shard, begin, 1000, compress=False)
        check(name + "a plain pull brings as much", plain.get_loggroup_count() == reply.get_loggroup_count())
    check(name + "every write is one step of a cursor", steps == 3, steps)
    check(name + "every log comes back", sorted(numbers) == list(range(6)), sorted(numbers))

    begin = sdk.get_cursor(project, LOGSTORE, 0, "begin").get_cursor()
    age = time.time() - int(sdk.get_cursor_time(project, LOGSTORE, 0, begin).get_cursor_time())
    check(name + "a cursor has its receive time", -2 < age < 60, age)
    end = sdk.get_cursor(project, LOGSTORE, 0, "end").get_cursor()
    age = time.time() - int(sdk.get_previous_cursor_time(project, LOGSTORE, 0, end).get_cursor_time())
    check(name + "the end has the time of the log before it", -2 < age < 60, age)
    later = sdk.get_cursor(project, LOGSTORE, 0, int(time.time()) + 60).get_cursor()
    check(name + "a time ahead is the end", later == end, later)

    query = "* | where n = '4'"
    reply = sdk.pull_logs(project, LOGSTORE, 0, begin, 1000, query=query)
    found = [log["n"] for log in reply.get_flatten_logs_json()]
    check(name + "a query filters", found == ["4"], found)
    reply = sdk.pull_logs(project, LOGSTORE, 0, begin, 1000, query="* | where n = 'none'")
    empty = (reply.get_loggroup_count(), reply.get_next_cursor() == end, reply.get_raw_log_group_count_before_query() > 0)
    check(name + "a query that drops everything still advances", empty == (0, True, True), empty)

    entries = checkpoints(sdk, project, "calls")
    check(name + "a shard never saved has an empty checkpoint", entries[1]["checkpoint"] == "", entries[1])
    sdk.update_check_point(project, LOGSTORE, "calls", 0, end, "me", False)
    entry = checkpoints(sdk, project, "calls")[0]
    age = time.time() - entry["updateTime"] / 1e6
    saved = (entry["checkpoint"], entry["consumer"], -2 < age < 60)
    check(name + "a checkpoint is saved with its consumer and time", saved == (end, "me", True), entry)
    code = refusal(lambda: sdk.update_check_point(project, LOGSTORE, "calls", 0, end, "other", False))
    check(name + "a save of an unknown consumer is refused", code == "ConsumerNotExist", code)
    sdk.update_check_point(project, LOGSTORE, "calls", 0, begin, "other", True)
    saved = checkpoints(sdk, project, "calls")[0]["checkpoint"]
    check(name + "a forced save is accepted from any consumer", saved == begin, saved)
    code = refusal(lambda: sdk.update_check_point(project, LOGSTORE, "calls", 0, "%", "me", True))
    check(name + "a checkpoint that is none is refused", code == "InvalidShardCheckPoint", code)

    def check_error(what, code, call):
        seen = refusal(call)
        check(name + what, seen == code, seen)

    beyond = base64.b64encode(str(number_of(end) + 1).encode()).decode()
    check_error("a foreign cursor is refused", "InvalidCursor", lambda: sdk.pull_logs(project, LOGSTORE, 0, beyond, 1))
    check_error("a cursor that is none is refused", "ParameterInvalid", lambda: sdk.pull_logs(project, LOGSTORE, 0, "x", 1))
    check_error("a shard that is not is refused", "ShardNotExist", lambda: sdk.pull_logs(project, LOGSTORE, 99, end, 1))
    check_error("a count over 1000 is refused", "ParameterInvalid", lambda: sdk.pull_logs(project, LOGSTORE, 0, end, 1001))
    check_error("SPL that it cannot run is refused", "ParameterInvalid", lambda: sdk.pull_logs(project, LOGSTORE, 0, end, 1, query="* | extend a = 1"))
    old = PutLogsRequest(project, LOGSTORE, "t", "s", [LogItem(timestamp=1, contents=[("a", "b")])])
    check_error("a log of 1970 is refused", "InvalidTimestamp", lambda: sdk.put_logs(old))
    if VERIFIED:
        check_error("a wrong secret is refused", "SignatureNotMatch", lambda: client(version, secret="x").list_shards(project, LOGSTORE))
        check_error("an unknown key is refused", "Unauthorized", lambda: client(version, key_id="x").list_shards(project, LOGSTORE))
        check_error("an uninvited token is refused", "Unauthorized", lambda: client(version, token="x").list_shards(project, LOGSTORE))
    sdk.delete_consumer_group(project, LOGSTORE, "calls")
    check(name + "a group is deleted", sdk.list_consumer_group(project, LOGSTORE).get_consumer_groups() == [])


def check_consumers(version, project):
    sdk = client(version)
    name = f"{version}: "
    seen = Seen()
    for number in range(0, 40, 4):
        put(sdk, project, range(number, number + 4))
    first = start(version, project, "workers", "one", seen)
    complete = wait_until(lambda: len(seen.numbers) >= 40, 20)
    check(name + "one worker consumes everything", complete and sorted(seen.numbers) == list(range(40)), sorted(seen.numbers))
    keys = list(seen.logs[0])
    expected = ["__time__", "__topic__", "__source__", "__time_ns_part__", "__tag__:host", "n", "text"]
    check(name + "logs arrive with all their parts", keys == expected, keys)

    second = start(version, project, "workers", "two", seen)
    time.sleep(5)
    seen.by_worker.clear()
    for number in range(40, 80):
        put(sdk, project, [number])
    complete = wait_until(lambda: len(set(seen.numbers)) >= 80, 20)
    check(name + "two workers consume everything", complete and set(seen.numbers) == set(range(80)), len(set(seen.numbers)))
    shares = {worker: len(shards) for worker, shards in seen.by_worker.items()}
    check(name + "each of them has one shard", shares == {"one": 1, "two": 1}, shares)

    parent = sdk.list_shards(project, LOGSTORE).get_shards_info()[0]
    middle = (int(parent["inclusiveBeginKey"], 16) + int(parent["exclusiveEndKey"], 16)) // 2
    split = sdk.split_shard(project, LOGSTORE, 0, f"{middle:032x}").get_shards_info()
    statuses = [(shard["shardID"], shard["status"]) for shard in split]
    check(name + "a shard is split", statuses == [(0, "readonly"), (2, "readwrite"), (3, "readwrite")], statuses)
    for number in range(80, 120):
        put(sdk, project, [number])
    complete = wait_until(lambda: len(set(seen.numbers)) >= 120, 30)
    check(name + "what is written after a split is consumed", complete, len(set(seen.numbers)))
    check(name + "nothing came twice", len(seen.numbers) == len(set(seen.numbers)), len(seen.numbers))
    stop(first, second)
    ends = {s["shardID"]: sdk.get_cursor(project, LOGSTORE, s["shardID"], "end").get_cursor() for s in sdk.list_shards(project, LOGSTORE).get_shards_info()}
    saved = {shard: entry["checkpoint"] for shard, entry in checkpoints(sdk, project, "workers").items()}
    check(name + "every shard was saved at its end", saved == ends, (saved, ends))


def check_query_consumer(version, project):
    sdk = client(version)
    seen = Seen()
    for number in range(10):
        put(sdk, project, [number])
    worker = start(version, project, "filtered", "one", seen, query="* | where n in ('3', '7')")
    complete = wait_until(lambda: len(seen.numbers) >= 2, 15)
    stop(worker)
    check(f"{version}: a worker with a query is given what passes", complete and sorted(seen.numbers) == [3, 7], seen.numbers)


def main():
    stamp = int(time.time())
    for version in ("v1", "v4"):
        for part in (check_single_calls, check_consumers, check_query_consumer):
            try:
                part(version, f"{part.__name__.replace('_', '-')}-{version}-{stamp}")
            except Exception:  # A part that fails must not hide the results of the others.
                check(f"{version}: {part.__name__} runs through", False, traceback.format_exc())
    print(f"{len(FAILED)} failed" if FAILED else "all passed", flush=True)
    # Threads of the SDK may still be running; they must not delay the result.
    os._exit(1 if FAILED else 0)


if __name__ == "__main__":
    main()
