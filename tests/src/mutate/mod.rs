//! Documents for differential testing: component manifests that keyref must read exactly as Dapr
//! reads them.
//!
//! Documents whose reading is in doubt are rare in practice, so they are made here: from a grammar
//! that knows the corners of YAML 1.1 and of Dapr's types, and from recorded documents with small
//! changes. Most are accepted by Dapr, since two decoders that refuse everything agree, too.

mod emit;
mod grammar;
mod lists;
mod rng;
mod scalars;
mod text;

use lists::PROLOGUES;
use rng::Rng;

/// A source of documents without end, the same for the same seed and corpus.
#[derive(Debug)]
pub struct Mutator {
    rng: Rng,
    corpus: Vec<String>,
}

impl Mutator {
    /// Starts the sequence of `seed`; `corpus` holds documents worth changing.
    pub const fn new(seed: u64, corpus: Vec<String>) -> Self {
        Self {
            rng: Rng::new(seed),
            corpus,
        }
    }

    /// Returns the next document: one chunk, as Dapr's loader splits a file at lines with `---`.
    #[expect(
        clippy::should_implement_trait,
        reason = "it never ends, so no caller needs an `Option`"
    )]
    pub fn next(&mut self) -> Vec<u8> {
        let rng = &mut self.rng;
        let text = match rng.below(200) {
            0..130 => grammar::component(rng),
            130..148 => {
                let text = grammar::component(rng);
                let other = pick(rng, &self.corpus);
                text::change(rng, &text, other)
            }
            148..199 => {
                let (text, other) = (pick(rng, &self.corpus), pick(rng, &self.corpus));
                text::change(rng, text, other)
            }
            _ => grown(rng),
        };
        let text = framed(rng, &text);
        let text = with_line_ends(rng, text);
        one_chunk(encoded(rng, &text))
    }
}

/// No document is longer, in bytes; Dapr's own limit is four times that.
const LONGEST: usize = 16 * 1024;

/// How deep collections may be nested for Dapr's YAML library.
const DEEPEST: usize = 10_000;

/// Picks a document of the corpus.
fn pick<'a>(rng: &mut Rng, corpus: &'a [String]) -> &'a str {
    let document = corpus.get(rng.below(corpus.len()));
    document.map_or("", String::as_str)
}

/// Returns a component with something long or deep in it.
fn grown(rng: &mut Rng) -> String {
    let times = rng.pick(&[20, 300, 1030, 2000]);
    let value = match rng.below(9) {
        0 => format!("\"{}\"", "long \\x41 ".repeat(times)),
        1 => "plain words ".repeat(times),
        2 => format!("{}{}", "[".repeat(times), "]".repeat(times)),
        3 => format!("{}x{}", "{a: ".repeat(times), "}".repeat(times)),
        4 => format!("{{{}: b}}", "key".repeat(times / 2)),
        5 => format!("{}x", "\n    - ".repeat(times / 4)),
        6 => format!("[{}]", "a, 1, yes, ".repeat(times / 3)),
        7 => "[".repeat(DEEPEST + times % 3),
        _ => format!(
            "[&a [{}], [{}*a]]",
            "x,".repeat(times / 2),
            "*a,".repeat(times / 3)
        ),
    };
    let head = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: long\n";
    format!("{head}spec:\n  type: x\n  metadata:\n  - name: a\n    value: {value}\n")
}

/// Puts markers, directives and comments around a document.
fn framed(rng: &mut Rng, text: &str) -> String {
    let (start, end) = match rng.below(200) {
        0..8 => ("---\n", ""),
        8..11 => ("--- # note\n", ""),
        11..13 => ("--- !!map\n", ""),
        13..16 => ("# note\n\n  # another\n", ""),
        16..19 => (rng.pick(PROLOGUES), ""),
        19..22 => {
            let text = text.replace("!!", "!u!");
            return format!("%TAG !u! tag:yaml.org,2002:\r---\n{text}");
        }
        22..25 => ("", "...\n"),
        25 => ("", "...\n]not: [read"),
        26..29 => ("", "\r---\rsecond: document\r"),
        29..32 => ("", "# end"),
        32..34 => ("", "\n\n  \n"),
        34 => ("", "\0"),
        _ => ("", ""),
    };
    format!("{start}{text}{end}")
}

/// Exchanges the line ends, in all lines or in some.
fn with_line_ends(rng: &mut Rng, text: String) -> String {
    let (end, percent) = match rng.below(100) {
        0..5 => ("\r\n", 100),
        5 | 6 => ("\r", 100),
        7 => ("\r\n", 50),
        8 => (rng.pick(&["\u{85}", "\u{2028}", "\u{2029}"]), 100),
        9 => ("\r", 30),
        _ => return text,
    };
    let exchanged = text
        .split_inclusive('\n')
        .map(|line| match line.strip_suffix('\n') {
            Some(line) if rng.chance(percent) => format!("{line}{end}"),
            _ => line.to_owned(),
        });
    exchanged.collect()
}

/// Returns the bytes of a text: nearly always UTF-8, now and then UTF-16 or neither.
fn encoded(rng: &mut Rng, text: &str) -> Vec<u8> {
    let marked = format!("\u{feff}{text}");
    let mut bytes: Vec<u8> = match rng.below(200) {
        0..3 => marked.into_bytes(),
        3 => marked.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        4 => marked.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        _ => text.as_bytes().to_vec(),
    };
    if rng.below(150) == 0 {
        let at = rng.below(bytes.len());
        bytes.insert(at, rng.pick(&[0x80, 0xc0, 0xd8, 0xe2, 0xed, 0xf4, 0xff, 0]));
    }
    bytes.truncate(LONGEST);
    bytes
}

/// Indents every line at which Dapr would split the document.
fn one_chunk(bytes: Vec<u8>) -> Vec<u8> {
    let mut chunk = Vec::with_capacity(bytes.len());
    for byte in bytes {
        chunk.push(byte);
        if chunk.ends_with(b"\n---") {
            chunk.insert(chunk.len() - 3, b' ');
        }
    }
    chunk
}
