//! A safe pull parser over `unsafe-libyaml`: text in, events with positions out.
//!
//! Dapr reads manifests with a port of an older libyaml. Where the two differ in what they accept,
//! this wrapper refuses what Dapr refuses: escapes that only JSON has, and question marks inside
//! plain scalars of flow collections.
#![expect(
    unsafe_code,
    reason = "libyaml's interface is raw pointers; this file is its one safe wrapper"
)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char};
use core::mem::MaybeUninit;

use unsafe_libyaml::{
    YAML_ALIAS_EVENT, YAML_DOCUMENT_END_EVENT, YAML_DOCUMENT_START_EVENT,
    YAML_DOUBLE_QUOTED_SCALAR_STYLE, YAML_MAPPING_END_EVENT, YAML_MAPPING_START_EVENT,
    YAML_NO_EVENT, YAML_PLAIN_SCALAR_STYLE, YAML_SCALAR_EVENT, YAML_SEQUENCE_END_EVENT,
    YAML_SEQUENCE_START_EVENT, YAML_STREAM_END_EVENT, YAML_STREAM_START_EVENT, yaml_event_delete,
    yaml_event_t, yaml_mark_t, yaml_parser_delete, yaml_parser_initialize, yaml_parser_parse,
    yaml_parser_set_input_string, yaml_parser_t,
};

/// A place in the text: line and column from 0, the column in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// What the parser met next. Borrowed text lives until the next call.
#[derive(Debug)]
pub(crate) enum Event<'e> {
    /// The stream or a document began or ended; carries nothing.
    Boundary(Boundary),
    /// `*anchor`.
    Alias(&'e [u8]),
    /// A scalar of any style.
    Scalar(Scalar<'e>),
    /// `[`, or the first `-` of a block sequence.
    SequenceStart { anchor: Option<&'e [u8]> },
    /// The end of the innermost sequence.
    SequenceEnd,
    /// `{`, or the first key of a block mapping.
    MappingStart { anchor: Option<&'e [u8]> },
    /// The end of the innermost mapping.
    MappingEnd,
}

/// The parts of the stream that hold no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boundary {
    StreamStart,
    StreamEnd,
    DocumentStart,
    DocumentEnd,
}

/// A scalar event.
#[derive(Debug)]
pub(crate) struct Scalar<'e> {
    pub(crate) anchor: Option<&'e [u8]>,
    /// The tag in its long form, or nothing.
    pub(crate) tag: Option<&'e [u8]>,
    pub(crate) value: &'e str,
    /// Whether the value's form decides its type: a plain scalar without a tag, or the tag `!`.
    pub(crate) implicit: bool,
}

/// What the parser was reading, and where that begins.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) text: &'static str,
    pub(crate) begin: Mark,
}

/// Why the text is not YAML. The message is libyaml's own and quotes nothing.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) mark: Mark,
    /// The byte at which the parser stopped, where it knows.
    pub(crate) offset: Option<usize>,
    pub(crate) message: &'static str,
    pub(crate) context: Option<Box<Context>>,
}

impl SyntaxError {
    fn new(mark: Mark, message: &'static str) -> Self {
        Self {
            mark,
            offset: None,
            message,
            context: None,
        }
    }
}

/// A pull parser over one text.
pub(crate) struct Parser<'t> {
    text: &'t [u8],
    /// Boxed because libyaml keeps pointers into it.
    inner: Box<yaml_parser_t>,
    event: yaml_event_t,
    flow_depth: usize,
    /// For each open collection, whether it is a flow collection.
    open: Vec<bool>,
}

impl<'t> Parser<'t> {
    /// A parser at the beginning of `text`.
    pub(crate) fn new(text: &'t [u8]) -> Self {
        let mut parser = Box::new(MaybeUninit::<yaml_parser_t>::uninit());
        // SAFETY: `yaml_parser_initialize` writes the whole struct, whatever was there before, and
        // fails only where memory is out, which aborts. The text outlives the parser.
        let parser = unsafe {
            let _ = yaml_parser_initialize(parser.as_mut_ptr());
            yaml_parser_set_input_string(
                parser.as_mut_ptr(),
                text.as_ptr(),
                u64::try_from(text.len()).unwrap_or(u64::MAX),
            );
            Box::from_raw(Box::into_raw(parser).cast::<yaml_parser_t>())
        };
        Self {
            text,
            inner: parser,
            event: no_event(),
            flow_depth: 0,
            open: Vec::new(),
        }
    }

