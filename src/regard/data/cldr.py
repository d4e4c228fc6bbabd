"""The built-in corpus: English and French texts from the Unicode CLDR, made by short templates with Babel.

Dates, times, numbers, currencies, units, territories and languages, written by the rules of each language, so that the
word order differs: "Friday, November 20, 2026" is "vendredi 20 novembre 2026", "5 Japanese yen" is "5 yens japonais".
Names are used only where French needs no article, and are few, so that a short training sees each of them often enough.
The no-break spaces of the CLDR become plain ones, on both sides. The first of a month is "1 janvier", as in the CLDR's
formats, not "1er janvier". An English text always has the same French text and belongs to the same split, which its
hash chooses. Two English texts may share a French one ("Mar 3, 2036" and "March 3, 2036"), also across splits.
"""

from __future__ import annotations

import datetime
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from regard.errors import require

Split = Literal["train", "valid", "test"]
Values = tuple[Any, ...]

_LOCALES = ("en", "fr")
_SHARES: dict[Split, range] = {"train": range(90), "valid": range(90, 95), "test": range(95, 100)}
_CURRENCIES = ("USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "SEK", "NOK", "PLN", "INR", "MXN")
_UNITS = (
    "length-kilometer", "length-meter", "length-centimeter", "length-mile", "length-foot", "mass-kilogram", "mass-gram",
    "mass-pound", "volume-liter", "volume-milliliter", "duration-hour", "duration-minute", "duration-second",
    "duration-day", "duration-week", "duration-month", "temperature-celsius", "area-square-meter", "area-hectare",
    "speed-kilometer-per-hour", "energy-kilowatt-hour", "power-watt", "digital-megabyte",
)  # fmt: skip
_PERIODS = {"year": 365, "month": 30, "week": 7, "day": 1}
_LANGUAGES = (
    "ar", "cs", "da", "de", "el", "en", "es", "fi", "fr", "he", "hi", "hu", "id", "it", "ja", "ko", "nl", "no",
    "pl", "pt", "ro", "ru", "sv", "th", "tr", "uk", "vi", "zh",
)  # fmt: skip
_TERRITORIES = (
    "AR", "AT", "AU", "BE", "BR", "CA", "CH", "CL", "CN", "CO", "CU", "CZ", "DE", "DK", "EG", "ES", "FI", "FR",
    "GR", "HU", "IE", "IN", "ID", "IL", "IR", "IT", "JP", "KE", "KR", "LB", "MA", "MX", "MY", "NG", "NL", "NO",
    "NZ", "PE", "PH", "PK", "PL", "PT", "RO", "RU", "SE", "SN", "TH", "TN", "TR", "UA", "UY", "VN",
)  # fmt: skip


@dataclass(frozen=True)
class Family:
    """A template: how values are drawn, and how they are written in a language.

    Attributes:
        name: the subject.
        share: how often it is drawn, relative to the others.
        draw: draws values from a random source.
        write: writes values in a locale, ``"en"`` or ``"fr"``.
    """

    name: str
    share: int
    draw: Callable[[random.Random], Values]
    write: Callable[..., str]


def corpus(count: int, *, seed: int = 0, split: Split) -> list[tuple[str, str]]:
    """``count`` different English-French pairs of a split, in an order that depends on the seed.

    Raises:
        ValueError: the split is unknown, or has fewer pairs.
        UserError: Babel is not installed.
    """
    if split not in _SHARES:
        raise ValueError(f"split: expected {', '.join(_SHARES)}, got {split!r}")
    source = random.Random(f"{seed} {split}")
    shares = [family.share for family in FAMILIES]
    pairs: dict[str, str] = {}
    for _ in range(100 * count + 10_000):
        if len(pairs) >= count:
            return list(pairs.items())
        family = source.choices(FAMILIES, shares)[0]
        values = family.draw(source)
        english = plain(family.write("en", *values))
        if english not in pairs and split_of(english) == split:
            pairs[english] = plain(family.write("fr", *values))
    raise ValueError(f"count: {count:,} distinct pairs of the {split} split were not reached, only {len(pairs):,}")


def examples() -> list[str]:
    """Three English texts of the test split with another word order in French: a date and time, a currency, a place."""
    source, wanted = random.Random("examples"), ("date and time", "currency name", "place and date")
    texts = []
    for name in wanted:
        family = next(family for family in FAMILIES if family.name == name)
        drawn = (plain(family.write("en", *family.draw(source))) for _ in range(10_000))
        texts.append(next(text for text in drawn if split_of(text) == "test"))
    return texts


def split_of(english: str) -> Split:
    """The split that an English text belongs to, with any seed."""
    place = int.from_bytes(hashlib.blake2b(english.encode(), digest_size=8).digest(), "big") % 100
    return next(name for name, share in _SHARES.items() if place in share)


def plain(text: str) -> str:
    """``text`` with a plain space in place of white space of any kind."""
    return " ".join(text.split())  # U+00A0 and U+202F are white space too


def _dates() -> Any:
    return require("babel.dates", "text", "the built-in corpus")


def _numbers() -> Any:
    return require("babel.numbers", "text", "the built-in corpus")


def _day(source: random.Random, first: int = 1950) -> datetime.date:
    start = datetime.date(first, 1, 1).toordinal()
    return datetime.date.fromordinal(source.randrange(start, datetime.date(2050, 1, 1).toordinal()))


def _time(source: random.Random) -> datetime.time:
    return datetime.time(source.randrange(24), source.randrange(60))


def _amount(source: random.Random) -> float:
    return source.randrange(10 ** source.randint(2, 7)) / 100


def _draw_price(source: random.Random) -> Values:
    code = source.choice(_CURRENCIES)
    # Rounded as it is written, so that 1.6 yen, written as 2, are not in the singular.
    return round(_amount(source), _numbers().get_currency_precision(code)), code


def _date(style: str) -> Callable[..., str]:
    return lambda locale, day: str(_dates().format_date(day, style, locale=locale))


def _write_time(locale: str, time: datetime.time) -> str:
    return str(_dates().format_time(time, "short", locale=locale))


def _write_date_and_time(locale: str, day: datetime.date, time: datetime.time) -> str:
    return f"{_date('full')(locale, day)} {'at' if locale == 'en' else 'à'} {_write_time(locale, time)}"


def _draw_interval(source: random.Random) -> Values:
    day = _day(source, 2000)
    return day, day + datetime.timedelta(source.randint(1, 40))


def _write_interval(locale: str, start: datetime.date, end: datetime.date) -> str:
    return str(_dates().format_interval(start, end, "yMMMd", locale=locale))


def _draw_distance(source: random.Random) -> Values:
    return source.choice(list(_PERIODS)), source.choice((-1, 1)) * source.randint(2, 99)


def _write_distance(locale: str, period: str, count: int) -> str:
    length = datetime.timedelta(_PERIODS[period] * count)
    # The threshold keeps 40 days from being written as a month.
    return str(_dates().format_timedelta(length, period, threshold=1000, add_direction=True, locale=locale))


def _write_number(locale: str, number: float) -> str:
    return str(_numbers().format_decimal(number, locale=locale))


def _write_percent(locale: str, number: float) -> str:
    return str(_numbers().format_percent(number, locale=locale, decimal_quantization=False))


def _write_currency(locale: str, number: float, code: str) -> str:
    return str(_numbers().format_currency(number, code, locale=locale))


def _write_currency_name(locale: str, number: float, code: str) -> str:
    return str(_numbers().format_currency(number, code, locale=locale, format_type="name"))


def _write_unit(locale: str, number: float, unit: str) -> str:
    units: Any = require("babel.units", "text", "the built-in corpus")
    return str(units.format_unit(number, unit, "long", locale=locale))


def _write_place_and_date(locale: str, territory: str, day: datetime.date) -> str:
    place, date = _locale(locale).territories[territory], _date("long")(locale, day)
    return f"{place}, {date}" if locale == "en" else f"{date}, {place}"


def _write_place_and_share(locale: str, territory: str, share: float, number: int) -> str:
    place, percent = _locale(locale).territories[territory], _write_percent(locale, share)
    return f"{percent} ({place}: {number})" if locale == "en" else f"{place} : {number} ({percent})"


def _write_language(locale: str, language: str, territory: str) -> str:
    names = _locale(locale)
    return f"{names.languages[language]} ({names.territories[territory]})"


@cache
def _locale(name: str) -> Any:
    return require("babel", "text", "the built-in corpus").Locale.parse(name)


FAMILIES = (
    Family("full date", 8, lambda r: (_day(r),), _date("full")),
    Family("long date", 8, lambda r: (_day(r),), _date("long")),
    Family("medium date", 8, lambda r: (_day(r),), _date("medium")),
    Family("short date", 6, lambda r: (_day(r, 2000),), _date("short")),
    Family("time", 4, lambda r: (_time(r),), _write_time),
    Family("date and time", 16, lambda r: (_day(r), _time(r)), _write_date_and_time),
    Family("interval", 8, _draw_interval, _write_interval),
    Family("distance in time", 1, _draw_distance, _write_distance),
    Family("number", 4, lambda r: (_amount(r),), _write_number),
    Family("percent", 4, lambda r: (r.randrange(10 ** r.randint(2, 4)) / 1000,), _write_percent),
    Family("currency", 10, _draw_price, _write_currency),
    Family("currency name", 10, _draw_price, _write_currency_name),
    Family("unit", 10, lambda r: (r.randrange(10 ** r.randint(2, 5)) / 10, r.choice(_UNITS)), _write_unit),
    Family("place and date", 14, lambda r: (r.choice(_TERRITORIES), _day(r)), _write_place_and_date),
    Family("place and share", 8, lambda r: (r.choice(_TERRITORIES), r.randrange(1000) / 1000, r.randrange(1000)),
           _write_place_and_share),
    Family("language", 6, lambda r: (r.choice(_LANGUAGES), r.choice(_TERRITORIES)), _write_language),
)  # fmt: skip
"""All templates."""
