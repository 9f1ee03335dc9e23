"""Updates on an interpreter of a device, end to end. Prints one line of JSON, which must be equal everywhere. Run beside `safeml_edge`.

Argument: the folder with device.json, the bundles 5.safeml to 8.safeml, and 5-6.delta.
"""

import hashlib
import json
import os
import sys
import threading
from collections import namedtuple
from contextlib import contextmanager
from http.server import HTTPServer, SimpleHTTPRequestHandler

from safeml_edge.edge.binomial import upper_bound
from safeml_edge.edge.changes import commit, rollback
from safeml_edge.edge.delta import apply_delta
from safeml_edge.edge.errors import EdgeFailure
from safeml_edge.edge.https import Https
from safeml_edge.edge.install import install
from safeml_edge.edge.policy import UpdatePolicy
from safeml_edge.edge.rollout import place
from safeml_edge.edge.schedule import allowed
from safeml_edge.edge.settings import read_settings
from safeml_edge.edge.shadow import Counts, judge, write_counts
from safeml_edge.edge.shadow_run import open_pair, promote_shadow
from safeml_edge.edge.sources import HttpsSource
from safeml_edge.edge.starts import begin
from safeml_edge.edge.status import lines, status
from safeml_edge.edge.updates import bundle_of, update

Facts = namedtuple("Facts", "architecture compute_capability tensorrt jetpack memory_mb")
FACTS = Facts("aarch64", "8.7", "10.3.0", "6.2", 7620)
NOW = 1796000000
SelfTest = namedtuple("SelfTest", "passed checks")


def passing(folder, verified, settings, facts):
    return SelfTest(True, ())


def failing(folder, verified, settings, facts):
    return SelfTest(False, (("outputs", "failed", "The outputs differ.", {}),))


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@contextmanager
def serving(folder):
    os.chdir(folder)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def main():
    folder = sys.argv[1]
    settings = read_settings(os.path.join(folder, "device.json"))
    said = []

    def say(call, *arguments, **options):
        try:
            change = call(*arguments, **options)
            said.append([change.event, change.release, change.sentence, change.notes])
        except EdgeFailure as error:
            said.append([error.exit_code, getattr(error, "reason", ""), error.message])

    def put(release, test=passing, **options):
        say(install, os.path.join(folder, f"{release}.safeml"), settings, FACTS, NOW, test, **options)

    def start(test=None):
        result = begin(settings, FACTS, NOW, test)
        said.append([result.verified.manifest.release, os.path.basename(result.folder), result.notes])
        return result.watch

    put(5)
    say(commit, settings, FACTS, NOW)
    say(lambda: start(passing).record(100, 200, 10, ended=True, now=NOW))
    put(6, failing)
    delta = os.path.join(folder, "5-6.delta")
    out = os.path.join(folder, "patched.safeml")
    old = bundle_of(os.path.join(settings.root, "a"))
    size = apply_delta(old, delta, out, 1 << 20)
    with open(out, "rb") as stream:
        said.append([size, hashlib.sha256(stream.read()).hexdigest()])
    say(install, out, settings, FACTS, NOW, passing)
    put(7)
    for _ in range(4):
        start()  # dies
    put(6)
    with serving(folder) as address:
        source = HttpsSource(Https(address, plain_loopback=True))
        say(update, settings, FACTS, lambda: NOW, source=source, selftest=passing)
    say(commit, settings, FACTS, NOW, True)
    say(rollback, settings, FACTS, NOW, "by command")
    put(9, shadow=True)
    pair = open_pair(settings, FACTS, NOW)
    say(promote_shadow, settings, FACTS, NOW)
    counts = Counts(frames=2000, signs=200, flips=2, flip_signs=2)
    write_counts(settings.root, pair.name, counts, {})
    said.append(list(judge(counts, UpdatePolicy().shadow)))
    say(promote_shadow, settings, FACTS, NOW)
    for slot in "ab":
        os.rename(os.path.join(settings.root, slot, "labels.json"), os.path.join(settings.root, slot, "gone"))
    try:
        start()
    except EdgeFailure as error:
        said.append([error.exit_code, error.reason])
    policy = UpdatePolicy(timezone="Europe/Berlin", quiet_hours=("00:00-06:00",))
    record = {
        "said": said,
        "status": lines(status(settings, NOW)),
        "hours": list(allowed(policy, NOW, None)),
        "place": list(place("device-1", "signs", 7, 50)),
        "bound": round(upper_bound(3, 200), 12),
    }
    text = json.dumps(record, sort_keys=True, indent=1)
    sys.stdout.write(text.replace(settings.root, "ROOT").replace(folder, "FOLDER") + "\n")


main()
