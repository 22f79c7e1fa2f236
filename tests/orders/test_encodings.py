"""Code pages told apart by their words, file by file, with a folder's other files as evidence."""

import codecs
from pathlib import Path

import polars as pl
import pytest

from repurchase.i18n.messages import render
from repurchase.orders.log import read_orders
from repurchase.sources.encodings import Encoding, agreed_encodings, detect_encoding, unicode_mark
from repurchase.sources.files import open_file
from repurchase.sources.tables import OpenedFile


def texts(messages):
    return [render(one, locale="en") for one in messages]


RUSSIAN = ("Клиент;Номер;Дата;Сумма", "Иванов Пётр", "Сидорова Юлия")
TEXTS = {
    "cp1251": RUSSIAN,
    "koi8_r": RUSSIAN,
    "cp866": RUSSIAN,
    "cp1250": ("Zákazník;Číslo;Datum;Částka", "Dvořák Jiří", "Růžičková Eliška"),
    "iso8859_2": ("Klient;Zamówienie;Data;Kwota", "Wiśniewski Paweł", "Żółkiewska Grażyna"),
    "cp1253": ("Πελάτης;Αριθμός;Ημερομηνία;Ποσό", "Γιώργος Παπαδόπουλος", "Ελένη"),
    "cp1254": ("Müşteri;Sipariş;Tarih;Tutar", "İbrahim Yıldız", "Ayşe Çağlar"),
    "cp1257": ("Klientas;Užsakymas;Data;Suma", "Kęstutis Šimkūnas", "Jānis Bērziņš"),
    "shift_jis": ("顧客番号;注文番号;注文日;金額", "田中さくら", "サトウ商店"),
    "gbk": ("客户编号;订单号;日期;金额", "张伟", "王芳"),
    "big5": ("客戶編號;訂單編號;日期;金額", "陳大文", "林美玲"),
    "cp949": ("고객번호;주문번호;주문일;금액", "김철수", "이영희"),
    "cp1252": ("Kunde;Ordrenummer;Dato;Beløp", "Bjørn Åsen", "Sæther Købmand"),
    "iso8859_15": ("Client;Numéro;Date;Montant", "Élodie Châtelain", "François Müller"),
    "utf-16": RUSSIAN,
    "utf-16-le": RUSSIAN,
    "utf-16-be": ("Kunde;Nummer;Datum;Betrag", "Müller", "Schmidt"),
    "utf-32": RUSSIAN,
    "utf-32-le": ("Kunde;Nummer;Datum;Betrag", "Müller", "Schmidt"),
}


def written(path: Path, codec: str, names: tuple[str, ...], *, n_rows: int = 300) -> Path:
    rows = [
        f"{names[1 + n % 2]};{n};2024-01-01;1.50" if n % 9 == 0 else f"k{n};{n};2024-01-01;1" for n in range(n_rows)
    ]
    path.write_bytes("\n".join((names[0], *rows, "")).encode(codec))
    return path


def opened(path: Path) -> tuple[OpenedFile, pl.DataFrame]:
    file = open_file(path, shown=str(path), spool=path.parent / "spool")
    return file, pl.concat(file.table.batches(tuple(file.table.schema), n_rows=100))


@pytest.mark.parametrize("codec", TEXTS)
def test_a_mostly_ascii_file_in_any_code_page(tmp_path: Path, codec: str) -> None:
    names = TEXTS[codec]
    file, rows = opened(written(tmp_path / "orders.csv", codec, names))
    assert rows.columns == names[0].split(";")
    assert rows[rows.columns[0]].to_list()[:10:9] == [names[1], names[2]]
    assert any("not UTF-8" in note for note in texts(file.notes))
    assert not any("possible too" in note for note in texts(file.notes))


@pytest.mark.parametrize(
    ("codec", "word"),
    [
        ("cp1251", "Сумма"),
        ("koi8_r", "Иванов"),
        ("cp1250", "Dvořák"),
        ("iso8859_2", "Wałęsa"),
        ("cp1254", "Yıldız"),
        ("cp1252", "Bjørn"),
        ("cp1252", "Müller"),
        ("gbk", "客户订单"),
        ("shift_jis", "注文番号"),
    ],
)
def test_one_word_is_enough(codec: str, word: str) -> None:
    found = detect_encoding([f"id;{word};x".encode(codec)])
    assert found.codec is not None
    assert f"id;{word};x".encode(codec).decode(found.codec) == f"id;{word};x"


def test_names_of_several_languages_in_one_file() -> None:
    """One Polish name among German ones is enough for the page that has both."""
    lines = [name.encode("cp1250") for name in ("Jürgen Weiß", "Łukasz Nowak", "Köhler", "Małgorzata")]
    assert detect_encoding(lines).codec == "cp1250"
    spanish = [
        name.encode("cp1252") for name in ("Nº pedido;Fecha;Código", "Muñoz", "Jean-François", "Müller", "Ángel")
    ]
    assert detect_encoding(spanish).codec == "cp1252"


