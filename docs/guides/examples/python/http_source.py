"""Sends the rows of an NDJSON file over HTTP, however long it is and whatever is away meanwhile.

    REDLINE_KEY=$(redline key create billing-export --scope rows --source billing) \
        python http_source.py rows.ndjson --url http://127.0.0.1:8080

Sending a row again is harmless: the same version with the same content counts once. So nothing has to be remembered:
after a failure, send the file again.
"""

import argparse
import itertools
import os
import sys
import time

import requests

LINES_IN_ONE_REQUEST = 10_000
# Too many requests, or something that the door needs is away: it says when to come back, and from which line.
COME_BACK = {408, 429, 503}


def main():
    parser = argparse.ArgumentParser(description="Sends an NDJSON file of rows to Redline.")
    parser.add_argument("file")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--patience", type=float, default=600, help="seconds without progress before giving up")
    arguments = parser.parse_args()
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {os.environ['REDLINE_KEY']}"
    accepted = refused = sent = 0
    with open(arguments.file, "rb") as file:
        while lines := list(itertools.islice(file, LINES_IN_ONE_REQUEST)):
            counts = send(session, f"{arguments.url}/v1/rows", lines, sent, arguments.patience)
            accepted, refused, sent = accepted + counts[0], refused + counts[1], sent + len(lines)
    print(f"accepted: {accepted}, refused: {refused}")
    return 1 if refused else 0


def send(session, url, lines, before, patience):
    """Sends lines until all of them are accepted or refused, and answers how many are which."""
    accepted = refused = start = 0  # `start` lines are settled
    deadline = time.monotonic() + patience
    while start < len(lines):
        try:
            answer = session.post(
                url,
                data=b"".join(lines[start:]),
                headers={"Content-Type": "application/x-ndjson"},
                timeout=(10, 300),  # a key with a limit of rate is slowed down, not cut off
            )
        except requests.RequestException as error:
            # Nobody knows how far it came; what was accepted already will be a duplicate.
            come_back(deadline, 5, str(error))
            continue
        if answer.status_code not in {202, 422} | COME_BACK:
            raise SystemExit(f"{url} answers {answer.status_code}: {answer.text}")
        said = answer.json()
        accepted += said.get("accepted", 0)
        refused += said.get("refused", 0)
        for error in said.get("errors", []):
            line = before + start + error["line"]
            print(f"line {line}: {error.get('field')}: {error['reason']}", file=sys.stderr)
        if answer.status_code not in COME_BACK:
            break
        settled = said.get("resume_line", 1) - 1
        if settled:
            start += settled
            deadline = time.monotonic() + patience
        come_back(deadline, float(answer.headers.get("Retry-After", 5)), said.get("detail"))
    return accepted, refused


def come_back(deadline, seconds, reason):
    if time.monotonic() + seconds > deadline:
        raise SystemExit(f"given up: {reason}")
    print(f"again in {seconds:g} s: {reason}", file=sys.stderr)
    time.sleep(seconds)


if __name__ == "__main__":
    sys.exit(main())
