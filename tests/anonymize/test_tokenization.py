"""Tokens: the right MAC, the same in columns and records, reversible only where asked for; which keys are refused."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.anonymize.contract import Method, MethodSettings, RecordAnonymizer
from microflow.anonymize.tokenization import (
    KEY_FILE_VARIABLE,
    KEY_VARIABLE,
    Detokenizer,
    SivCodes,
    Tokenizer,
    derived_key,
    key_id,
    read_key,
    require_bits,
)
from microflow.errors import InputError, KeyMaterialError
from microflow.schema import Column, DatasetSchema, Dtype, Role

KEY = bytes(range(100, 164))
SCHEMA = DatasetSchema(
    "mine",
    (
        Column("record_id", Role.RECORD_ID, Dtype.INTEGER),
        Column("name", Role.IDENTIFIER),
        Column("phone", Role.IDENTIFIER, Dtype.INTEGER),
        Column("score", Role.IDENTIFIER, Dtype.NUMBER),
        Column("flag", Role.IDENTIFIER, Dtype.BOOLEAN),
        Column("ref", Role.IDENTIFIER),
        Column("age", Role.QUASI_IDENTIFIER, Dtype.INTEGER),
    ),
    policy="combined",
)
IDENTIFIERS = [column.name for column in SCHEMA.with_role(Role.IDENTIFIER)]

RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "record_id": st.integers(0, 1000),
            "name": st.none() | st.text(max_size=50),
            "phone": st.none() | st.integers(-(2**63), 2**63 - 1),
            "score": st.none() | st.floats(allow_nan=False, allow_infinity=False),
            "flag": st.none() | st.booleans(),
            "ref": st.none() | st.text("0123456789ABCDEF", min_size=12, max_size=12),
            "age": st.none() | st.integers(0, 120),
        }
    ),
    max_size=8,
)
ARMS = [(128, False), (256, False), (512, False), (256, True), (512, True)]


def tokenizer(bits: int = 256, *, reversible: bool = False, key: bytes = KEY) -> Tokenizer:
    return Tokenizer(MethodSettings(Method.TOKENIZATION, key_bits=bits, reversible=reversible), SCHEMA, key)


def batch(records: list[dict[str, object]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(records, schema=SCHEMA.arrow)


@pytest.mark.parametrize(("bits", "reversible"), ARMS)
@settings(max_examples=25)
@given(records=RECORDS)
def test_columns_and_records_give_equal_tokens(bits: int, reversible: bool, records: list[dict[str, object]]) -> None:
    """Nulls, empty text, any script, and every type an identifier may have."""
    made = tokenizer(bits, reversible=reversible)
    assert isinstance(made, RecordAnonymizer)
    released = made.anonymize(batch(records))
    released.rows.validate(full=True)
    assert released.rows.schema == made.output_schema
    assert released.rows.to_pylist() == [made.anonymize_record(record) for record in records]
    assert released.kept.tolist() == list(range(len(records)))


def domain(field: str) -> bytes:
    return hashlib.sha256(field.encode()).digest()[:16]


def by_cmac(key: bytes, field: str, value: str) -> bytes:
    mac = CMAC(algorithms.AES(key))
    mac.update(domain(field) + value.encode())
    return mac.finalize()


def by_hmac(key: bytes, field: str, value: str) -> bytes:
    return hmac.digest(key, domain(field) + value.encode(), "sha512")[:16]


@pytest.mark.parametrize(("bits", "mac"), [(128, by_cmac), (256, by_cmac), (512, by_hmac)])
@settings(max_examples=40)
@given(values=st.lists(st.text(max_size=60), min_size=1, max_size=10))
def test_a_token_is_the_documented_mac(bits: int, mac: Callable[[bytes, str, str], bytes], values: list[str]) -> None:
    """Anybody with the key can compute a token by a library of their choice."""
    key = KEY[: bits // 8]
    rows = batch([{"record_id": i, "name": value} for i, value in enumerate(values)])
    tokens = tokenizer(bits).anonymize(rows).rows.column("name").to_pylist()
    derived = derived_key(key, "one-way", bits)
    expected = [mac(derived, "column mine name", value).hex() for value in values]
    assert tokens == [f"t2.{key_id(key)}.{tag}" for tag in expected]


def test_the_oracle_of_hmac_is_the_published_one() -> None:
    """RFC 4231, test case 1."""
    expected = "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
    assert hmac.digest(b"\x0b" * 20, b"Hi There", "sha512").hex().startswith(expected)


def siv(key: bytes, associated: bytes, text: bytes) -> bytes:
    """AES-SIV as RFC 5297 writes it, for one associated string."""

    def mac(message: bytes) -> bytes:
        cmac = CMAC(algorithms.AES(key[: len(key) // 2]))
        cmac.update(message)
        return cmac.finalize()

    def doubled(block: bytes) -> bytes:
        number = int.from_bytes(block, "big") << 1
        return (number ^ (0x87 | 1 << 128 if number >> 128 else 0)).to_bytes(16, "big")

    def xor(one: bytes, other: bytes) -> bytes:
        return bytes(a ^ b for a, b in zip(one, other, strict=True))

    chained = xor(doubled(mac(bytes(16))), mac(associated))
    if len(text) >= 16:
        last = text[:-16] + xor(text[-16:], chained)
    else:
        last = xor(doubled(chained), (text + b"\x80").ljust(16, b"\0"))
    vector = mac(last)
    start = int.from_bytes(vector, "big") & ~(1 << 63 | 1 << 31)
    stream = Cipher(algorithms.AES(key[len(key) // 2 :]), modes.CTR(start.to_bytes(16, "big"))).encryptor()
    return vector + stream.update(text)


def test_the_oracle_of_siv_is_the_published_one() -> None:
    """RFC 5297, A.1."""
    key = bytes.fromhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    text = bytes.fromhex("112233445566778899aabbccddee")
    expected = "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c"
    assert siv(key, bytes(range(0x10, 0x28)), text).hex() == expected


@pytest.mark.parametrize("bits", [256, 512])
@settings(max_examples=25)
@given(value=st.text(min_size=1, max_size=40))
def test_a_reversible_token_is_aes_siv(bits: int, value: str) -> None:
    """Its domain is the associated data."""
    key = KEY[: bits // 8]
    token = tokenizer(bits, reversible=True).anonymize_record(dict.fromkeys(SCHEMA.names) | {"name": value})["name"]
    derived = derived_key(key, "reversible", bits)
    assert token == f"r2.{key_id(key)}.{siv(derived, b'column mine name', value.encode()).hex()}"


def test_tokens_of_the_first_edition_can_still_be_turned_back() -> None:
    """They were made with the token key itself and the column's name; the version says so."""
    old = SivCodes(KEY[:32], ["name"], key_id(KEY[:32])).one(0, "Ada").replace("r2.", "r1.")
    rows = batch([{"record_id": 1}])
    rows = rows.set_column(1, "name", pa.array([old]))
    for place in range(2, 6):
        rows = rows.set_column(place, SCHEMA.names[place], pa.nulls(1, pa.string()))
    assert Detokenizer(SCHEMA, KEY, 256).restore(rows).column("name").to_pylist() == ["Ada"]