def test_what_is_utf8_is_nothing_else() -> None:
    for text in ("Сумма", "Bjørn", "金額", "é"):
        assert detect_encoding([text.encode()]).codec is None


def test_a_doubt_is_named(tmp_path: Path) -> None:
    """The same bytes are a word in two code pages: the likelier is read, and the other named."""
    path = tmp_path / "orders.csv"
    path.write_bytes("id;name\n1;Műszaki\n".encode("cp1250"))
    file, _ = opened(path)
    assert file.encoding.others
    assert any("would be possible too" in note and "Windows-1250" in note for note in texts(file.notes))


def test_other_files_decide_where_one_cannot() -> None:
    """A file with one word alone is read like the others of its folder; one that is clear is not."""
    doubtful = "id;Műszaki".encode("cp1250")
    clear = [detect_encoding(word.encode("cp1250") for word in ("Győző Erdős", "Őszi Tűző", "Vásárló értékű"))]
    assert clear[0].codec == "cp1250"
    known = agreed_encodings([*clear, detect_encoding([doubtful])])
    assert known == ("cp1250",)
    assert detect_encoding([doubtful], preferred=known) == Encoding("cp1250", "Windows-1250 (Central European)")
    assert detect_encoding([RUSSIAN[0].encode("koi8_r")], preferred=("cp1251",)).codec == "koi8_r"


def test_some_lines_in_another_encoding(tmp_path: Path) -> None:
    names = ["Bjørn", "Åse", "Kjærsti", "Sørensen", "José"]
    lines = [name.encode("cp1252" if n % 5 == 4 else "utf-8") + b",2024-01-01" for n, name in enumerate(names * 4)]
    (tmp_path / "orders.csv").write_bytes(b"\n".join([b"id,day", *lines, b""]))
    file, rows = opened(tmp_path / "orders.csv")
    assert rows["id"].to_list() == names * 4
    assert any("some lines are not UTF-8" in note for note in texts(file.notes))


def test_one_line_in_another_encoding_far_below(tmp_path: Path) -> None:
    """However many lines in UTF-8 come first, the line that is not decides how such lines are read."""
    lines = [f"kjøper{n},2024-01-01".encode() for n in range(5000)]
    (tmp_path / "orders.csv").write_bytes(b"\n".join([b"id,day", *lines, "Bjørn,2024-01-01".encode("cp1252"), b""]))
    file, rows = opened(tmp_path / "orders.csv")
    assert file.encoding.is_mostly_utf8
    assert rows["id"].to_list()[-2:] == ["kjøper4999", "Bjørn"]


def test_marks_of_unicode() -> None:
    assert unicode_mark(codecs.BOM_UTF16_LE + b"a\0") == Encoding("utf-16", "UTF-16")
    assert unicode_mark(codecs.BOM_UTF32_LE + b"a\0\0\0") == Encoding("utf-32", "UTF-32")
    assert unicode_mark("客户;订单;日期\n张伟;1;2024-01-01\n".encode("utf-16-le")) == Encoding("utf-16-le", "UTF-16")
    assert unicode_mark(b"id,day\n" * 9) is None
    assert unicode_mark(bytes(range(256)) * 8) is None


def test_letters_of_no_known_language_are_left_to_the_library() -> None:
    text = "לקוח;הזמנה;תאריך;סכום כולל של ההזמנה".encode("cp1255")
    found = detect_encoding([text])
    assert text.decode(found.codec or "utf-8")


def test_the_files_of_a_folder_are_evidence_for_each_other(tmp_path: Path) -> None:
    """One file has a single word that reads in two code pages; the other, and one of another page, are clear."""
    names = {"a.csv": "Műszaki", "b.csv": "Győző Erdős Vásárlója, Őszi Tűző", "c.csv": "Иванов Пётр Сидорова"}
    for n, (name, customer) in enumerate(names.items()):
        rows = [f"{customer} {m};{n}{m};2024-0{n + 1}-{m:02d};{m}5,50\n" for m in range(10, 28)]
        text = "customer_id;order_id;order_date;amount\n" + "".join(rows)
        (tmp_path / name).write_bytes(text.encode("cp1251" if name == "c.csv" else "cp1250"))
    raw = read_orders(tmp_path)
    found = {customer.rsplit(" ", 1)[0] for customer in raw.rows["customer_id"]}
    assert found == set(names.values())
    assert "a.csv: read as Windows-1250 (Central European), not UTF-8." in texts(raw.notes)
    assert "c.csv: read as Windows-1251 (Cyrillic), not UTF-8." in texts(raw.notes)
