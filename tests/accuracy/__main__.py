"""``python -m tests.accuracy [--records N] [--presidio N] [--examples] [--write]``: the table, and what misses its
gate."""

from __future__ import annotations

import argparse
import sys

from tests.accuracy import corpus, document, gates, presidio, score


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=24_000)
    parser.add_argument("--presidio", type=int, default=0, help="of so many records what Presidio finds as well")
    parser.add_argument("--examples", action="store_true", help="what was taken or missed for nothing")
    parser.add_argument("--write", action="store_true", help="into docs/detectors.md; with Presidio")
    options = parser.parse_args()
    ours = score.scored(corpus.records(options.records), score.by_kproxy())
    many = options.presidio or (6_000 if options.write else 0)
    theirs = score.scored(corpus.records(many), presidio.by_presidio()) if many else None
    print(f"{'entity':26} {'right':>6} {'wrong':>6} {'missed':>6}  precision recall" + ("  Presidio" if theirs else ""))
    for entity in corpus.ENTITIES:
        line = f"{entity:26} {ours.right[entity]:6} {ours.wrong[entity]:6} {ours.missed[entity]:6}  "
        line += f"{ours.precision(entity):9.3f} {ours.recall(entity):6.3f}"
        if theirs and entity in presidio.NAMES.values():
            line += f"  {theirs.precision(entity):.3f} {theirs.recall(entity):.3f}"
        print(line)
        for example in ours.examples.get(entity, []) if options.examples else []:
            print("    " + example.replace("\n", " "))
    if options.write:
        text = document.DOCUMENT.read_text()
        document.DOCUMENT.write_text(document.written(text, document.cells(ours, theirs)))
    missed = gates.missed(ours)
    for problem in missed:
        print(problem)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
