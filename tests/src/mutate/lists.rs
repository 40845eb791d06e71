//! What the documents are made of. The lists are kept in rows.

/// Characters that mean something to YAML, or that no document may hold.
#[rustfmt::skip]
pub(super) const SPECIAL: &[&str] = &[
    ":", ": ", "#", " #", "?", "? ", ",", "[", "]", "{", "}", "\"", "'", "&", "*", "!", "|", ">", "%", "@", "`", "-",
    "- ", "\\", "<<: ", "=", "~", "\t", " ", "  ", "\n", "\r", "\r\n", "\u{85}", "\u{2028}", "\u{2029}", "\u{a0}",
    "\0", "\u{7f}", "\u{feff}", "\u{1f600}", "\\ud83d", "\u{b}", "\u{fffe}", "!!str ", "&a ", "*a ", "\n...\n",
];

/// Words that may begin a plain scalar.
#[rustfmt::skip]
pub(super) const WORDS: &[&str] = &[
    "a", "x", "redis", "localhost", "pass", "Word", "vault:secret", "é", "日本語", "😀", "user@host", "50%", "a/b",
    "$HOME", "<b>", "x_y", "b-c", "v1", "tRue", "1st", "\u{a0}", "s3cr3t!", "a.b", "\u{212a}", "\u{200b}", "\u{fb01}",
    "=",
];

/// Words that only go on with one.
#[rustfmt::skip]
pub(super) const MORE_WORDS: &[&str] = &[
    "a", "1", "yes", "{appID}", "&amp", "`tick`", "'q'", "\"q\"", "*", "!", "|", ">", "%", "@", "-", "--", "[0]", "}",
    ",", "é", "~", "a:b", ":a", "#", "---", "it's", "say\"hi\"", "c\\d",
];

/// What may stand between two words of a plain scalar.
#[rustfmt::skip]
pub(super) const JOINTS: &[&str] = &[" ", " ", "-", "  ", "#", ":", ".", "\t", "/", " ", "\u{feff}", "\t "];

/// Booleans of YAML 1.1, and words that only look like one.
#[rustfmt::skip]
pub(super) const BOOLS: &[&str] = &[
    "y", "Y", "yes", "Yes", "YES", "n", "N", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF", "true", "True",
    "TRUE", "false", "False", "FALSE", "tRue", "yES", "oN", "nO", "t", "f",
];

/// Nulls, and words that only look like one.
#[rustfmt::skip]
pub(super) const NULLS: &[&str] = &["", "~", "null", "Null", "NULL", "nULL", "none", "nil"];

/// Numbers at the edges of Go's types and notations, and texts that are none.
#[rustfmt::skip]
pub(super) const NUMBERS: &[&str] = &[
    "0", "-0", "+0", "00", "07", "08", "0777", "0778", "-0777", "0o17", "0o8", "-0o17", "+0o17", "0O17", "0x10",
    "0XFf", "-0x10", "+0x10", "0x", "0b", "0o", "0b101", "0B11", "-0b101", "+0b11", "0b-101", "-0b-1", "0b2", "1_000",
    "1__0", "1_", "_1", "0_7", "0x_F", "-_1", "+_", "1_0.5_0", "9223372036854775807", "9223372036854775808",
    "-9223372036854775808", "-9223372036854775809", "18446744073709551615", "18446744073709551616",
    "+18446744073709551615", "0xFFFFFFFFFFFFFFFF", "0x10000000000000000", "-0x8000000000000000", "0b1_0", "1.0",
    "1.50", "-0.0", "+.5", "-.5", ".5", "5.", ".", "..", "-", "+", "1.2.3", ".1.2", "._5", ".5_5", "1e3", "1E3",
    "1e+3", "1.e3", ".1e-2", "1e", "e3", "1e20", "1e21", "1e-6", "1e-7", "1e400", "-1e400", "1e-400", ".1e400",
    "4.9e-324", "2.2250738585072011e-308", "1.7976931348623157e308", "1.7976931348623159e308", "123456789.123456789",
    "0.1", "0.30000000000000004", "16777217", "16777217.0", "9007199254740993", "9007199254740993.0", "3.4028236e38",
    "0x1p-2", "0x1.8", "1:30", "190:20:30.15", "-1:2", "+12", "1,000", "1 000", "010.5", "1e1_0", "inf", "Infinity",
    "nan", ".Infinity", "1f", "1d", "0.0000001", "000123", "123456789012345678901234567890", "1e22", "5e-324",
    "-1e-7", "8.", "1_", "99999999999999999999.5",
];

