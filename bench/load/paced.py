#!/usr/bin/env python3
"""Asks at a fixed rate, whatever the answers take: `paced.py URL REQUESTS PER_SEC` prints one line of JSON.

REQUESTS is a file as `replay.lua` reads it; each request is sent once. With PER_SEC 0 all are sent at once, each on a
connection opened before. A latency counts from when its request was due, so that a queue in front of the server is in it.
"""

import asyncio
import json
import sys
import time
import urllib.parse

PARTED = b"\n%%%%\n"


class Answer:
    """One answer: what it said, and when it was there."""

    def __init__(self, head, body, took):
        lines = head.split(b"\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
        self.body, self.ms = body, took * 1e3


async def answered(connection, request, due):
    reader, writer = connection
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).removesuffix(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    body = await reader.readexactly(length)
    return Answer(head, body, time.perf_counter() - due)


async def main(url, requests, per_sec):
    place = urllib.parse.urlparse(url)
    free = []

    async def connect():
        return await asyncio.open_connection(place.hostname, place.port)

    async def one(request, due):
        connection = free.pop() if free else await connect()
        answer = await answered(connection, request, due)
        free.append(connection)
        return answer

    if not per_sec:
        free = [await connect() for _ in requests]
    began, asked = time.perf_counter(), []
    for number, request in enumerate(requests):
        due = began + number / per_sec if per_sec else began
        await asyncio.sleep(max(0.0, due - time.perf_counter()) if per_sec else 0)
        asked.append(asyncio.create_task(one(request, due)))
    answers = await asyncio.gather(*asked)
    print(json.dumps({"secs": time.perf_counter() - began, "connections": len(free), **summary(answers)}))
    for _, writer in free:
        writer.close()


def summary(answers):
    statuses = {}
    for answer in answers:
        statuses.setdefault(answer.status, []).append(answer)
    given = statuses.get(200, [])
    refused = statuses.get(429, [])
    return {
        "statuses": {str(status): len(some) for status, some in sorted(statuses.items())},
        "keys": len({json.loads(answer.body)["access_key_id"] for answer in given}),
        "429 without retry-after": sum(b"retry-after" not in answer.headers for answer in refused),
        "given": percentiles(given),
        "refused": percentiles(refused),
    }


def percentiles(answers):
    times = sorted(answer.ms for answer in answers)
    return {f"p{part}": times[min(len(times) - 1, len(times) * part // 100)] for part in (50, 99)} if times else None


if __name__ == "__main__":
    with open(sys.argv[2], "rb") as file:
        asyncio.run(main(sys.argv[1], file.read().split(PARTED)[:-1], float(sys.argv[3])))
