"""The findings of testssl.sh and sslscan as a table by severity; ends with 1 where one is above LOW."""

import collections
import json
import re
import sys

profile, testssl, sslscan = sys.argv[1:]

findings = json.load(open(testssl, encoding="utf-8"))
if any(each["id"] == "scanProblem" and each["severity"] == "FATAL" for each in findings):
    sys.exit(f"{profile}: testssl.sh could not scan")
counts = collections.Counter(each["severity"] for each in findings)
print(f"{profile}: testssl.sh " + ", ".join(f"{counts[name]} {name}" for name in counts))
worse = [each for each in findings if each["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN")]
for each in worse:
    print(f"  {each['severity']:8} {each['id']}: {each['finding']}")

text = open(sslscan, encoding="utf-8").read()
protocols = dict(re.findall(r"^((?:SSL|TLS)v[\d.]+) +(enabled|disabled)", text, re.M))
ciphers = re.findall(r"^(?:Preferred|Accepted) +(\S+) +\d+ bits +(\S+)", text, re.M)
print(f"{profile}: sslscan " + ", ".join(name for name in protocols if protocols[name] == "enabled"))
for version, cipher in ciphers:
    print(f"  {version} {cipher}")
old = [name for name in protocols if protocols[name] == "enabled" and name not in ("TLSv1.2", "TLSv1.3")]
weak = [cipher for _, cipher in ciphers if not re.search("GCM|CHACHA20", cipher)]

bad = any(each["severity"] in ("MEDIUM", "HIGH", "CRITICAL") for each in worse)
sys.exit(1 if bad or old or weak or not ciphers else 0)
