"""A customer from 127.0.0.2 who asks a hundred times a second, each time over a new connection."""

import http.client
import sys
import time

seconds, name = float(sys.argv[1]), sys.argv[2]
times, refused, begun = [], 0, time.monotonic()
while time.monotonic() - begun < seconds:
    asked = time.monotonic()
    try:
        shop = http.client.HTTPConnection("127.0.0.1", 8080, 10, ("127.0.0.2", 0))
        shop.request("GET", "/")
        refused += shop.getresponse().status != 200
        shop.close()
    except OSError:
        refused += 1
    times.append((time.monotonic() - asked) * 1000)
    time.sleep(max(0, 0.01 - (time.monotonic() - asked)))
times.sort()
at = lambda share: times[min(int(len(times) * share), len(times) - 1)]
print(f"{name:14} {at(0.5):8.2f} {at(0.99):8.2f} {len(times):8} {refused:8}", flush=True)
