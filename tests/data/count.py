#!/usr/bin/env python3
"""Counts changes and reversions in a file of outages, independently of Redline: no code and no rule file of it
is used, only the contract's words.

    python3 count.py outages-excerpt.csv

A row's versions are taken in the order of their numbers. A column has changed when its value differs from the one
in the version before: `customers_affected` by value, the others to the letter, an empty cell is no value. It is a
reversion when the value equals the one that the column had before its last change.
"""

import csv
import gzip
import sys
from collections import Counter, defaultdict
from decimal import Decimal, InvalidOperation

COLUMNS = ("customers_affected", "restoration_estimate", "crew_status")


def value(column, cell):
    if cell == "":
        return None
    if column == "customers_affected":
        try:
            return Decimal(cell)
        except InvalidOperation:
            return cell
    return cell


def read(path):
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "rt", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def count(lines):
    histories = defaultdict(dict)
    for line in lines:
        histories[line["row_id"]][int(line["version"])] = line
    found = Counter(versions=len(lines), rows=len(histories))
    for history in histories.values():
        for column in COLUMNS:
            values = [value(column, history[version][column]) for version in sorted(history)]
            before_last_change = []
            for before, after in zip(values, values[1:]):
                if before == after:
                    continue
                found[column] += 1
                if before_last_change and before_last_change[-1] == after:
                    found["reversions"] += 1
                before_last_change.append(before)
    return found


if __name__ == "__main__":
    found = count(read(sys.argv[1]))
    for name in ("versions", "rows", *COLUMNS, "reversions"):
        print(f"{name}={found[name]}")