/// Plain scalars and small flow collections with characters that may end them.
#[rustfmt::skip]
pub(super) const STRANGE: &[&str] = &[
    "a#b", "a #b", "a:b", "a::b", ":a", "-a", "--", "?a", "a?b", "a,b", "a, b", "a]b", "a}b", "=", "<<", "a'b", "''",
    "\"\"", "a\"b", "%a b", "a%b", "a@b", "x`y`", "a!b", "a&b", "a*b", "a|b", "a>b", "~a", "a~", "<a>", "$a", "a\\n",
    "(a)", "a  b", "a\tb", "a\t#b", "a:\u{a0}b", "-1a", "0a", ".a", "a:", "...a", "a...", "--- a", "-- -", "nullx",
    "yes no", "\u{feff}a", "a\u{feff}b", "a\u{85}b", "a\u{2028}b", "é#", "\u{1f600} x", "a-", "{appID}-{namespace}",
    "{}", "[]", "{a: b, c: [1, yes]}", "[a, 1, yes, ~, \"<b>\", [x]]", "{\"a\":1,\"b\":{\"c\":.5}}", "{a, b: }",
    "[a: b, c]", "[? x : y]", "[[], {}]", "{? a, b}", "[a, b, ]", "{a: 1e21, b: -0.0, 1: 0x10, 1.50: yes, on: off}",
];

/// Values that YAML, or JSON after it, refuses.
#[rustfmt::skip]
pub(super) const BROKEN: &[&str] = &[
    ".inf", "-.INF", "+.Inf", ".nan", ".NaN", "@a", "`a`", "%", "a: b", "*undefined", "* a", "&", "& a", "&a &b c",
    "!<", "!<a b", "!u!a b", "!a!b!c d", "\"a", "'a", "\"a\" b", "'a'b", "[a", "{a", "]", "}", "[a] b", "{a: b} c",
    "{~: a}", "{[a]: b}", "{{ .Values.x }}", "[a,, b]", "|a", ">0 a", "|10", "|--", "{a b: *}", ",", "- a", "? a",
    "\u{7f}", "\u{b}", "!!int a", "!!float a", "!!bool a", "!!null a", "!!timestamp a", "!!binary a", "!!bool 1",
    "!!int 1.5", "!!binary =", "[&a *a]", "!!str [a]", "!!map a", "{!!binary aGk: b}", "{a: b, a", "[a:b: c]",
    "!!str ! x",
];

/// Dates, not all of which exist; then what stands between date and time, times, and time zones.
#[rustfmt::skip]
pub(super) const DATES: &[&str] = &["2024-01-02", "2024-1-2", "2024-02-30", "0000-12-31", "2024-13-01", "12024-01-01"];
pub(super) const SEPARATORS: &[&str] = &["", "T", "t", " ", "  "];
#[rustfmt::skip]
pub(super) const TIMES: &[&str] = &["", "03:04:05", "3:4:5", "03:04:05.123456789", "25:00:00", "03:04"];
pub(super) const ZONES: &[&str] = &["", "Z", "z", "+01:00", " +1", "-0530"];

/// Directives and document markers before a document, some of them refused. Where a marker follows a
/// line, that line ends with a lone carriage return: a line end for YAML, none for Dapr's split.
#[rustfmt::skip]
pub(super) const PROLOGUES: &[&str] = &[
    "%YAML 1.1\r%TAG ! !x-\r--- \n", "# a\r---\r", "%TAG !! tag:x,2000:\r---\n", "%TAG ! tag:yaml.org,2002:\r---\n",
    "%YAML 1.2\r---\n", "%OTHER a b\r---\n", "%YAML 1.1\n", "---\r---\r", "%YAML 1.1\r%YAML 1.1\r---\n",
    "%TAG !a! x\r%TAG !a! y\r---\n", "%YAML 1.1234567890\r---\n", "%TAG !a! !b%20 # c\r---\n", "%YAML 1.1 # c\r---\r",
];

/// Line ends inside a scalar.
#[rustfmt::skip]
pub(super) const FOLDS: &[&str] = &["\n", "\n", " \n", "\n\n", "\n \n\n", "\t\n", "\n\t", "\u{85}", "\u{2028} "];

/// Spaces and line ends that are not ASCII.
#[rustfmt::skip]
pub(super) const BREAKS: &[&str] =
    &["\u{85}", "\u{2028}", "\u{2029}", "\t", "\u{a0}", "\u{feff}", "\u{fffd}", "  ", " \u{85} "];

