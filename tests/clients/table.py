"""Reads what clients told, one JSON object a line, and prints a table; exits with 1 where one failed."""
import json
import sys

told = [json.loads(line) for line in sys.stdin]
clients = list(dict.fromkeys(each["client"] for each in told))
cases = list(dict.fromkeys(each["case"] for each in told))
outcome = {(each["case"], each["client"]): "FAILED" if each["error"] else "ok" for each in told}
width = max(map(len, cases))
print(" " * width, *clients, sep="  ")
for case in cases:
    cells = [outcome.get((case, client), "").ljust(len(client)) for client in clients]
    print(case.ljust(width), *cells, sep="  ")
failed = [each for each in told if each["error"]]
for each in failed:
    print(f"{each['client']}, {each['case']}: {each['error']}")
print(f"{len(told)} cases, {len(failed)} failed")
sys.exit(1 if failed or not told else 0)