def test_a_key_of_one_purpose_is_no_key_of_another() -> None:
    """HKDF-SHA-512: purposes and lengths have keys of their own, and none is the beginning of another."""
    keys = [derived_key(KEY, purpose, bits) for purpose in ("one-way", "reversible") for bits in (128, 256, 512)]
    assert [len(key) * 8 for key in keys] == [128, 256, 512] * 2
    assert len({key[:16] for key in keys}) == len(keys)


def test_columns_of_one_domain_join() -> None:
    """The same value in two columns of two schemas gives one token where both name the domain, and two elsewhere."""
    mine = Column("mail", Role.IDENTIFIER, token_domain="person_email")
    theirs = Column("contact", Role.IDENTIFIER, token_domain="person_email")
    other = Column("contact", Role.IDENTIFIER)
    settings = MethodSettings(Method.TOKENIZATION)
    tokens = [
        Tokenizer(settings, DatasetSchema(name, (column,), "gdpr"), KEY).anonymize_record({column.name: "a@b.c"})
        for name, column in (("orders", mine), ("visits", theirs), ("visits", other))
    ]
    values = [next(iter(token.values())) for token in tokens]
    assert values[0] == values[1] != values[2]


def test_fields_and_keys_have_tokens_of_their_own() -> None:
    """One value in two fields, and one value under two keys, cannot be linked."""
    record = dict.fromkeys(SCHEMA.names) | {"name": "same", "ref": "same"}
    one, other = (tokenizer(key=key).anonymize_record(record) for key in (KEY, KEY[::-1]))
    assert len({one["name"], one["ref"], other["name"], other["ref"]}) == 4
    assert str(one["name"]).split(".")[1] != str(other["name"]).split(".")[1]


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_every_bit_of_the_key_counts(bits: int) -> None:
    """Flipping the last bit of the key changes tag and key id: no algorithm uses less key than it says."""
    key = KEY[: bits // 8]
    changed = key[:-1] + bytes([key[-1] ^ 1])
    record = dict.fromkeys(SCHEMA.names) | {"name": "value"}
    tokens = [str(tokenizer(bits, key=k).anonymize_record(record)["name"]).split(".") for k in (key, changed)]
    assert tokens[0][1] != tokens[1][1]
    assert tokens[0][2] != tokens[1][2]


def test_what_is_no_identifier_passes() -> None:
    """Record id and quasi-identifiers are unchanged; that is why tokens do not anonymise."""
    rows = batch([{"record_id": 7, "name": "x", "age": 41}])
    released = tokenizer().anonymize(rows).rows
    assert released.column("record_id").equals(rows.column("record_id"))
    assert released.column("age").equals(rows.column("age"))


def test_a_slice_of_a_batch_gives_the_same_rows() -> None:
    """Microflows share the memory of the batch they were cut from."""
    records = [{"record_id": i, "name": None if i % 3 else f"n{i}", "phone": i} for i in range(30)]
    whole = tokenizer().anonymize(batch(records)).rows
    assert tokenizer().anonymize(batch(records).slice(11, 9)).rows.equals(whole.slice(11, 9))


def test_no_rows_and_no_identifiers_are_fine() -> None:
    """An empty microflow, and a schema with nothing to tokenize."""
    assert tokenizer().anonymize(batch([])).rows.num_rows == 0
    plain = DatasetSchema("plain", (Column("age", Role.QUASI_IDENTIFIER, Dtype.INTEGER),), "combined")
    rows = pa.RecordBatch.from_pydict({"age": [1, 2]}, schema=plain.arrow)
    for bits in (256, 512):
        assert (
            Tokenizer(MethodSettings(Method.TOKENIZATION, key_bits=bits), plain, KEY).anonymize(rows).rows.equals(rows)
        )


def test_a_key_too_short_or_unfit_is_refused() -> None:
    """Fewer bits than asked for, and 128 bits for AES-SIV, which needs two keys."""
    with pytest.raises(KeyMaterialError, match="128 bits where 256"):
        tokenizer(key=KEY[:16])
    with pytest.raises(KeyMaterialError, match="128-bit") as caught:
        tokenizer(128, reversible=True)
    assert "256, 512" in caught.value.hint


def test_the_claim_says_what_it_is_and_holds_no_key() -> None:
    """Pseudonymisation, by name and article."""
    claim = tokenizer(512).describe()
    assert claim["algorithm"] == "HMAC-SHA-512"
    assert "GDPR Art. 4(5)" in str(claim["guarantee"])
    assert KEY.hex()[:16] not in str(claim)
    assert KEY.hex()[:16] not in repr(tokenizer(512))


@settings(max_examples=25)
@given(records=RECORDS)
def test_the_key_holder_gets_every_value_back(records: list[dict[str, object]]) -> None:
    """In the types that the schema gives them; `-0.0` and `0.0` are one number."""
    rows = batch(records)
    tokens = tokenizer(reversible=True).anonymize(rows).rows
    restored = Detokenizer(SCHEMA, KEY, 256).restore(tokens)
    assert restored.schema == SCHEMA.arrow
    assert restored.to_pylist() == rows.to_pylist()


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (lambda token: "t2" + token[2:], InputError, "not a reversible token"),
        (lambda token: "plain text", InputError, "not a reversible token"),
        (lambda token: token[:-1] + ("0" if token[-1] != "0" else "1"), InputError, "altered"),
        (lambda token: token[:-1], InputError, "altered"),
        (lambda token: "r2.00000000." + token.split(".")[2], KeyMaterialError, "made with key 00000000"),
    ],
)
def test_what_cannot_be_turned_back_is_an_error(spoil: Callable[[str], str], error: type[Exception], says: str) -> None:
    """And the message holds neither token nor value."""
    rows = tokenizer(reversible=True).anonymize(batch([{"record_id": 1, "name": "Ada"}])).rows
    spoiled = spoil(rows.column("name")[0].as_py())
    rows = rows.set_column(1, rows.schema.field(1), pa.array([spoiled]))
    with pytest.raises(error, match=says) as caught:
        Detokenizer(SCHEMA, KEY, 256).restore(rows)
    assert spoiled not in str(caught.value)