/// What is common text between quotes.
#[rustfmt::skip]
pub(super) const QUOTABLE: &[&str] =
    &[": ", " #", "# ", "- ", "[", "{a}", ", ", "&a ", "*a", "!!", "%", "@", "`", " ", "?", "<"];

/// Escapes that YAML 1.1 knows.
#[rustfmt::skip]
pub(super) const ESCAPES: &[&str] = &[
    "\\0", "\\a", "\\b", "\\t", "\\n", "\\v", "\\f", "\\r", "\\e", "\\\"", "\\'", "\\\\", "\\N", "\\_", "\\L", "\\P",
    "\\ ", "\\\n", "\\\n  ", "  \\\n", "\\x41", "\\x7F", "\\xff", "\\u00e9", "\\u2028", "\\ufffe", "\\U0001F600",
    "\\u0022", "\\u005c", "\\u0000", "\\ufeff", "\\x22", "\\uD7FF", "\\uE000", "\\U0010FFFF", "\\\n\\ ",
];

/// Escapes that it does not know.
#[rustfmt::skip]
pub(super) const BAD_ESCAPES: &[&str] =
    &["\\/", "\\q", "\\x4", "\\xg0", "\\u12", "\\ud83d", "\\uDE00", "\\U00110000", "\\Uffffffff", "\\\t", "\\X41"];

/// Lines of a block scalar.
#[rustfmt::skip]
pub(super) const LINES: &[&str] = &[
    "line", "two words", "", "", "  deeper", " one deeper", "# no comment", "- item", "key: value", "trailing  ",
    "\ttab", "---", "...", "-----BEGIN KEY-----", "\"quoted\"", "yes", "1e3", "é 😀", "a\u{85}b", "a\u{2028}b",
    "{\"json\": [1, 2]}", "a\\nb", "%TAG", "    ", "\u{feff}bom",
];

/// A tag and a scalar behind it; `*` stands for any words, `1` for any number.
#[rustfmt::skip]
pub(super) const TAGGED: &[(&str, &str)] = &[
    ("!!str", "*"), ("!!str", "1"), ("!!str", "yes"), ("!!str", ""), ("!!str", "~"), ("!!str", "2024-01-02"),
    ("!!str", "<<"), ("!<tag:yaml.org,2002:str>", "1"), ("!<tag:yaml.org,2002:int>", "3"), ("!!int", "3"),
    ("!!int", "\"3\""), ("!!int", "'0x1F'"), ("!!int", "1_0"), ("!!float", "3"), ("!!float", "\"3.50\""),
    ("!!float", "1e3"), ("!!float", "9007199254740993"), ("!!float", "18446744073709551615"), ("!!bool", "yes"),
    ("!!bool", "\"on\""), ("!!null", ""), ("!!null", "~"), ("!!null", "\"\""), ("!!null", "'null'"),
    ("!!binary", "aGVsbG8="), ("!!binary", "\"aGVs\\nbG8=\""), ("!!binary", "/+8="), ("!!binary", "''"),
    ("!!timestamp", "2024-01-02"), ("!!timestamp", "\"2024-1-2\""), ("!!timestamp", "2024-01-02T03:04:05Z"),
    ("!!merge", "<<"), ("!!merge", "a"), ("!local", "1"), ("!local", "*"), ("!", "1"), ("!", "yes"), ("!", "*"),
    ("!<!a>", "yes"), ("!<x>", "1"), ("!!set", "*"), ("!!other", "1"), ("!!%73tr", "1"), ("!a%20b", "yes"),
    ("!!seq", "[a, 1]"), ("!!map", "{a: 1}"), ("!!str", "\"\""), ("!!s", "on"), ("!!Int", "7"),
];

/// Keys of mappings without a schema.
#[rustfmt::skip]
pub(super) const KEYS: &[&str] = &[
    "a", "b", "name", "value", "app.kubernetes.io/name", "1", "01", "0x10", "1.5", "1e3", "yes", "No", "true", "-1",
    "2024-01-02", "\"q k\"", "'s'", "\"\"", "!!str 1", "!!int 7", "!!binary aGk=", "a b", "é", "\"<<\"", "=", "a#b",
    "1.123456789", ".5", "-0.0", "\"a\\nb\"", "on",
];

/// Ways to write a merge key, the last two of which are none.
pub(super) const MERGES: &[&str] = &["<<", "<<", "<<", "<<", "!!merge <<", "!!str <<", "\"<<\""];

