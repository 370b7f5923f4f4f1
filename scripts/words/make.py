"""Makes domain/data/words.tsv, the words that names must not contain, from a package and the lists beside this script:

    npm pack naughty-words@1.2.0
    python3 scripts/words/make.py FOLDER_OF_THE_PACKAGE domain/data

The same package and the same lists give the same bytes. The table is UTF-8 text, one row a line, columns separated by tabs, sorted
by its third column: the languages, the use of the row, and the word. `domain/src/challenge/words/dictionary.rs` says what the uses
mean. lists.txt has, each under a heading in brackets,

    left out    words of the package that are harmless, or that are harmless in another of the languages
    names       words that are also names of persons
    parts       words that are recognised inside of longer ones
    accented    words that are harmless without their accents; all others are stored without
    en fr de es words that the package lacks
    allowed     real words that have one of the parts in them
"""

import hashlib
import json
import sys
import tarfile
import unicodedata
from collections import defaultdict
from pathlib import Path

PACKAGE = "naughty-words-1.2.0.tgz"
DIGEST = "c34b05e10a97ec7b9e0c3dd91d09888187c0f08d0812eaea79679795585b217e"
LANGUAGES = ["de", "en", "es", "fr"]


def read_lists(path):
    lists, heading = defaultdict(set), None
    for line in path.read_text().splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("["):
            heading = line.strip("[]")
        elif line:
            lists[heading].update(word.strip() for word in line.split(","))
    return lists


def plain(word):
    marks_apart = unicodedata.normalize("NFKD", word.replace("ß", "ss"))
    return "".join(char for char in marks_apart if not unicodedata.combining(char))


def main(packages, out):
    archive = Path(packages, PACKAGE)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != DIGEST:
        sys.exit(f"{archive} is not the package that the table is made from: {digest}")
    lists = read_lists(Path(__file__).with_name("lists.txt"))

    languages, unused = defaultdict(set), set(lists["left out"])
    with tarfile.open(archive) as files:
        for language in LANGUAGES:
            words = set(json.load(files.extractfile(f"package/{language}.json")))
            for word in {word.lower() for word in words} | lists[language]:
                unused.discard(word)
                if word not in lists["left out"] and word[0].isalpha():
                    languages[word if word in lists["accented"] else plain(word)].add(language)
    if unused:
        sys.exit(f"left out, and not in the package: {sorted(unused)}")

    rows = [("-", "allowed", word) for word in lists["allowed"]]
    for word, of in languages.items():
        use = "name" if word in lists["names"] else "part" if word in lists["parts"] else "word"
        rows.append((",".join(sorted(of)), use, word))
    for heading in ["names", "parts", "accented"]:
        if missing := lists[heading] - set(languages):
            sys.exit(f"{heading}, and no word: {sorted(missing)}")
    rows.sort(key=lambda row: row[2])
    Path(out, "words.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