def test_a_token_of_another_field_is_refused() -> None:
    """Tokens cannot be moved between columns."""
    rows = tokenizer(reversible=True).anonymize(batch([{"record_id": 1, "name": "Ada"}])).rows
    moved = rows.set_column(5, rows.schema.field(5), rows.column("name"))
    with pytest.raises(InputError, match="'ref'"):
        Detokenizer(SCHEMA, KEY, 256).restore(moved)


# Keys: where they come from, and which are refused


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(KEY.hex() + "\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_a_key_has_exactly_the_bits_asked_for(bits: int, key_file: Path) -> None:
    """A longer key is cut, from the variable and from the file alike."""
    assert read_key(bits, {KEY_VARIABLE: KEY.hex()}) == KEY[: bits // 8]
    assert read_key(bits, {KEY_FILE_VARIABLE: str(key_file)}) == KEY[: bits // 8]


def test_a_key_too_short_is_refused_with_the_remedy() -> None:
    """255 bits do not make a 256-bit key, and the hint is a command that makes one of the right length."""
    with pytest.raises(KeyMaterialError, match="248 bits where 256") as caught:
        read_key(256, {KEY_VARIABLE: KEY[:31].hex()})
    assert "secrets.token_hex(32)" in caught.value.hint


@pytest.mark.parametrize("text", ["my secret word", "0123456", "zz" * 32])
def test_what_is_not_hexadecimal_is_not_shown(text: str) -> None:
    """A mistyped key is nearly a key: neither message, hint nor cause may hold a part of it."""
    with pytest.raises(KeyMaterialError) as caught:
        read_key(256, {KEY_VARIABLE: text})
    assert text not in str(caught.value)
    assert caught.value.__suppress_context__


def test_nothing_is_invented() -> None:
    """Without a key there is an error, and an empty variable is no key."""
    for environ in ({}, {KEY_VARIABLE: ""}):
        with pytest.raises(KeyMaterialError, match=KEY_FILE_VARIABLE):
            read_key(256, environ)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_file_that_others_may_read_is_refused(mode: int, key_file: Path) -> None:
    """Group or world permissions of any kind."""
    key_file.chmod(mode)
    with pytest.raises(KeyMaterialError, match=f"mode {mode:04o}") as caught:
        read_key(256, {KEY_FILE_VARIABLE: str(key_file)})
    assert caught.value.hint == f"chmod 600 {key_file}"


def test_an_unreadable_file_is_an_error_of_ours(tmp_path: Path) -> None:
    """A missing file, a folder, and a file that is no text."""
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff" * 64)
    binary.chmod(0o600)
    for path in (tmp_path / "absent", tmp_path, binary):
        with pytest.raises(KeyMaterialError, match="cannot be read as a key"):
            read_key(256, {KEY_FILE_VARIABLE: str(path)})


def test_only_lengths_with_an_algorithm_are_taken() -> None:
    """192-bit keys are AES keys, but not among the three that are compared."""
    with pytest.raises(KeyMaterialError, match="192"):
        require_bits(KEY, 192)


def test_key_ids_tell_keys_apart() -> None:
    """Keys of which one begins like the other have different names, and a name is no part of the key."""
    names = {key_id(KEY[:16]), key_id(KEY[:32]), key_id(KEY)}
    assert len(names) == 3
    assert not any(name in KEY.hex() for name in names)