    /// The next event with its place.
    pub(crate) fn next(&mut self) -> Result<(Event<'_>, Mark), SyntaxError> {
        self.release();
        // SAFETY: the parser is initialised; the event is written whole, and is none on failure.
        let parsed = unsafe { yaml_parser_parse(&raw mut *self.inner, &raw mut self.event) };
        if parsed.fail {
            return Err(self.error());
        }
        self.track()?;
        let mark = mark(&self.event.start_mark);
        // SAFETY: `type_` tells which member of the union was written, and the pointers in it stay
        // valid until `release`, which the returned borrow of `self` puts off.
        let event =
            unsafe { borrow(&self.event) }.map_err(|message| SyntaxError::new(mark, message))?;
        Ok((event, mark))
    }

    /// How many flow collections are open.
    pub(crate) fn flow_depth(&self) -> usize {
        self.flow_depth
    }

    /// Follows the nesting, and refuses what Dapr's parser refuses and libyaml accepts.
    fn track(&mut self) -> Result<(), SyntaxError> {
        let start = offset(&self.event.start_mark);
        match self.event.type_ {
            YAML_SEQUENCE_START_EVENT | YAML_MAPPING_START_EVENT => {
                // An event may begin with its anchor or tag: look where it ends.
                let flow = self
                    .text
                    .get(offset(&self.event.end_mark).wrapping_sub(1))
                    .is_some_and(|&last| last == b'[' || last == b'{');
                self.flow_depth += usize::from(flow);
                self.open.push(flow);
            }
            YAML_SEQUENCE_END_EVENT | YAML_MAPPING_END_EVENT => {
                let flow = self.open.pop().unwrap_or(false);
                self.flow_depth -= usize::from(flow);
            }
            YAML_DOCUMENT_START_EVENT => {
                // SAFETY: `type_` says that this member was written; the pointer is null or valid.
                let version = unsafe { self.event.data.document_start.version_directive.as_ref() };
                if version.is_some_and(|version| (version.major, version.minor) != (1, 1)) {
                    return Err(SyntaxError::new(
                        mark(&self.event.start_mark),
                        "found incompatible YAML document",
                    ));
                }
            }
            YAML_SCALAR_EVENT => {
                // SAFETY: `type_` says that this member was written.
                let style = unsafe { self.event.data.scalar.style };
                let source = self
                    .text
                    .get(start..offset(&self.event.end_mark))
                    .unwrap_or_default();
                if style == YAML_DOUBLE_QUOTED_SCALAR_STYLE && has_json_escape(source) {
                    return Err(SyntaxError::new(
                        mark(&self.event.start_mark),
                        "found unknown escape character",
                    ));
                }
                if style == YAML_PLAIN_SCALAR_STYLE && self.flow_depth > 0 && source.contains(&b'?')
                {
                    return Err(SyntaxError::new(
                        mark(&self.event.start_mark),
                        "did not find expected ',' or closing bracket",
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn error(&self) -> SyntaxError {
        // SAFETY: libyaml's texts are static strings that end in NUL, or null.
        let (problem, context) = unsafe { (text(self.inner.problem), text(self.inner.context)) };
        let mut at = mark(&self.inner.problem_mark);
        if at == Mark::default() && self.inner.problem_offset > 0 {
            // The reader knows the byte alone.
            at = position_of(self.text, self.inner.problem_offset);
        }
        SyntaxError {
            mark: at,
            offset: usize::try_from(self.inner.problem_mark.index).ok(),
            message: problem.unwrap_or("cannot be parsed as YAML"),
            context: context
                .map(|text| Context {
                    text,
                    begin: mark(&self.inner.context_mark),
                })
                .filter(|context| context.begin != at)
                .map(Box::new),
        }
    }

    fn release(&mut self) {
        // SAFETY: `event` is one that the parser wrote, or one without content, which it is
        // afterwards.
        unsafe { yaml_event_delete(&raw mut self.event) };
    }
}

impl Drop for Parser<'_> {
    fn drop(&mut self) {
        self.release();
        // SAFETY: the parser is initialised and not used afterwards.
        unsafe { yaml_parser_delete(&raw mut *self.inner) };
    }
}

/// # Safety
/// `event` must have been written by `yaml_parser_parse`.
unsafe fn borrow(event: &yaml_event_t) -> Result<Event<'_>, &'static str> {
    // SAFETY: each arm reads the member that `type_` names; strings end in NUL.
    Ok(unsafe {
        match event.type_ {
            YAML_STREAM_START_EVENT => Event::Boundary(Boundary::StreamStart),
            YAML_STREAM_END_EVENT | YAML_NO_EVENT => Event::Boundary(Boundary::StreamEnd),
            YAML_DOCUMENT_START_EVENT => Event::Boundary(Boundary::DocumentStart),
            YAML_DOCUMENT_END_EVENT => Event::Boundary(Boundary::DocumentEnd),
            YAML_ALIAS_EVENT => Event::Alias(bytes(event.data.alias.anchor).unwrap_or_default()),
            YAML_SCALAR_EVENT => {
                let scalar = &event.data.scalar;
                let length = usize::try_from(scalar.length).unwrap_or(0);
                let value = core::slice::from_raw_parts(scalar.value, length);
                Event::Scalar(Scalar {
                    anchor: bytes(scalar.anchor),
                    tag: bytes(scalar.tag),
                    value: core::str::from_utf8(value).map_err(|_| "invalid UTF-8")?,
                    implicit: scalar.plain_implicit,
                })
            }
            YAML_SEQUENCE_START_EVENT => Event::SequenceStart {
                anchor: bytes(event.data.sequence_start.anchor),
            },
            YAML_SEQUENCE_END_EVENT => Event::SequenceEnd,
            YAML_MAPPING_START_EVENT => Event::MappingStart {
                anchor: bytes(event.data.mapping_start.anchor),
            },
            YAML_MAPPING_END_EVENT => Event::MappingEnd,
            _ => return Err("cannot be parsed as YAML"),
        }
    })
}

/// # Safety
/// `text` must be null or point to a string that ends in NUL and outlives `'e`.
unsafe fn bytes<'e>(text: *const u8) -> Option<&'e [u8]> {
    if text.is_null() {
        return None;
    }
    // SAFETY: as this function demands.
    Some(unsafe { CStr::from_ptr(text.cast()) }.to_bytes())
}

/// # Safety
/// `text` must be null or point to a static string that ends in NUL.
unsafe fn text(text: *const c_char) -> Option<&'static str> {
    // SAFETY: as this function demands.
    core::str::from_utf8(unsafe { bytes(text.cast()) }?).ok()
}

fn no_event() -> yaml_event_t {
    // SAFETY: all zeroes is YAML_NO_EVENT with null pointers, libyaml's own initial state.
    unsafe { MaybeUninit::<yaml_event_t>::zeroed().assume_init() }
}

fn mark(mark: &yaml_mark_t) -> Mark {
    Mark {
        line: u32::try_from(mark.line).unwrap_or(u32::MAX),
        column: u32::try_from(mark.column).unwrap_or(u32::MAX),
    }
}

fn offset(mark: &yaml_mark_t) -> usize {
    usize::try_from(mark.index).unwrap_or(usize::MAX)
}

/// The place of a byte, for errors of libyaml's reader, which counts nothing else.
fn position_of(text: &[u8], offset: u64) -> Mark {
    let offset = usize::try_from(offset)
        .unwrap_or(usize::MAX)
        .min(text.len());
    let before = text.get(..offset).unwrap_or_default();
    let line_start = before
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |newline| newline + 1);
    let line = before.iter().filter(|&&byte| byte == b'\n').count();
    let column = before
        .iter()
        .skip(line_start)
        .filter(|&&byte| byte & 0xC0 != 0x80)
        .count();
    Mark {
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX),
    }
}

/// Whether a double-quoted scalar has the escape `\/`, which Dapr's parser does not know.
fn has_json_escape(source: &[u8]) -> bool {
    let mut rest = source.iter();
    while let Some(&byte) = rest.next() {
        if byte == b'\\' && rest.next() == Some(&b'/') {
            return true;
        }
    }
    false
}