/// What is merged but is no alias; the last is no mapping.
pub(super) const MERGED: &[&str] = &["{name: merged}", "[{a: b}, {a: c}]", "[]", "x"];

/// Names of components.
pub(super) const NAMES: &[&str] = &["statestore", "redis.v1", "A B", "Ünï"];

/// Names that Dapr's loader refuses.
pub(super) const BAD_NAMES: &[&str] = &["a/b", "..", "50%", "."];

/// Values that a boolean field takes.
pub(super) const FLAGS: &[&str] = &["true", "no", "Off", "~", "!!bool y", ""];

/// Scopes that are none, empty, or not all strings.
#[rustfmt::skip]
pub(super) const ODD_SCOPES: &[&str] =
    &["myapp", "[1]", "[yes]", "[~]", "~", "[]", "{}", "[[a]]", "[1.5, a]", "[\"1\", ~]", "!!str a"];

/// Names of anchors; the same one may be given twice.
pub(super) const ANCHORS: &[&str] = &["a", "b", "base", "x-1", "A_0", "0"];

/// Types of components.
#[rustfmt::skip]
pub(super) const TYPES: &[&str] = &["state.redis", "pubsub.kafka", "secretstores.local.file", "bindings.http", "x"];

/// Fields of Kubernetes' object metadata, with values that they take and values that they do not.
#[rustfmt::skip]
pub(super) const TYPED: &[(&str, &[&str], &[&str])] = &[
    ("creationTimestamp", RIGHT_TIMES, WRONG_TIMES),
    ("deletionTimestamp", RIGHT_TIMES, WRONG_TIMES),
    ("generation", RIGHT_INTEGERS, WRONG_INTEGERS),
    ("deletionGracePeriodSeconds", RIGHT_INTEGERS, WRONG_INTEGERS),
    ("uid", &["u-1", "5", "yes", "~"], &["[]", "{}"]),
    ("resourceVersion", &["\"12\"", "12", "1.50", "null"], &["[1]"]),
    ("generateName", &["a-", "0x10", "!!binary aGk="], &["{a: b}"]),
    ("selfLink", &["/a", ""], &["[]"]),
    ("finalizers", &["[]", "[a, b]", "[1, yes, ~]", "~"], &["x", "[[a]]", "{}", "5"]),
    ("ownerReferences",
     &["[]", "[~]", "[{apiVersion: v1, kind: Pod, name: a, uid: 5}]", "[{controller: yes, blockOwnerDeletion: ~}]"],
     &["x", "{}", "[x]", "[{controller: \"yes\"}]", "[{uid: []}]"]),
    ("managedFields",
     &["[]", "[{manager: m, operation: Update, time: 2024-01-02T03:04:05Z, fieldsV1: {\"f:a\": {}}}]",
       "[{fieldsV1: [1, yes]}]", "[{fieldsV1: ~, time: ~}]", "[{subresource: 1}]"],
     &["{}", "[{time: x}]", "[{manager: []}]"]),
];

#[rustfmt::skip]
const RIGHT_TIMES: &[&str] = &[
    "2024-01-02T03:04:05Z", "\"2024-01-02T03:04:05.123456789+01:00\"", "~", "null", "", "2024-02-29T23:59:59-00:00",
    "!!timestamp 2024-01-02T03:04:05Z", "0000-01-01T00:00:00Z", "2024-01-02T03:04:05,5Z",
];
#[rustfmt::skip]
const WRONG_TIMES: &[&str] = &[
    "2024-01-02", "x", "5", "2024-01-02t03:04:05z", "[]", "\"\"", "2024-01-02 03:04:05", "yes", "2024-01-02T3:04:05Z",
    "2023-02-29T00:00:00Z", "2024-01-02T24:00:00Z", "2024-01-02T03:04:60Z", "2024-01-02T03:04:05+24:00", "{}",
    "2024-01-02T03:04:05+0100", "2024-01-02T03:04:05", "2024-01-02T03:04:05.Z",
];
#[rustfmt::skip]
const RIGHT_INTEGERS: &[&str] =
    &["0", "7", "-3", "0x10", "1_000", "1e3", "~", "9223372036854775807", "010", "1.0", "-0.0", "!!int \"5\""];
#[rustfmt::skip]
const WRONG_INTEGERS: &[&str] = &["\"1\"", "1.5", "9223372036854775808", "yes", "{}", "1e30", "1e21", "x", "[]"];
